"""The number of nodes: which a deploy adds and which it takes away, and what keeps one from going."""

from collections.abc import Sequence
from typing import Final

from betelgeuse.clusters import drain
from betelgeuse.clusters.drain import Volume
from betelgeuse.clusters.local import cluster
from betelgeuse.clusters.local.layout import Node
from betelgeuse.errors import RefusedError
from betelgeuse.progress import step

_VOLUMES: Final = "opt/local-path-provisioner"
_PARTS: Final = 3


def volumes(node: Node) -> list[Volume]:
    """Return what would be lost with a node's disk; the disk knows, whether the API server answers or not."""
    found = []
    for folder in sorted((node.root / _VOLUMES).glob("*")):
        parts = folder.name.split("_")
        found.append(Volume(*parts) if len(parts) == _PARTS else Volume(folder.name, "", ""))
    return found


def leaving(wanted: Sequence[Node]) -> list[Node]:
    """Return the nodes that run and are wanted no longer."""
    return [node for node in cluster.recorded() if node not in wanted]


def planned(wanted: Sequence[Node]) -> list[str]:
    """Return the lines of a plan: nodes that come, nodes that go, and which of them a deploy refuses to remove."""
    running = cluster.recorded()
    lines = [f"+ {node.name} (will be booted)" for node in wanted if running and node not in running]
    for node in leaving(wanted):
        if held := volumes(node):
            lines.append(f"! {node.name} is one node too many, but holds {drain.names(held)}: needs --prune-data to go")
        else:
            lines.append(f"- {node.name} (one node too many: will be drained and removed)")
    return lines


def check(wanted: Sequence[Node], *, prune_data: bool) -> None:
    """Refuse to go on where a node with volumes would be removed, before anything is touched."""
    for node in cluster.half_formed(wanted):
        if held := volumes(node):
            message = (
                f"{node.name} looks half made, but holds {drain.names(held)}: if it is whole,"
                f" `touch {node.folder}/joined`"
            )
            raise RefusedError(message)
    for node in leaving(wanted):
        held = volumes(node)
        if held and not prune_data:
            message = (
                f"{node.name} would be removed, and with it {drain.names(held)}: nothing was changed; "
                f"--nodes={node.index} keeps the node, --prune-data gives up what it holds"
            )
            raise RefusedError(message)


def shrink(wanted: Sequence[Node]) -> None:
    """Remove the nodes that are wanted no longer, the last first; `check` came before."""
    for node in reversed(leaving(wanted)):
        with step(f"removing {node.name}"):
            held = volumes(node)
            if cluster.joined(node):
                drain.empty(cluster.kubectl, node.name, held, f"with --nodes={node.index} and ")
                drain.forget(cluster.kubectl, held)
                cluster.kubectl("delete", "node", node.name, "--ignore-not-found", "--wait=false")
            cluster.wipe(node)
