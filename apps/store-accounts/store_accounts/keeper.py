"""Round after round: each store's accounts are as they are declared, and what is not is told."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from serving.cluster import ClusterError

from .cluster import Declared
from .model import Adapter, StoreError, digest

PAUSE: Final = 10.0
"""Seconds between two looks at the declarations."""
AGAIN: Final = 300.0
"""Seconds after which a store is looked at although nothing new was declared: it may have lost what it had."""
_LOG: Final = logging.getLogger("store_accounts")


@dataclass
class State:
    """What is known of one store."""

    problems: list[str] = field(default_factory=list)
    """What is not as declared, one line each; empty when all is well."""
    undeclared: list[str] = field(default_factory=list)
    accounts: int = 0
    """How many are declared."""
    changes: int = 0
    """How many were made since the start."""
    known: str = ""
    """The digest of what was brought about."""
    due: float = 0.0
    """When to look again, although nothing changed."""


class Keeper:
    """Keeps all stores; one thread runs it, others ask for its state."""

    def __init__(
        self,
        read: Callable[[], Mapping[str, Declared]],
        adapters: Callable[[str], Adapter],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`adapters` raises StoreError for a store that nobody knows."""
        self._read, self._adapters, self._clock = read, adapters, clock
        self._lock = threading.Lock()
        self._states: dict[str, State] = {}
        self._trouble = "no round is done yet"
        self._seen = clock()

    def round(self) -> None:
        """Look at every store once."""
        try:
            found = self._read()
        except ClusterError as error:
            self._note(str(error))
            return
        for store, declared in sorted(found.items()):
            self._store(self._states.get(store) or State(), store, declared)
        with self._lock:
            for gone in set(self._states) - set(found):
                del self._states[gone]
        self._note("")

    def _note(self, trouble: str) -> None:
        with self._lock:
            self._trouble, self._seen = trouble, self._clock()

    def _store(self, state: State, store: str, declared: Declared) -> None:
        known = digest(declared.admin or {}, declared.accounts)
        if known == state.known and self._clock() < state.due:
            return
        problems = list(declared.faults)
        try:
            if declared.admin is None:
                message = f"no Secret has the administrator of {store}"
                raise StoreError(message)  # noqa: TRY301 - told as every other fault of a store
            outcome = self._adapters(store).reconcile(declared.admin, declared.accounts)
        # A client library may raise anything; whatever it is, the other stores go on and this one is tried again.
        except Exception as error:  # noqa: BLE001
            problems.append(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
            fresh = State(problems, state.undeclared, changes=state.changes)
        else:
            for change in outcome.changes:
                _LOG.info("%s: %s", store, change)
            changes = state.changes + len(outcome.changes)
            fresh = State(problems, outcome.undeclared, 0, changes, known, self._clock() + AGAIN)
        fresh.accounts = len(declared.accounts)
        for problem in problems:
            if problem not in state.problems:
                _LOG.warning("%s: %s", store, problem)
        with self._lock:
            self._states[store] = fresh

    def forever(self) -> None:
        """Look again and again."""
        while True:
            self.round()
            time.sleep(PAUSE)

    def report(self) -> tuple[bool, dict[str, object]]:
        """Return whether all is as declared, and everything that is known."""
        with self._lock:
            stores = {
                name: {"problems": state.problems, "undeclared": state.undeclared}
                for name, state in sorted(self._states.items())
            }
            good = not self._trouble and not any(state.problems for state in self._states.values())
            return good, {"trouble": self._trouble, "stores": stores}

    def numbers(self) -> tuple[float, dict[str, State]]:
        """Return the seconds since a round ended, and what is known of each store."""
        with self._lock:
            return self._clock() - self._seen, dict(self._states)

    def alive(self, patience: float) -> bool:
        """Whether a round has ended within some seconds."""
        with self._lock:
            return self._clock() - self._seen < patience
