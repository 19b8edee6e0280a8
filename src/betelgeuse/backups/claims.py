"""Volumes that people's pods have in turn: a copy is made in the pod that has one now, or in one made for it."""

import copy
import secrets as random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from betelgeuse.errors import BetelgeuseError
from betelgeuse.kube import Kube, Obj
from betelgeuse.progress import say
from betelgeuse.tree.backups import Backup
from betelgeuse.wait import until_ready

_MANAGER: Final = "betelgeuse-backup"
_READY: Final = 300.0
"""Seconds until a pod has the volume; a pod of before may have to end first."""
_LIFE: Final = 3600
"""Seconds after which the cluster ends a pod of ours that a killed run left behind: its owner wants the volume."""
_OURS: Final = ("app.kubernetes.io/component", "copy")
_ENDED: Final = frozenset({"Succeeded", "Failed"})
_OF_A_SERVER: Final = (
    "args",
    "env",
    "envFrom",
    "lifecycle",
    "livenessProbe",
    "ports",
    "readinessProbe",
    "startupProbe",
)


def names(kube: Kube, one: Backup) -> list[str]:
    """Return the claims of the namespace."""
    return sorted(str(claim["metadata"]["name"]) for claim in kube.list("v1", "PersistentVolumeClaim", one.home))


def _volume(one: Backup) -> tuple[Obj, str]:
    """Return the template's pod and its volume that stands for the claim; BetelgeuseError where it has none."""
    spec: Obj = one.objects[0]["template"]["spec"]
    mounts = spec["containers"][0].get("volumeMounts") or ()
    found = next((str(mount["name"]) for mount in mounts if mount["mountPath"] == one.path), "")
    if not found:
        message = f"{one.name}: the first container of PodTemplate {one.home} has no volume at {one.path}"
        raise BetelgeuseError(message)
    return spec, found


def pod(one: Backup, claim: str) -> Obj:
    """Return a pod like those of the template that has the claim, does nothing, and is reached by nobody."""
    spec, name = _volume(one)
    spec = copy.deepcopy(spec)
    held = {"name": name, "persistentVolumeClaim": {"claimName": claim}}
    spec["volumes"] = [held, *(volume for volume in spec.get("volumes") or () if "emptyDir" in volume)]
    there = {volume["name"] for volume in spec["volumes"]}
    container = spec["containers"][0]
    container["volumeMounts"] = [mount for mount in container["volumeMounts"] if mount["name"] in there]
    for field in _OF_A_SERVER:
        container.pop(field, None)
    container["command"] = ["sleep", "infinity"]
    spec["containers"] = [container]
    spec |= {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "activeDeadlineSeconds": _LIFE}
    # Without the template's labels: they open the network. A name of its own: one of before may still be ending.
    meta = {"name": f"copy-{claim}-{random.token_hex(3)}", "namespace": one.home, "labels": dict([_OURS])}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def _make_claim(kube: Kube, one: Backup, claim: str) -> None:
    spec, name = _volume(one)
    shape = next(volume for volume in spec["volumes"] if volume["name"] == name)["ephemeral"]["volumeClaimTemplate"]
    meta = {"name": claim, "namespace": one.home}
    made = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": shape["spec"]}
    kube.create(made, _MANAGER)
    say(f"{one.home}/{claim}: made anew, it was not there")


def _ours(found: Obj) -> bool:
    return _OURS in (found["metadata"].get("labels") or {}).items()


def _holder(kube: Kube, one: Backup, claim: str) -> Obj | None:
    """Return the pod that has a claim; one that is about to end counts as none, and one of ours that ended goes."""
    for found in kube.list("v1", "Pod", one.home):
        if (found.get("status") or {}).get("phase") in _ENDED:
            if _ours(found):
                kube.delete(found)
            continue
        volumes = [volume.get("persistentVolumeClaim") or {} for volume in found["spec"].get("volumes") or ()]
        if claim in {volume.get("claimName") for volume in volumes} and not found["metadata"].get("deletionTimestamp"):
            return found
    return None


@contextmanager
def held(kube: Kube, one: Backup, claim: str, *, make: bool = False) -> Iterator[str]:
    """Give the name of a pod that has a claim; BetelgeuseError where there is no such claim, unless it may be made."""
    if kube.get("v1", "PersistentVolumeClaim", claim, one.home) is None:
        if not make:
            message = f"{one.name}: {one.home} has no claim {claim!r}"
            raise BetelgeuseError(message)
        _make_claim(kube, one, claim)
    found = _holder(kube, one, claim) or kube.create(pod(one, claim), _MANAGER)
    try:
        until_ready(kube, [found], _READY)
        yield str(found["metadata"]["name"])
    finally:
        # Also where a killed run made it.
        if _ours(found):
            kube.delete(found)
