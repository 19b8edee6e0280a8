"""Server-side apply of many objects at once: outcomes known, people's changes taken back, controllers' respected."""

import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from betelgeuse import deletion
from betelgeuse.apply_rules import prepared, record, same, settled, transient
from betelgeuse.deletion import going, reason
from betelgeuse.errors import BetelgeuseError, WaitTimeoutError
from betelgeuse.hands import Hands
from betelgeuse.immutable import advice, fixed
from betelgeuse.kube import ApiError, Key, Kube, Obj, describe, key_of
from betelgeuse.progress import say

THREADS: Final = 8
_PAUSE: Final = 1.0
_NOT_FOUND: Final = 404
_INVALID: Final = 422
_GOING_SECONDS: Final = 60.0
"""For an object that is being deleted to go, so that it can be made anew."""
_NAMESPACE_SECONDS: Final = 180.0
"""Pods in it get their time to end, and a node may be slow to say so."""


class Outcome(StrEnum):
    """What an apply did to one object."""

    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


@dataclass
class Applied:
    """The outcome of each object, and the proof that later spares it a request."""

    outcomes: dict[Key, Outcome] = field(default_factory=dict)
    records: dict[Key, str] = field(default_factory=dict)

    def add(self, key: Key, outcome: Outcome, proof: str) -> None:
        """Note one object; an object applied twice counts once, as the stronger of the two."""
        self.records[key] = proof
        if self.outcomes.get(key) in {None, Outcome.UNCHANGED}:
            self.outcomes[key] = outcome

    @property
    def changes(self) -> list[Key]:
        """Everything that is now different."""
        return [key for key, outcome in self.outcomes.items() if outcome is not Outcome.UNCHANGED]

    def __str__(self) -> str:
        """Return the summary: `3 created, 1 changed, 240 unchanged`."""
        count = Counter(self.outcomes.values())
        return ", ".join(f"{count[outcome]} {outcome}" for outcome in Outcome)


def snapshot(kube: Kube, objects: Iterable[Obj]) -> dict[Key, Obj]:
    """Return the live state of the objects' kinds: one list per kind instead of one request per object."""
    kinds = sorted({(str(obj["apiVersion"]), str(obj["kind"])) for obj in objects})

    def fetch(kind: tuple[str, str]) -> list[Obj]:
        try:
            return kube.list(*kind)
        except ApiError as error:
            # Not served yet, or no longer: a CRD may go between discovery and this.
            if error.status == _NOT_FOUND:
                return []
            raise

    kube.refresh()
    with ThreadPoolExecutor(THREADS) as pool:
        return {key_of(obj): obj for found in pool.map(fetch, kinds) for obj in found}


def failure(obj: Obj, error: ApiError) -> BetelgeuseError:
    """Return the line for a refused object; a Secret's refusal never repeats its values."""
    message = str(error).partition(": ")[2]
    hint = f"; {advice(obj)}" if fixed(message) else ""
    if obj.get("kind") == "Secret":
        fields = ", ".join(str(cause.get("field", "?")) for cause in error.causes) or error.reason
        return BetelgeuseError(f"{describe(obj)} was refused: {fields} (HTTP {error.status}){hint}")
    return BetelgeuseError(f"{describe(obj)} was refused: {message}{hint}")


class Applier:
    """One run over a tree."""

    def __init__(
        self, hands: Hands, live: Mapping[Key, Obj], recorded: Mapping[Key, str], custom: frozenset[tuple[str, str]]
    ) -> None:
        """Start from the live state, from what earlier runs proved, and from the kinds the tree's CRDs define."""
        self.hands = hands
        self.kube = hands.kube
        self.live = live
        self.recorded = recorded
        self.custom = custom
        self.applied = Applied()
        self._told: set[str] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def pending(self, objects: Iterable[Obj]) -> list[Obj]:
        """Return the objects that need a request; the others are proven to be in place."""
        return [obj for obj in objects if not self._settled(obj)]

    def _settled(self, obj: Obj) -> bool:
        key = key_of(obj)
        live = self.live.get(key)
        proven = settled(prepared(obj), live, self.recorded.get(key, ""))
        return proven and not going(live) and not self.hands.additions(live)

    def run(self, objects: Sequence[Obj]) -> None:
        """Apply objects side by side; on the first failure, start no more and raise it."""
        todo = []
        for obj in objects:
            key = key_of(obj)
            if self._settled(obj):
                self.applied.add(key, Outcome.UNCHANGED, self.recorded[key])
            else:
                todo.append(obj)
        if not todo:
            return
        with ThreadPoolExecutor(THREADS) as pool:
            futures = [pool.submit(self._one, obj) for obj in todo]
            try:
                done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            finally:
                self._stop.set()
                for future in futures:
                    future.cancel()
        self._stop.clear()
        failures = [error for future in done if (error := future.exception())]
        if failures:
            raise failures[0]

    def _one(self, obj: Obj) -> None:
        key, wanted = key_of(obj), prepared(obj)
        before = self._remaining(self.live.get(key))
        after = self._patiently(wanted)
        if going(after):
            before, after = self._remaining(after), self._patiently(wanted)
        changed = Outcome.CHANGED if before and not same(before, after) else Outcome.UNCHANGED
        outcome = changed if before else Outcome.CREATED
        with self._lock:
            self.applied.add(key, outcome, record(wanted, after))

    def _patiently(self, obj: Obj) -> Obj:
        begin = time.monotonic()
        while True:
            try:
                after = self.hands.apply(obj)
                additions = self.hands.additions(after)
                return self.hands.take_back(after, additions) if additions else after
            except BetelgeuseError as error:
                if self._replaced(obj, error):
                    continue
                passing = transient(error, self.custom, obj)
                if passing is None or self._stop.is_set() or time.monotonic() - begin > passing.seconds:
                    raise (failure(obj, error) if isinstance(error, ApiError) else error) from None
                self._tell(f"{describe(obj)}: {passing.reason}; trying again for {passing.seconds:.0f} s")
            self._stop.wait(_PAUSE)

    def _remaining(self, live: Obj | None) -> Obj | None:
        """Return an object as it is, or None once it is gone: while one is being deleted, nothing can be made of it."""
        limit = _NAMESPACE_SECONDS if live is not None and live["kind"] == "Namespace" else _GOING_SECONDS
        begin = time.monotonic()
        while live is not None and going(live):
            meta = live["metadata"]
            if self._stop.is_set() or time.monotonic() - begin > limit:
                then = f"{deletion.advice(live)}; then run this again, and it is made anew"
                message = f"{describe(live)} {reason(live)}: {then}"
                raise WaitTimeoutError(message)
            self._tell(f"{describe(live)} {reason(live)}; waiting up to {limit:.0f} s for its end")
            self._stop.wait(_PAUSE)
            live = self.kube.get(live["apiVersion"], live["kind"], meta["name"], meta.get("namespace"))
        return live

    def _replaced(self, obj: Obj, error: BetelgeuseError) -> bool:
        """Delete a Job whose template changed: Jobs cannot be changed, only run anew."""
        immutable = isinstance(error, ApiError) and error.status == _INVALID and "immutable" in str(error)
        if not immutable or obj["kind"] != "Job":
            return False
        live = self.kube.get(obj["apiVersion"], "Job", obj["metadata"]["name"], obj["metadata"].get("namespace"))
        if self._remaining(live) is None or live is None or going(live):
            return True
        say(f"{describe(obj)}: its template changed; the old Job is deleted and run anew")
        # Gone already, it is out of the way too.
        self.kube.delete(obj, uid=live["metadata"]["uid"])
        return True

    def _tell(self, text: str) -> None:
        with self._lock:
            if text in self._told:
                return
            self._told.add(text)
        say(text)
