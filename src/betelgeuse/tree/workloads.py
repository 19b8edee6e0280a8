"""Pods that objects of a tree describe."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from betelgeuse.kube import Obj

WORKLOADS: Final = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod", "PodTemplate")
LASTING: Final = ("Deployment", "StatefulSet", "DaemonSet")
"""Those that run pods for good."""


def template(obj: Obj) -> Obj:
    """Return the pod that a workload makes, without a name."""
    if obj["kind"] == "Pod":
        return obj
    if obj["kind"] == "PodTemplate":
        # A program makes pods of it, and adds what makes each its own.
        made: Obj = obj.get("template") or {}
        return made
    spec = obj["spec"]["jobTemplate"]["spec"] if obj["kind"] == "CronJob" else obj["spec"]
    found: Obj = spec.get("template") or {}
    return found


def labels(obj: Obj) -> Mapping[str, str]:
    """Return the labels of a workload's pods."""
    found: Mapping[str, str] = (template(obj).get("metadata") or {}).get("labels") or {}
    return found


def pod_spec(obj: Obj) -> Obj:
    """Return the pod spec of a workload."""
    found: Obj = template(obj).get("spec") or {}
    return found


def containers(spec: Mapping[str, Any]) -> Iterator[Obj]:
    """Yield every container of a pod spec."""
    yield from spec.get("initContainers") or ()
    yield from spec.get("containers") or ()


def ports(spec: Mapping[str, Any]) -> tuple[tuple[str, int, str], ...]:
    """Return (name, number, protocol) of what a pod's containers declare to listen on."""
    declared = [port for container in containers(spec) for port in container.get("ports") or ()]
    return tuple((port.get("name", ""), port["containerPort"], port.get("protocol", "TCP")) for port in declared)
