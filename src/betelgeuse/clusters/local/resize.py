"""The number of nodes: which a deploy adds and which it takes away, and what keeps one from going."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from betelgeuse.clusters.local import cluster
from betelgeuse.clusters.local.layout import Node
from betelgeuse.errors import BetelgeuseError, RefusedError
from betelgeuse.progress import say, step

_VOLUMES: Final = "opt/local-path-provisioner"
_DRAIN_SECONDS: Final = 180
_LOST_SECONDS: Final = 60
"""A pod that is being deleted for longer is not waited for: its node does not answer."""
_PARTS: Final = 3


@dataclass(frozen=True)
class Volume:
    """A volume on a node's disk, as the provisioner named its folder."""

    name: str
    namespace: str
    claim: str

    def __str__(self) -> str:
        """Return what people know it by: the claim, `ai/data`."""
        return f"{self.namespace}/{self.claim}" if self.claim else self.name


def volumes(node: Node) -> list[Volume]:
    """Return what would be lost with a node's disk; the disk knows, whether the API server answers or not."""
    found = []
    for folder in sorted((node.root / _VOLUMES).glob("*")):
        parts = folder.name.split("_")
        found.append(Volume(*parts) if len(parts) == _PARTS else Volume(folder.name, "", ""))
    return found


def _names(held: Sequence[Volume]) -> str:
    return f"the volume{'s' if len(held) > 1 else ''} {', '.join(map(str, held))}"


def leaving(wanted: Sequence[Node]) -> list[Node]:
    """Return the nodes that run and are wanted no longer."""
    return [node for node in cluster.recorded() if node not in wanted]


def planned(wanted: Sequence[Node]) -> list[str]:
    """Return the lines of a plan: nodes that come, nodes that go, and which of them a deploy refuses to remove."""
    running = cluster.recorded()
    lines = [f"+ {node.name} (will be booted)" for node in wanted if running and node not in running]
    for node in leaving(wanted):
        if held := volumes(node):
            lines.append(f"! {node.name} is one node too many, but holds {_names(held)}: needs --prune-data to go")
        else:
            lines.append(f"- {node.name} (one node too many: will be drained and removed)")
    return lines


def check(wanted: Sequence[Node], *, prune_data: bool) -> None:
    """Refuse to go on where a node with volumes would be removed, before anything is touched."""
    for node in cluster.half_formed(wanted):
        if held := volumes(node):
            message = (
                f"{node.name} looks half made, but holds {_names(held)}: if it is whole, `touch {node.folder}/joined`"
            )
            raise RefusedError(message)
    for node in leaving(wanted):
        held = volumes(node)
        if held and not prune_data:
            message = (
                f"{node.name} would be removed, and with it {_names(held)}: nothing was changed; "
                f"--nodes={node.index} keeps the node, --prune-data gives up what it holds"
            )
            raise RefusedError(message)


def _give_up(held: Sequence[Volume]) -> None:
    """Delete the claims of volumes that go with their node; a claim goes when the drain has ended its pod."""
    for volume in held:
        say(f"claim {volume}: deleted, its volume goes with the node")
        if volume.claim:
            claim = ("pvc", volume.claim, f"--namespace={volume.namespace}")
            cluster.kubectl("delete", *claim, "--ignore-not-found", "--wait=false")


def _drain(node: Node) -> None:
    options = ("--ignore-daemonsets", "--delete-emptydir-data", "--force")
    limits = (f"--timeout={_DRAIN_SECONDS}s", f"--skip-wait-for-delete-timeout={_LOST_SECONDS}")
    try:
        cluster.kubectl("drain", node.name, *options, *limits, timeout=_DRAIN_SECONDS + 30)
    except BetelgeuseError as error:
        message = (
            f"{node.name} could not be drained and stays: {' '.join(str(error).split())[-200:]}; "
            f"run this again, or keep it with --nodes={node.index} and `kubectl uncordon {node.name}`"
        )
        raise BetelgeuseError(message) from None


def shrink(wanted: Sequence[Node]) -> None:
    """Remove the nodes that are wanted no longer, the last first; `check` came before."""
    for node in reversed(leaving(wanted)):
        with step(f"removing {node.name}"):
            held = volumes(node)
            if cluster.joined(node):
                cluster.kubectl("cordon", node.name)
                _give_up(held)
                _drain(node)
                for volume in held:
                    # Nobody answers on the node to clean it up, so the provisioner would wait for ever.
                    with contextlib.suppress(BetelgeuseError):
                        cluster.kubectl("delete", "pv", volume.name, "--ignore-not-found", "--wait=false")
                cluster.kubectl("delete", "node", node.name, "--ignore-not-found", "--wait=false")
            cluster.wipe(node)
