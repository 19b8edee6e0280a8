"""In which order objects are applied: computed from what they are, so that nobody numbers files by hand.

| wave | what                                              |
|------|---------------------------------------------------|
| 0    | namespaces, CRDs, storage and priority classes    |
| 10   | every other built-in kind, webhooks last          |
| 20   | objects whose kind a CRD defines                  |

`argocd.argoproj.io/sync-wave: "<n>"` moves one object on the same scale (our apply and Argo CD both read it). A wave of
the table is applied as soon as the API accepts it; a wave of another number is a barrier: it begins when everything
before it is ready, and what follows begins when it is ready.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from betelgeuse.errors import UsageError
from betelgeuse.kube import Obj, api_group, describe

ANNOTATION: Final = "argocd.argoproj.io/sync-wave"
FOUNDATION: Final = 0
BUILT_IN: Final = 10
CUSTOM: Final = 20
COMPUTED: Final = frozenset({FOUNDATION, BUILT_IN, CUSTOM})

_FOUNDATION_KINDS: Final = frozenset({"Namespace", "CustomResourceDefinition", "StorageClass", "PriorityClass"})
_PHASES: Final[Mapping[str, int]] = {
    # What pods read or are bound by comes before the pods, so that none starts by failing.
    "Service": 1,
    "Deployment": 2,
    "StatefulSet": 2,
    "DaemonSet": 2,
    "Job": 2,
    "CronJob": 2,
    "Pod": 2,
    "HorizontalPodAutoscaler": 3,
    # A webhook without its pods refuses what it guards.
    "MutatingWebhookConfiguration": 4,
    "ValidatingWebhookConfiguration": 4,
    "APIService": 4,
}


@dataclass(frozen=True)
class Group:
    """One wave: its phases are applied one after the other, the objects of a phase side by side."""

    wave: int
    phases: tuple[tuple[Obj, ...], ...]

    @property
    def objects(self) -> list[Obj]:
        """All objects of the wave, in order."""
        return [obj for phase in self.phases for obj in phase]

    @property
    def barrier(self) -> bool:
        """Whether the wave waits for everything before it, and is waited for by what follows."""
        return self.wave not in COMPUTED


def custom_kinds(objects: Iterable[Mapping[str, Any]]) -> frozenset[tuple[str, str]]:
    """Return the (group, kind) pairs that the CRDs among the objects define."""
    return frozenset(
        (obj["spec"]["group"], obj["spec"]["names"]["kind"])
        for obj in objects
        if obj.get("kind") == "CustomResourceDefinition"
    )


def wave_of(obj: Mapping[str, Any], custom_groups: frozenset[str]) -> int:
    """Return the wave of one object."""
    annotations = (obj.get("metadata") or {}).get("annotations") or {}
    explicit = annotations.get(ANNOTATION)
    if explicit is not None:
        try:
            return int(explicit)
        except (ValueError, TypeError):
            message = f"{describe(obj)}: annotation {ANNOTATION} must be a whole number, got {explicit!r}"
            raise UsageError(message) from None
    if obj.get("kind") in _FOUNDATION_KINDS:
        return FOUNDATION
    return CUSTOM if api_group(obj) in custom_groups else BUILT_IN


def plan(objects: Sequence[Obj]) -> list[Group]:
    """Order objects into groups; inside a phase the tree's own order stays."""
    custom_groups = frozenset(group for group, _ in custom_kinds(objects))
    waves: defaultdict[int, defaultdict[int, list[Obj]]] = defaultdict(lambda: defaultdict(list))
    for obj in objects:
        phase = _PHASES.get(str(obj.get("kind")), 0)
        waves[wave_of(obj, custom_groups)][phase].append(obj)
    return [
        Group(wave, tuple(tuple(phases[number]) for number in sorted(phases))) for wave, phases in sorted(waves.items())
    ]
