"""The embedded cluster's cables: one bridge on this machine, a veth pair and a network namespace per node.

The machine never forwards and nodes get no default route: nothing leaves the machine.
"""

import json
from typing import Any, cast

from betelgeuse.clusters.local.layout import BRIDGE, SERVICE_CIDR, Node
from betelgeuse.errors import BetelgeuseError, RefusedError
from betelgeuse.shell import run


def _links() -> dict[str, dict[str, Any]]:
    answer = cast("list[dict[str, Any]]", json.loads(run(["ip", "-json", "address", "show"])))
    return {link["ifname"]: link for link in answer}


def _addresses(link: dict[str, Any]) -> list[str]:
    return [f"{info['local']}/{info['prefixlen']}" for info in link.get("addr_info", []) if info["family"] == "inet"]


def check_free(gateway: str) -> None:
    """Refuse to start when another interface already has the bridge's address."""
    for name, link in _links().items():
        if name != BRIDGE and any(address.split("/")[0] == gateway for address in _addresses(link)):
            message = f"{gateway} is in use by interface {name}: set NODE_SUBNET in overlays/local/environment.env"
            raise RefusedError(message)


def bridge_up(gateway: str, prefix: int) -> None:
    """Create the bridge, or bring an existing one to the wanted address."""
    check_free(gateway)
    links = _links()
    if BRIDGE not in links:
        run(["ip", "link", "add", BRIDGE, "type", "bridge"])
    wanted = f"{gateway}/{prefix}"
    present = _addresses(links.get(BRIDGE, {}))
    for address in present:
        if address != wanted:
            run(["ip", "address", "delete", address, "dev", BRIDGE])
    if wanted not in present:
        run(["ip", "address", "add", wanted, "dev", BRIDGE])
    run(["ip", "link", "set", BRIDGE, "up"])


def bridge_down() -> None:
    """Remove the bridge; its absence is fine."""
    if BRIDGE in _links():
        run(["ip", "link", "delete", BRIDGE])


def node_up(node: Node) -> None:
    """Create a node's namespace and cable; what is there already and right is kept."""
    if not node.netns.exists() or not _has_link(node, "lo"):
        run(["ip", "netns", "delete", node.scope]) if node.netns.exists() else None
        run(["ip", "netns", "add", node.scope])
    inside = ["ip", "-netns", node.scope]
    if node.veth not in _links():
        run([*inside, "link", "delete", "eth0"]) if _has_link(node, "eth0") else None
        run(["ip", "link", "add", node.veth, "type", "veth", "peer", "name", "eth0", "netns", node.scope])
    run(["ip", "link", "set", node.veth, "master", BRIDGE, "up"])
    run([*inside, "link", "set", "lo", "up"])
    run([*inside, "link", "set", "eth0", "up"])
    run([*inside, "address", "replace", f"{node.address}/{node.prefix}", "dev", "eth0"])
    # Without any route a connect to a ClusterIP fails with ENETUNREACH before kube-proxy's NAT sees it.
    run([*inside, "route", "replace", SERVICE_CIDR, "dev", "eth0", "src", node.address])


def _has_link(node: Node, name: str) -> bool:
    """Tell whether a node's namespace has a link; a plain file, left by a reboot or a kill, is no namespace."""
    try:
        run(["ip", "-netns", node.scope, "link", "show", name])
    except BetelgeuseError:
        return False
    return True


def node_down(node: Node) -> None:
    """Remove a node's cable and namespace; their absence is fine."""
    if node.veth in _links():
        run(["ip", "link", "delete", node.veth])
    if node.netns.exists():
        run(["ip", "netns", "delete", node.scope])
