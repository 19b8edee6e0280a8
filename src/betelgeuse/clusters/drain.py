"""Take a node out of service: the volumes on its disk are given up, its pods go elsewhere."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from betelgeuse.errors import BetelgeuseError
from betelgeuse.progress import say

_SECONDS: Final = 180
_LOST_SECONDS: Final = 60
"""A pod that is being deleted for longer is not waited for: its node does not answer."""


class Kubectl(Protocol):
    """Runs kubectl on one cluster and returns what it says."""

    def __call__(self, *arguments: str, timeout: float = 30) -> str:
        """Raise BetelgeuseError with kubectl's last words where it fails, or takes longer than `timeout` seconds."""
        ...


@dataclass(frozen=True)
class Volume:
    """A volume on a node's disk."""

    name: str
    namespace: str
    claim: str

    def __str__(self) -> str:
        """Return what people know it by: the claim, `ai/data`."""
        return f"{self.namespace}/{self.claim}" if self.claim else self.name


def names(held: Sequence[Volume]) -> str:
    """Return volumes in words."""
    return f"the volume{'s' if len(held) > 1 else ''} {', '.join(map(str, held))}"


def empty(kubectl: Kubectl, node: str, held: Sequence[Volume], keep: str) -> None:
    """Cordon a node, give up its volumes, evict its pods; `keep` tells how to keep a node that cannot be drained."""
    kubectl("cordon", node)
    for volume in held:
        say(f"claim {volume}: deleted, its volume goes with the node")
        if volume.claim:
            # It goes when the drain has ended its pod.
            claim = ("pvc", volume.claim, f"--namespace={volume.namespace}")
            kubectl("delete", *claim, "--ignore-not-found", "--wait=false")
    options = ("--ignore-daemonsets", "--delete-emptydir-data", "--force")
    limits = (f"--timeout={_SECONDS}s", f"--skip-wait-for-delete-timeout={_LOST_SECONDS}")
    try:
        kubectl("drain", node, *options, *limits, timeout=_SECONDS + 30)
    except BetelgeuseError as error:
        message = (
            f"{node} could not be drained and stays: {' '.join(str(error).split())[-200:]}; run this again, or keep it"
            f" {keep}`kubectl uncordon {node}`"
        )
        raise BetelgeuseError(message) from None


def forget(kubectl: Kubectl, held: Sequence[Volume]) -> None:
    """Delete the volumes of a node that is going: nobody answers there to clean up, so the provisioner would wait."""
    for volume in held:
        with contextlib.suppress(BetelgeuseError):
            kubectl("delete", "pv", volume.name, "--ignore-not-found", "--wait=false")
