"""Make generated secrets anew, and have everything that uses them follow, whatever is killed on the way.

A rotated Secret carries the time of its rotation. The pod template of a workload carries a digest of the times of all
Secrets it uses; where the two disagree, the workload must be rolled. So a deploy sees what an interrupted rotation left
to do, and a Secret that was never rotated rolls nothing.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from betelgeuse.apply_rules import SECRETS_MANAGER
from betelgeuse.errors import UsageError
from betelgeuse.kube import Key, Kube, Obj, describe, digest, key_of
from betelgeuse.secrets import PREVIOUS, complete, recipes, stamp, write
from betelgeuse.settings import suggest
from betelgeuse.tree.workloads import containers, pod_spec, template

ROTATE: Final = "betelgeuse.io/rotate"
"""Annotation of a Secret: `never` where data is encrypted with its values."""
USED: Final = "betelgeuse.io/secrets"
"""Annotation of a pod template: which rotations its Secrets have been through."""
_ROTATABLE: Final = frozenset({"hex", "base64", "password"})
WORKLOADS: Final = ("StatefulSet", "DaemonSet", "Deployment")


@dataclass(frozen=True)
class Roll:
    """A workload whose pods still use values of before a rotation."""

    obj: Obj
    digest: str

    @property
    def key(self) -> Key:
        """The workload."""
        return key_of(self.obj)


def rotatable(obj: Obj) -> list[str]:
    """Return the keys of a Secret that a rotation makes anew: random ones, never copies, certificates or texts."""
    mode = (obj["metadata"].get("annotations") or {}).get(ROTATE)
    if obj["kind"] == "Secret" and mode not in {None, "never"}:
        message = f"{describe(obj)}: annotation {ROTATE} can only say never, got {str(mode)[:40]!r}"
        raise UsageError(message)
    return [] if mode else [key for key, recipe in recipes(obj).items() if recipe.kind in _ROTATABLE]


def select(objects: Iterable[Obj], only: Sequence[str] = ()) -> list[Obj]:
    """Return the Secrets to rotate: all, or those named `namespace/name`; an unknown one is a UsageError."""
    found = {f"{obj['metadata']['namespace']}/{obj['metadata']['name']}": obj for obj in objects if rotatable(obj)}
    for name in only:
        if name not in found:
            have = ", ".join(sorted(found)) or "none"
            message = (
                f"no Secret {name!r} whose values can be rotated{suggest(name, sorted(found))} (there are: {have})"
            )
            raise UsageError(message)
    return [found[name] for name in (dict.fromkeys(only) if only else sorted(found))]


def regenerate(kube: Kube, obj: Obj, live: Obj, time: str, *, keep: frozenset[str] = frozenset()) -> list[str]:
    """Write new values in one request, with the old ones of the keys in `keep` beside them; return the keys."""
    names = rotatable(obj)
    existing = live.get("data") or {}
    others = {key: value for key, value in existing.items() if key not in names and not key.startswith(PREVIOUS)}
    data, _ = complete(obj, others, lambda *_: None)
    before = {f"{PREVIOUS}{key}": existing[key] for key in sorted(keep) if existing.get(key)}
    write(kube, obj, data | before, time)
    return names


def forget_previous(kube: Kube, obj: Obj, live: Obj) -> bool:
    """Drop the old values that a rotation kept; False when there were none."""
    existing = live.get("data") or {}
    if not any(key.startswith(PREVIOUS) for key in existing):
        return False
    data, _ = complete(obj, existing, lambda *_: None)
    write(kube, obj, data, stamp(live))
    return True


def value(live: Obj | None, key: str) -> str:
    """Return one value of a Secret as text, empty when it is not there."""
    return base64.b64decode(((live or {}).get("data") or {}).get(key, "")).decode()


def _volumes(spec: Mapping[str, Any]) -> Iterator[str]:
    for volume in spec.get("volumes") or ():
        if "secret" in volume:
            yield volume["secret"].get("secretName", "")
        for source in (volume.get("projected") or {}).get("sources") or ():
            yield (source.get("secret") or {}).get("name", "")


def _environment(spec: Mapping[str, Any]) -> Iterator[str]:
    for container in containers(spec):
        for entry in container.get("envFrom") or ():
            yield (entry.get("secretRef") or {}).get("name", "")
        for entry in container.get("env") or ():
            yield ((entry.get("valueFrom") or {}).get("secretKeyRef") or {}).get("name", "")


def references(workload: Obj) -> set[str]:
    """Return the names of the Secrets that a workload's pods read, by variables or as files."""
    spec = pod_spec(workload)
    return {*_volumes(spec), *_environment(spec)} - {""}


def _mark(workload: Obj, live: Mapping[Key, Obj]) -> str:
    namespace = key_of(workload).namespace
    times = {name: stamp(live.get(Key("", "Secret", namespace, name))) for name in references(workload)}
    rotated = {name: time for name, time in times.items() if time}
    return digest(rotated) if rotated else ""


def pending(objects: Iterable[Obj], live: Mapping[Key, Obj]) -> list[Roll]:
    """Return the workloads that must be rolled: databases before what talks to them, then in the tree's order."""
    found = []
    for obj in objects:
        if obj["kind"] not in WORKLOADS or key_of(obj) not in live:
            continue
        used = template(live[key_of(obj)]).get("metadata") or {}
        wanted = _mark(obj, live)
        if wanted and (used.get("annotations") or {}).get(USED) != wanted:
            found.append(Roll(obj, wanted))
    return sorted(found, key=lambda roll: WORKLOADS.index(roll.obj["kind"]))


def stages(rolls: Sequence[Roll], provider: Key | None) -> list[list[Roll]]:
    """Return the rolls in groups that wait for each other: databases, the identity provider, everything else."""
    ranks: dict[int, list[Roll]] = {}
    for roll in rolls:
        rank = 0 if roll.obj["kind"] == "StatefulSet" else 1 if roll.key == provider else 2
        ranks.setdefault(rank, []).append(roll)
    return [ranks[rank] for rank in sorted(ranks)]


def roll(kube: Kube, entry: Roll) -> None:
    """Have a workload's pods made anew, one by one as its strategy says."""
    meta = {"name": entry.key.name, "namespace": entry.key.namespace}
    template = {"metadata": {"annotations": {USED: entry.digest}}}
    patch = {"apiVersion": entry.obj["apiVersion"], "kind": entry.key.kind, "metadata": meta}
    kube.server_side_apply(patch | {"spec": {"template": template}}, SECRETS_MANAGER, force=True)
