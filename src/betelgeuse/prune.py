"""Delete what left the tree: only what is provably ours, and never data, without saying so."""

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

from betelgeuse.apply import THREADS, snapshot
from betelgeuse.apply_rules import ours
from betelgeuse.deletion import advice, going, reason
from betelgeuse.inventory import NAMESPACE, Inventory
from betelgeuse.kube import Key, Kube, Obj, built_in, key_of
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
_FINALISE_SECONDS: Final = 60.0
"""How long what was deleted may take to go: controllers finalise their resources, namespaces empty themselves."""
_PAUSE: Final = 0.5
_INCIDENTAL_NAMES: Final = frozenset({("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")})


@dataclass
class Pruned:
    """What a prune did."""

    deleted: dict[Key, str] = field(default_factory=dict)
    """With the uid each had: an object made anew meanwhile is not what we decided about."""
    kept: dict[Key, str] = field(default_factory=dict)
    """Ours still, with the reason it was left in place."""
    going: dict[Key, str] = field(default_factory=dict)
    """Ours until they are gone: deleted, but held, with what holds them."""
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


def _rank(key: Key) -> int:
    return _ORDER.get(key.kind, _CUSTOM if not built_in(key.group) else 3 if key.kind in _WORKLOADS else 4)


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
    why = keep_reason(live, data=data)
    if data and not why and (claim := claims.get(live["metadata"].get("uid", ""))):
        why = f"{claim} would be deleted with it"
    if not why and live["kind"] == "Namespace":
        why = _foreign(kube, live["metadata"]["name"], leaving)
    if not why and live["kind"] == "CustomResourceDefinition":
        why = _instance(kube, live, leaving)
    return why


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
        elif going(live):
            result.going[key] = held(live)
        elif obstacle := _obstacle(kube, live, leaving - set(result.kept), owned, data=data):
            result.kept[key] = obstacle
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


def held(live: Mapping[str, Any]) -> str:
    """Return what keeps an object that was deleted, and what lets it go."""
    return f"{reason(live)}: {advice(live)}"


def _await_gone(kube: Kube, inventory: Inventory, uids: Mapping[Key, str]) -> dict[Key, str]:
    """Give objects that were deleted time to go; return those that did not, with what holds them."""
    deadline = time.monotonic() + _FINALISE_SECONDS
    waiting = {key: _reference(inventory, key) for key in uids}
    while waiting:
        live = snapshot(kube, waiting.values())
        left = {key: live[key] for key in waiting if key in live and live[key]["metadata"].get("uid") == uids[key]}
        if not left or time.monotonic() > deadline:
            return {key: held(entry) for key, entry in left.items()}
        waiting = {key: waiting[key] for key in left}
        time.sleep(_PAUSE)
    return {}


def prune(kube: Kube, inventory: Inventory, objects: Iterable[Obj], *, data: bool = True) -> Pruned:
    """Delete what left the tree, rank by rank; `data` keeps what holds data.

    What does not go in time is told apart from what is deleted. While a custom resource is held, whatever comes after
    it stays as well: its controller is among that, and nobody else can let it go.
    """
    result = candidates(kube, inventory, objects, data=data)
    decided, result.deleted = result.deleted, {}
    blocker = next((key for key in result.going if _rank(key) == _CUSTOM), None)

    def delete(key: Key) -> bool:
        return kube.delete(_reference(inventory, key), uid=decided[key])

    for rank, group in groupby(decided, key=_rank):
        uids = {key: decided[key] for key in group}
        if blocker is not None and rank > _CUSTOM:
            result.kept |= dict.fromkeys(uids, f"{blocker} is not gone yet, and may need it")
            continue
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(delete, uids))
        result.deleted |= uids
        if rank == _CUSTOM:
            result.going |= _await_gone(kube, inventory, uids)
            blocker = blocker or next(iter(result.going.keys() & uids.keys()), None)
    fresh = {key: uid for key, uid in result.deleted.items() if key not in result.going}
    result.going |= _await_gone(kube, inventory, fresh)
    result.deleted = {key: uid for key, uid in result.deleted.items() if key not in result.going}
    return result
