"""Wait until everything is ready, saying all the while what is not, and why."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from betelgeuse.errors import BetelgeuseError, WaitTimeoutError
from betelgeuse.kube import ApiError, Key, Kube, Obj, UnknownKindError, UnreachableError, key_of, selecting
from betelgeuse.pods import starting, worst
from betelgeuse.progress import Ticker
from betelgeuse.readiness import State, judge, short

_FAST: Final = 0.5
_SLOW: Final = 2.0
_FAST_SECONDS: Final = 10.0
"""So long after the start we look often: most waits end within seconds."""
_EXPLAINED: Final = 3
"""As many are explained by their pods in a round: each costs a request or two."""
_SHOWN: Final = 2
_WORKLOADS: Final = frozenset({"Deployment", "StatefulSet", "DaemonSet", "Job"})
_SCALED: Final = frozenset({"Deployment", "StatefulSet"})
_THREADS: Final = 8


@dataclass(frozen=True)
class Waiting:
    """Something not ready, and why."""

    key: Key
    state: State
    live: Obj | None = None

    def __str__(self) -> str:
        """Return `ai/llm 0/1 ready (pod llm-0: …)`; the kind is named where it is not a workload."""
        place = f"{self.key.namespace}/{self.key.name}" if self.key.namespace else self.key.name
        return f"{place if self.key.kind in _WORKLOADS else f'{self.key.kind} {place}'} {self.state.reason}"


def _served(obj: Obj, live: Obj) -> State:
    """Judge a live object, and whether it serves at all where the tree wants that: none of none is ready too."""
    state, spec = judge(live), obj.get("spec") or {}
    if obj["kind"] in _SCALED and (live.get("spec") or {}).get("replicas") == 0 and (wanted := spec.get("replicas", 1)):
        text = f"is scaled to 0, so nothing serves; the tree wants {wanted} (`invoke deploy` sets it back)"
        return State(ready=False, reason=text)
    anywhere = not {"nodeSelector", "affinity"} & ((spec.get("template") or {}).get("spec") or {}).keys()
    if obj["kind"] == "DaemonSet" and anywhere and state.ready and not live["status"].get("desiredNumberScheduled"):
        return State(ready=False, reason="may run on no node, so nothing serves (its node selector, the nodes' taints)")
    return state


def observe(kube: Kube, objects: Sequence[Obj]) -> list[Waiting]:
    """Judge every object by the cluster's present state; return those that are not ready."""
    kinds = sorted({(str(obj["apiVersion"]), str(obj["kind"])) for obj in objects})

    def fetch(kind: tuple[str, str]) -> Mapping[Key, Obj] | None:
        try:
            return {key_of(obj): obj for obj in kube.list(*kind)}
        except UnknownKindError:
            return None

    with ThreadPoolExecutor(_THREADS) as pool:
        live = dict(zip(kinds, pool.map(fetch, kinds), strict=True))
    found: list[Waiting] = []
    for obj in objects:
        key, served = key_of(obj), live[str(obj["apiVersion"]), str(obj["kind"])]
        now = served.get(key) if served is not None else None
        if now is None:
            reason = "is missing" if served is not None else "has a kind the API server does not serve"
            found.append(Waiting(key, State(ready=False, reason=reason)))
        elif not (state := _served(obj, now)).ready:
            found.append(Waiting(key, state, now))
    return found


def _event(kube: Kube, namespace: str, name: str) -> str:
    """Return the newest warning about an object."""
    events = kube.list("v1", "Event", namespace, fields=f"involvedObject.name={name},type=Warning")
    stamp = sorted(events, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
    return short(f"{stamp[-1].get('reason')}: {stamp[-1].get('message')}") if stamp else ""


def _pods_of(kube: Kube, live: Obj) -> list[Obj]:
    selector = (live.get("spec") or {}).get("selector") or {}
    labels = selecting(selector.get("matchLabels") or {})
    return kube.list("v1", "Pod", live["metadata"]["namespace"], labels=labels) if labels else []


def explain(kube: Kube, waiting: Waiting) -> Waiting:
    """Add what a workload's pods (or, where there are none, the events) say."""
    if waiting.live is None or waiting.key.kind not in _WORKLOADS:
        return waiting
    words = ""
    with suppress(ApiError, UnreachableError):
        pods = _pods_of(kube, waiting.live)
        words = worst(pods)
        stuck = next((pod for pod in pods if starting(pod)), None)
        if stuck is not None and (not words or "Creating" in words or "Initializing" in words):
            name = stuck["metadata"]["name"]
            words = f"{words or f'pod {name}'}: {_event(kube, waiting.key.namespace, name)}".rstrip(": ")
        elif not pods and "(" not in waiting.state.reason:
            words = _event(kube, waiting.key.namespace, waiting.key.name)
    if not words:
        return waiting
    state = State(ready=False, reason=f"{waiting.state.reason} ({words})", fatal=waiting.state.fatal)
    return Waiting(waiting.key, state, waiting.live)


def summary(waiting: Sequence[Waiting], shown: int = _SHOWN) -> str:
    """Return the first few and how many more."""
    more = f"; and {len(waiting) - shown} more" if len(waiting) > shown else ""
    return "; ".join(map(str, waiting[:shown])) + more


def _rank(waiting: Waiting) -> int:
    """Causes before consequences: what runs pods is explained before what needs those pods."""
    return 0 if waiting.key.kind in _WORKLOADS else 1


def until_ready(
    kube: Kube,
    objects: Iterable[Obj],
    timeout: float,
    progress: Ticker | None = None,
    before_round: Callable[[], None] | None = None,
) -> None:
    """Return when all objects are ready; raise WaitTimeoutError with the reasons when time is up.

    `timeout` is in seconds and counts anew whenever fewer are awaited than ever before: a large tree on a slow machine
    takes longer than the slowest of its parts. `before_round` runs before each look, for work that becomes possible
    while waiting.
    """
    everything = list(objects)
    remaining, complete = everything, True
    ticker = progress or Ticker(timeout)
    begin = progressed = time.monotonic()
    fewest = math.inf
    try:
        while True:
            if before_round is not None:
                before_round()
            reason, waiting = _look(kube, remaining)
            if not reason and complete:
                return
            # What was ready may have broken since: the last look is always at everything.
            names = {entry.key for entry in waiting}
            remaining = [obj for obj in remaining if key_of(obj) in names] if waiting else everything
            complete = remaining is everything or len(remaining) == len(everything)
            if not reason:
                continue
            if waiting and len(waiting) < fewest:
                # What the first look finds ready is no progress.
                if fewest < math.inf:
                    progressed = time.monotonic()
                    ticker.restart()
                fewest = len(waiting)
            if time.monotonic() - progressed > timeout:
                before = progressed - begin
                lately = f", the last {timeout:.0f} without progress" if before else ""
                message = f"not ready after {before + timeout:.0f} s{lately}: {reason}"
                raise WaitTimeoutError(message)
            ticker.update(reason)
            time.sleep(_FAST if time.monotonic() - begin < _FAST_SECONDS else _SLOW)
    finally:
        ticker.close()


def _look(kube: Kube, objects: Sequence[Obj]) -> tuple[str, list[Waiting]]:
    try:
        waiting = sorted(observe(kube, objects), key=_rank)
    except UnreachableError as error:
        # It may be restarting; the time limit bounds this as it bounds everything else.
        return str(error), []
    except ApiError as error:
        return short(error), []
    waiting = [explain(kube, entry) for entry in waiting[:_EXPLAINED]] + waiting[_EXPLAINED:]
    fatal = next((entry for entry in waiting if entry.state.fatal), None)
    if fatal is not None:
        raise BetelgeuseError(str(fatal))
    return summary(waiting), waiting
