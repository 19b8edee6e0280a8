"""Whose a field is: a hand's, which a deploy takes back, or a controller's, which it leaves alone.

A hand is known by not being a controller: people come with any tool (kubectl, a dashboard, a client library), while
a controller is a part of Kubernetes, a program of the tree, whoever writes an object's status, or another declarative
owner (server-side apply under a name of its own).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple

from betelgeuse.kube import Key, Obj, api_group
from betelgeuse.managed_fields import Fields, Path, cut, locate, pick, shown, strays, union

RESTARTED: Final = "kubectl.kubernetes.io/restartedAt"
_HANDS: Final = re.compile(r"kubectl.*|before-first-apply|kubeadm|betelgeuse.*|k9s|curl")
"""Taken back whatever else they do: people's tools, what was there before us, and ourselves under an older name."""
_KUBERNETES: Final = re.compile(
    r"kube-(apiserver|controller-manager|scheduler|proxy)|kubelet|cloud-controller-manager"
    r"|argocd-.*|(kustomize|helm|source)-controller"
)
_MAKERS: Final = re.compile(r"betelgeuse.*|before-first-apply|kubeadm")
"""What these set was there when the object was made: none of it is an addition."""
_WORKLOADS: Final = frozenset({"Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"})
_KEPT: Final[tuple[Path, ...]] = (
    ("f:status",),
    # Who guards an object's end knows why; to take that away can lose more than it mends.
    ("f:metadata", "f:finalizers"),
    ("f:metadata", "f:ownerReferences"),
)
_KEPT_ANNOTATIONS: Final = (
    RESTARTED,
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/revision",
    # A hand may say so of an object that is to outlive its place in the tree.
    "betelgeuse.io/prune",
)
REPLICAS: Final[Path] = ("f:spec", "f:replicas")
_JOB: Final[Path] = ("f:spec",)
"""A Job's spec is fixed once it is made, by whoever made it."""


class Addition(NamedTuple):
    """A field that a hand put into an object of ours."""

    manager: str
    path: Path

    def __str__(self) -> str:
        """Return `spec.jwt.optional, added by 'kubectl-patch'`."""
        return f"{shown(self.path)}, added by {self.manager!r}"


def _entries(live: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [entry for entry in live["metadata"].get("managedFields") or () if entry.get("subresource") != "status"]


def _declarative(live: Mapping[str, Any], manager: str) -> bool:
    return any(entry.get("manager") == manager and entry.get("operation") == "Apply" for entry in _entries(live))


def _programs(obj: Obj) -> Iterable[str]:
    """Yield the names by which a workload's programs may call themselves."""
    name = obj["metadata"]["name"]
    # A client writes under the name of its file: cert-manager-cainjector's is `cainjector`.
    yield from (name, name.rpartition("-")[2])
    spec = obj.get("spec") or {}
    spec = (spec.get("jobTemplate") or {}).get("spec") or spec
    pod = (spec.get("template") or {}).get("spec") or {}
    for container in (*(pod.get("initContainers") or ()), *(pod.get("containers") or ())):
        yield container["name"]
        for word in (container.get("command") or ())[:1]:
            yield PurePosixPath(word).name


@dataclass(frozen=True)
class Controllers:
    """The controllers of a cluster, by the names under which they write."""

    names: frozenset[str] = frozenset()
    families: tuple[str, ...] = ()
    """Workloads whose parts write under names of their own: cert-manager-certificates-issuing."""

    @classmethod
    def of(cls, tree: Iterable[Obj], live: Iterable[Mapping[str, Any]] = ()) -> "Controllers":
        """Return the controllers: programs of the tree, and whoever writes the status of something that lives."""
        workloads = [obj for obj in tree if obj["kind"] in _WORKLOADS]
        names = {name for obj in workloads for name in _programs(obj)}
        names |= {
            str(entry.get("manager"))
            for obj in live
            for entry in obj["metadata"].get("managedFields") or ()
            if entry.get("subresource") == "status"
        }
        return cls(frozenset(names), tuple(f"{obj['metadata']['name']}-" for obj in workloads))

    def __contains__(self, manager: str) -> bool:
        """Whether a manager is a controller."""
        if _HANDS.fullmatch(manager):
            return False
        return bool(_KUBERNETES.fullmatch(manager)) or manager in self.names or manager.startswith(self.families)

    def owns(self, live: Mapping[str, Any], manager: str) -> bool:
        """Whether a manager of an object is to be left alone."""
        return manager in self or (not _HANDS.fullmatch(manager) and _declarative(live, manager))

    def additions(self, live: Mapping[str, Any], *, autoscaled: bool = False) -> list[Addition]:
        """Return what hands added to an object of ours; what an autoscaler sets through a hand's scale is its own."""
        entries = _entries(live)
        hands = [entry for entry in entries if self._is_hand(live, str(entry.get("manager")))]
        if not hands:
            return []
        left = [*_KEPT, *([REPLICAS] if autoscaled else ()), *([_JOB] if live["kind"] == "Job" else ())]
        others = union(_fields(entry) if entry not in hands else _left(_fields(entry), *left) for entry in entries)
        found: dict[Path, Addition] = {}
        for entry in hands:
            for path in strays(_fields(entry), others):
                if locate(live, path) is not None:
                    found.setdefault(path, Addition(str(entry["manager"]), path))
        return [found[path] for path in sorted(found)]

    def _is_hand(self, live: Mapping[str, Any], manager: str) -> bool:
        return not _MAKERS.fullmatch(manager) and not self.owns(live, manager)


def _fields(entry: Mapping[str, Any]) -> Fields:
    return entry.get("fieldsV1") or {}


def _left(fields: Fields, *paths: Path) -> Fields:
    """Return the fields of a hand that are left alone."""
    return union([*(pick(fields, path) for path in paths), _annotations(fields)])


def _annotations(fields: Fields) -> dict[str, Any]:
    found = {}
    for element, inner in fields.items():
        if element == "f:annotations":
            kept: dict[str, Any] = {name: {} for name in inner if name[2:] in _KEPT_ANNOTATIONS}
        else:
            kept = _annotations(inner)
        if kept:
            found[element] = kept
    return found


def disowned(live: Mapping[str, Any], additions: Iterable[Addition]) -> list[dict[str, Any]]:
    """Return managedFields without the additions: a value that comes back as a default is nobody's then."""
    paths = [entry.path for entry in additions]
    managers = {entry.manager for entry in additions}
    found = []
    for entry in live["metadata"].get("managedFields") or ():
        fields = _fields(entry)
        if entry.get("manager") in managers and entry.get("subresource") != "status":
            for path in paths:
                fields = cut(fields, path)
            if not set(fields) - {"."}:
                continue
        found.append({**entry, "fieldsV1": fields})
    return found


def scaled(autoscaler: Mapping[str, Any]) -> Key:
    """Return what a HorizontalPodAutoscaler scales."""
    target = (autoscaler.get("spec") or {}).get("scaleTargetRef") or {}
    namespace = str(autoscaler["metadata"].get("namespace") or "")
    return Key(api_group(target), str(target.get("kind")), namespace, str(target.get("name")))
