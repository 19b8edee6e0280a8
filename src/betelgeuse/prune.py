"""Delete what left the tree: only what is provably ours, and never data, without saying so."""

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

from betelgeuse.apply import THREADS, snapshot
from betelgeuse.apply_rules import ours
from betelgeuse.inventory import NAMESPACE, Inventory
from betelgeuse.kube import Key, Kube, Obj, key_of
from betelgeuse.secrets import ANNOTATION as GENERATED
from betelgeuse.volumes import holds_data, made, owners

KEEP: Final = "betelgeuse.io/prune"
"""Annotation: the value `never` keeps an object that leaves the tree."""

_ORDER: Final = {"CustomResourceDefinition": 8, "Namespace": 9}
_CUSTOM: Final = 1
_WORKLOADS: Final = frozenset({"Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"})
_INCIDENTAL: Final = frozenset(
    # What Kubernetes itself puts into every namespace, or what follows another object's life.
    {"Event", "EndpointSlice", "Endpoints", "Lease", "PodMetrics", "ControllerRevision", "CiliumEndpoint"}
)
_BUILT_IN_GROUPS: Final = frozenset(
    f"{name}.k8s.io"
    for name in (
        "admissionregistration",
        "apiextensions",
        "apiregistration",
        "authentication",
        "authorization",
        "certificates",
        "coordination",
        "discovery",
        "events",
        "flowcontrol.apiserver",
        "networking",
        "node",
        "rbac.authorization",
        "resource",
        "scheduling",
        "storage",
    )
)
_FINALISE_SECONDS: Final = 60.0
"""How long custom resources may take to go before their controllers go as well."""
_PAUSE: Final = 0.5
_INCIDENTAL_NAMES: Final = frozenset({("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")})


@dataclass
class Pruned:
    """What a prune did."""

    deleted: dict[Key, str] = field(default_factory=dict)
    """With the uid each had: an object made anew meanwhile is not what we decided about."""
    kept: dict[Key, str] = field(default_factory=dict)
    """Ours still, with the reason it was left in place."""
    data: set[Key] = field(default_factory=set)
    """Of what was kept: what is kept for its data alone, which a prune without that care deletes."""
    forgotten: dict[Key, str] = field(default_factory=dict)
    """Not ours any more, with what became of it."""


def keep_reason(live: Mapping[str, Any], *, data: bool = True) -> str:
    """Return why an object must outlive its place in the tree, or an empty string; `data` keeps what holds data."""
    annotations = live["metadata"].get("annotations") or {}
    if (live.get("kind"), live["metadata"]["name"]) == ("Namespace", NAMESPACE):
        return "the inventory lives in it"
    if not data:
        return ""
    if annotations.get(KEEP) == "never":
        return f"annotation {KEEP}: never"
    if holds_data(live):
        return "it holds data"
    if live.get("kind") == "Secret" and GENERATED in annotations:
        return "its values cannot be made again, and data may be encrypted with them"
    return ""


def incidental(obj: Mapping[str, Any], leaving: frozenset[Key]) -> bool:
    """Whether an object inside a namespace may go with it."""
    meta = obj["metadata"]
    return (
        bool(meta.get("ownerReferences"))
        or obj.get("kind") in _INCIDENTAL
        or (obj.get("kind"), meta.get("name")) in _INCIDENTAL_NAMES
        or key_of(obj) in leaving
    )


def _custom(key: Key) -> bool:
    return "." in key.group and key.group not in _BUILT_IN_GROUPS


def _rank(key: Key) -> int:
    return _ORDER.get(key.kind, _CUSTOM if _custom(key) else 3 if key.kind in _WORKLOADS else 4)


def order(keys: Iterable[Key]) -> list[Key]:
    """Return the order to delete in: custom resources while their controllers live, namespaces last."""
    return sorted(keys, key=lambda key: (_rank(key), key))


def _foreign(kube: Kube, namespace: str, leaving: frozenset[Key]) -> str:
    """Return one object in a namespace that is not ours to delete, or an empty string."""
    for resource in kube.resources():
        if resource.namespaced:
            for obj in kube.list(resource.api_version, resource.kind, namespace):
                if not incidental(obj, leaving):
                    return f"it still holds {key_of(obj)}"
    return ""


def _instance(kube: Kube, crd: Obj, leaving: frozenset[Key]) -> str:
    spec = crd["spec"]
    version = next(entry["name"] for entry in spec["versions"] if entry.get("served"))
    for obj in kube.list(f"{spec['group']}/{version}", spec["names"]["kind"]):
        if key_of(obj) not in leaving:
            return f"{key_of(obj)} still uses it"
    return ""


def _obstacle(kube: Kube, live: Obj, leaving: frozenset[Key], claims: Mapping[str, str], *, data: bool) -> str:
    reason = keep_reason(live, data=data)
    if data and not reason and (claim := claims.get(live["metadata"].get("uid", ""))):
        reason = f"{claim} would be deleted with it"
    if not reason and live["kind"] == "Namespace":
        reason = _foreign(kube, live["metadata"]["name"], leaving)
    if not reason and live["kind"] == "CustomResourceDefinition":
        reason = _instance(kube, live, leaving)
    return reason


def _reference(inventory: Inventory, key: Key) -> Obj:
    meta = {"name": key.name} | ({"namespace": key.namespace} if key.namespace else {})
    return {"apiVersion": inventory.versions[key], "kind": key.kind, "metadata": meta}


def claims(kube: Kube, inventory: Inventory, objects: Iterable[Obj]) -> Inventory:
    """Return the inventory with the volume claims that leaving StatefulSets made: nothing else would remember them.

    A claim whose StatefulSet came back to the tree belongs to that again.
    """
    objects = list(objects)
    gone = [
        key for key in inventory.left_the_tree(objects) if key.kind == "StatefulSet" and key not in inventory.adopted
    ]
    live = snapshot(kube, [_reference(inventory, key) for key in gone]) if gone else {}
    leaving = [live[key] for key in gone if key in live and ours(live[key], inventory.records.get(key, ""))]
    found = inventory.with_claims(made(kube, leaving))
    return found.without(key_of(claim) for claim in made(kube, objects)) if found.has_claims else found


def _decide(kube: Kube, inventory: Inventory, found: Mapping[Key, Obj], keys: list[Key], *, data: bool) -> Pruned:
    result = Pruned()
    leaving = frozenset(keys)
    owned = owners(kube, {key.namespace for key in keys if key.namespace}) if data else {}
    for key in keys:
        live = found.get(key)
        if live is None:
            result.forgotten[key] = "is gone already"
        elif key in inventory.adopted:
            result.forgotten[key] = "was there before us and stays as it is"
        elif not ours(live, inventory.records.get(key, "")):
            result.forgotten[key] = "was made anew by somebody else and is left alone"
        elif reason := _obstacle(kube, live, leaving - set(result.kept), owned, data=data):
            result.kept[key] = reason
        else:
            result.deleted[key] = live["metadata"]["uid"]
    return result


def candidates(kube: Kube, inventory: Inventory, objects: Iterable[Obj], *, data: bool = True) -> Pruned:
    """Decide, without touching anything, what a prune would delete, keep and forget; `data` keeps what holds data."""
    keys = order(inventory.left_the_tree(objects))
    if not keys:
        return Pruned()
    found = snapshot(kube, [_reference(inventory, key) for key in keys])
    result = _decide(kube, inventory, found, keys, data=data)
    if data and result.kept:
        result.data = result.kept.keys() & _decide(kube, inventory, found, keys, data=False).deleted.keys()
    return result


def _await_gone(kube: Kube, inventory: Inventory, keys: Iterable[Key]) -> None:
    """Give controllers time to finalise their custom resources before they are deleted themselves."""
    deadline = time.monotonic() + _FINALISE_SECONDS
    waiting = {key: _reference(inventory, key) for key in keys}
    while waiting and time.monotonic() < deadline:
        live = snapshot(kube, waiting.values())
        waiting = {key: reference for key, reference in waiting.items() if key in live}
        if waiting:
            time.sleep(_PAUSE)


def prune(kube: Kube, inventory: Inventory, objects: Iterable[Obj], *, data: bool = True) -> Pruned:
    """Delete what left the tree, rank by rank; `data` keeps what holds data."""
    result = candidates(kube, inventory, objects, data=data)

    def delete(key: Key) -> bool:
        return kube.delete(_reference(inventory, key), uid=result.deleted[key])

    for rank, group in groupby(result.deleted, key=_rank):
        keys = list(group)
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(delete, keys))
        if rank == _CUSTOM:
            _await_gone(kube, inventory, keys)
    return result
