"""Pods that look to the network like the platform's own, and try whom they reach. Pure: objects out.

A policy knows a pod by its namespace and a few labels, so a pod with those is treated alike. It runs the platform's own
Python image (the portal's), is never Ready, so no Service sends it traffic, and belongs to a ConfigMap of this run, so
no controller adopts it and it goes when the ConfigMap goes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from betelgeuse.kube import Obj
from betelgeuse.tree import Tree
from betelgeuse.tree.workloads import containers, pod_spec
from conformance.probes import tcp
from conformance.probes.inside import LABEL
from conformance.probes.k8s import MIMIC

_PROGRAM: Final = "tcp.py"
_FOLDER: Final = "/probe"
_NEVER: Final = "betelgeuse.io/never-ready"


@dataclass(frozen=True, slots=True)
class Plan:
    """What one pod tries: places one by one, and addresses on every port; seconds per place and in all."""

    places: tuple[tcp.Place, ...]
    scan: tuple[str, ...] = ()
    timeout: float = 1.0
    budget: float = 60.0

    def text(self) -> str:
        """Return it as the program reads it."""
        parts = {"places": self.places, "scan": self.scan, "timeout": self.timeout, "budget": self.budget}
        return json.dumps(parts)


def image(tree: Tree) -> str:
    """Return the image with a Python that the tree runs; empty when it runs none."""
    for workload in tree.kind("Deployment"):
        for container in containers(pod_spec(workload)):
            if container["image"].partition("@")[0].rpartition(":")[0].endswith("/portal"):
                return str(container["image"])
    return ""


def config(namespace: str, run: str, plans: Mapping[str, Plan]) -> Obj:
    """Return the program and the plans of a namespace's pods."""
    program = Path(tcp.__file__).read_text("utf-8")
    data = {_PROGRAM: program, **{f"{name}.json": plan.text() for name, plan in plans.items()}}
    meta = {"name": f"conformance-{run}", "namespace": namespace, "labels": {MIMIC: run, LABEL: "true"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


def pod(owner: Obj, name: str, labels: Mapping[str, str], image: str, node: str) -> Obj:
    """Return the pod of one plan; `owner` is the ConfigMap as the cluster keeps it."""
    meta = owner["metadata"]
    run = meta["labels"][MIMIC]
    # Some forty at once must fit beside what the platform requests.
    resources = {
        "requests": {"cpu": "1m", "memory": "24Mi", "ephemeral-storage": "64Mi"},
        "limits": {"cpu": "1", "memory": "128Mi", "ephemeral-storage": "64Mi"},
    }
    container = {
        "name": "probe",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/usr/bin/python3", "-B", f"{_FOLDER}/{_PROGRAM}", f"{_FOLDER}/{name}.json"],
        "resources": resources,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "probe", "mountPath": _FOLDER}],
    }
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{meta['name']}-{name}",
            "namespace": meta["namespace"],
            "labels": {**labels, MIMIC: run},
            "ownerReferences": [reference],
        },
        "spec": {
            "nodeName": node,
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 0,
            "readinessGates": [{"conditionType": _NEVER}],
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [{"name": "probe", "configMap": {"name": meta["name"]}}],
        },
    }
