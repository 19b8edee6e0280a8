"""A volume that is a small filesystem of its own, on a node of the embedded cluster, so that it can be filled."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from betelgeuse.clusters.local import cluster
from betelgeuse.clusters.local.layout import Node
from betelgeuse.kube import Obj
from conformance import canary
from conformance.inside import Inside, started
from conformance.probes import mimic
from conformance.site import Site

NAME: Final = "small"
"""Of the claim, its volume and the pod that uses it."""
_MIB: Final = 64
_LEFT_MIB: Final = 1
_FOLDER: Final = "/run/betelgeuse-small-volume"
_MANAGER: Final = "betelgeuse-conformance"


@dataclass(frozen=True)
class SmallVolume:
    """Its node, and what fills it."""

    node: Node

    @contextmanager
    def filled(self) -> Iterator[None]:
        """Have one MiB left of it for the time of the block."""
        file = f"{_FOLDER}/filled"
        cluster.inside(self.node, ["fallocate", "-l", f"{_MIB - _LEFT_MIB}MiB", file])
        try:
            yield
        finally:
            cluster.inside(self.node, ["rm", "-f", file])


def _objects(namespace: str, node: str) -> list[Obj]:
    size, modes = {"storage": f"{_MIB}Mi"}, ["ReadWriteOnce"]
    terms = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}]
    volume = {
        "capacity": size,
        "accessModes": modes,
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": "",
        # Unlike a folder of the node's disk, a `local` volume is measured by itself.
        "local": {"path": _FOLDER},
        "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
        "claimRef": {"namespace": namespace, "name": NAME},
    }
    claim = {"accessModes": modes, "storageClassName": "", "volumeName": NAME, "resources": {"requests": size}}
    return [
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": NAME}, "spec": volume},
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": NAME, "namespace": namespace},
            "spec": claim,
        },
    ]


def _user(site: Site, namespace: str) -> Obj:
    """Return a pod that has the volume mounted: the kubelet measures no other."""
    command = ["/usr/bin/python3", "-c", "import signal; signal.pause()"]
    pod = canary.pod(namespace, NAME, mimic.image(site.tree), command, {})
    pod["spec"]["containers"][0]["volumeMounts"] = [{"name": NAME, "mountPath": "/data"}]
    pod["spec"]["volumes"] = [{"name": NAME, "persistentVolumeClaim": {"claimName": NAME}}]
    return pod


@contextmanager
def mounted(site: Site, inside: Inside) -> Iterator[SmallVolume]:
    """Have the volume, with a pod that uses it, for the time of the block."""
    node, kube = cluster.recorded()[0], site.cluster.kube
    volume, claim = _objects(inside.namespace, node.name)
    user = _user(site, inside.namespace)
    mount = f"mount -t tmpfs -o size={_MIB}m,mode=1777 {NAME} {_FOLDER}"
    script = f"mountpoint -q {_FOLDER} || {{ mkdir -p {_FOLDER}; {mount}; }}"
    cluster.inside(node, ["sh", "-euc", script])
    try:
        for obj in (volume, claim):
            kube.server_side_apply(obj, _MANAGER, force=True)
        started(site, user)
        yield SmallVolume(node)
    finally:
        for obj in (user, claim, volume):
            kube.delete(obj)
        # The kubelet lets go of the mount when the pod is gone; the node's own goes now.
        cluster.inside(node, ["umount", "--lazy", _FOLDER])
