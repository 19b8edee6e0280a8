"""Checks of addresses, ports and names around the cluster."""

import json
from collections.abc import Iterator
from ipaddress import IPv4Network, ip_address, ip_network
from typing import Any, Final

from betelgeuse import dns, overlays
from betelgeuse.clusters.local import handsoff
from betelgeuse.clusters.local.layout import BRIDGE, POD_CIDR, SERVICE_CIDR
from betelgeuse.doctor import names
from betelgeuse.doctor.model import Check, Context, Finding, Shape, fail, ok, skip, warn

_EMBEDDED: Final = frozenset({Shape.EMBEDDED})
_SERVERS: Final = frozenset({Shape.SERVERS})
_OUR_LINKS: Final = (BRIDGE, "btgv", "cilium", "lxc")
_LISTEN: Final = "0A"
_NODE_PORTS: Final = {
    80: "HTTP",
    443: "HTTPS",
    2379: "etcd",
    2380: "etcd",
    6443: "the API server",
    10250: "the kubelet",
    10256: "kube-proxy",
    10257: "the controller manager",
    10259: "the scheduler",
}
_SUBNET_FIX: Final = "set NODE_SUBNET in overlays/local/environment.env to a free /24"


def _json(context: Context, *argv: str) -> list[dict[str, Any]] | None:
    code, text = context.probe.run(*argv)
    try:
        answer = json.loads(text or "[]") if code == 0 else None
    except ValueError:
        answer = None
    return answer if isinstance(answer, list) else None


def _ours(link: str) -> bool:
    return link.startswith(_OUR_LINKS)


def _bridge_address(context: Context) -> Finding:
    links = _json(context, "ip", "-json", "address", "show")
    if links is None:
        return skip("the ip command is not installed yet; deploy installs it")
    subnet = context.settings.node_subnet
    for link in links:
        for info in link.get("addr_info", []):
            if not _ours(link["ifname"]) and ip_address(info["local"]) in subnet:
                return fail(f"{info['local']} in {subnet} belongs to {link['ifname']}")
    return ok(f"{context.settings.bridge_address} is free or our own")


def _routes(context: Context) -> Finding:
    routes = _json(context, "ip", "-json", "route", "show", "table", "all")
    if routes is None:
        return skip("the ip command is not installed yet; deploy installs it")
    wanted = {
        "nodes": context.settings.node_subnet,
        "pods": IPv4Network(POD_CIDR),
        "services": IPv4Network(SERVICE_CIDR),
    }
    for route in routes:
        try:
            target = ip_network(route.get("dst", ""), strict=False)
        except ValueError:
            # `default`, and kinds of routes without a target.
            continue
        if _ours(route.get("dev", "")) or not isinstance(target, IPv4Network) or target.prefixlen == 0:
            continue
        for what, network in wanted.items():
            if network.overlaps(target):
                return fail(f"{target} over {route.get('dev', '?')} overlaps the {what}' {network}")
    return ok(", ".join(f"{what} {network}" for what, network in wanted.items()))


def listeners(table: str) -> Iterator[tuple[str, int]]:
    """Yield (address, port) of the listening sockets in /proc/net/tcp; the address is empty for every address."""
    for line in table.splitlines()[1:]:
        _, local, _, state, *_ = line.split()
        if state == _LISTEN:
            number, port = local.split(":")
            # The kernel prints the four bytes as one little-endian number; longer ones (IPv6) matter as wildcards only.
            address = str(ip_address(bytes.fromhex(number)[::-1])) if len(number) == 8 and int(number, 16) else ""  # noqa: PLR2004 - 4 bytes
            if address or not int(number, 16):
                yield address, int(port, 16)


def _bridge_ports(context: Context) -> Finding:
    subnet = context.settings.node_subnet
    busy = [
        f"{address}:{port}"
        for address, port in listeners(context.probe.read("/proc/net/tcp") or "")
        if address and ip_address(address) in subnet
    ]
    return fail(f"a program listens on {', '.join(busy)}") if busy else ok(f"nobody listens in {subnet}")


def _server_ports(context: Context) -> Finding:
    if context.servers and context.server is None:
        return skip("each server is asked itself")
    if context.probe.exists("/etc/kubernetes/kubelet.conf"):
        return ok("this machine is a node already")
    tables = (context.probe.read(f"/proc/net/{name}") or "" for name in ("tcp", "tcp6"))
    open_ports = {port for table in tables for _, port in listeners(table)}
    busy = [f"{port} ({what})" for port, what in _NODE_PORTS.items() if port in open_ports]
    return fail(f"in use: {', '.join(busy)}") if busy else ok("free")


def _forwarding(context: Context) -> Finding:
    value = (context.probe.read("/proc/sys/net/ipv4/ip_forward") or "").strip()
    if value == "0":
        return ok("0: this machine forwards nothing")
    return warn(f"{value or 'unknown'}: this machine forwards packets of others; the nodes themselves have no way out")


def _bridge_filter(context: Context) -> Finding:
    value = (context.probe.read("/proc/sys/net/bridge/bridge-nf-call-iptables") or "0").strip()
    if value == "0":
        return ok("bridged packets bypass this machine's firewall")
    if who := _drops(context, "forward"):
        text = f"bridged packets pass this machine's firewall, where {who} drops what is forwarded"
        return fail(text) if context.settings.nodes > 1 else warn(f"{text}: more than one node would not work")
    return ok("bridged packets pass this machine's firewall, which forwards by default")


def _drops(context: Context, hook: str) -> str:
    """Return which firewall drops by default at a hook of the kernel: nftables (also as iptables), or old iptables."""
    _, chains = context.probe.run("nft", "list", "chains")
    table = ""
    for line in chains.splitlines():
        if line.startswith("table "):
            table = line.removesuffix("{").strip()
        # firewalld's chains accept by policy and reject by their last rule.
        rejects = "policy drop" in line or (hook, table) == ("forward", "table inet firewalld")
        if f"hook {hook}" in line and rejects:
            return table
    if context.probe.which("iptables-legacy") is None:
        return ""
    _, rules = context.probe.run("iptables-legacy", "-S", hook.upper())
    return "iptables-legacy" if f"-P {hook.upper()} DROP" in rules else ""


def _firewall(context: Context) -> Finding:
    if who := _drops(context, "output"):
        return warn(f"{who} drops by default what this machine sends")
    return ok("this machine may send to its nodes")


def _managers(context: Context) -> Finding:
    found = [manager for manager in handsoff.MANAGERS if context.probe.exists(f"/{manager.running}")]
    if lacking := [manager.reload[0] for manager in found if context.probe.which(manager.reload[0]) is None]:
        return fail(f"{lacking[0]} is not installed", f"install the package that brings {lacking[0]}")
    names = ", ".join(manager.name for manager in found)
    return ok(f"{names}: deploy has it leave {BRIDGE} and the nodes' cables alone" if found else "none runs")


def _proxy(context: Context) -> Finding:
    names = ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY")
    if not any(context.probe.variable(name) for name in names):
        return ok("none set")
    direct = context.probe.variable("no_proxy") or context.probe.variable("NO_PROXY")
    wanted = [str(context.settings.node_subnet), f".{context.settings.domain}"]
    entries = {entry.strip().removeprefix("*") for entry in direct.split(",")}
    lacking = [entry for entry in wanted if entry not in entries]
    if not lacking or "*" in direct.split(","):
        return ok("set; the nodes are reached directly")
    return warn("set", f"export NO_PROXY={','.join([*filter(None, [direct]), *lacking])}")


def _configured(context: Context) -> Finding:
    settings, gateways = context.settings, dns.gateways(context.settings, context.servers)
    # One with an authority of its own asks nobody.
    public = overlays.components(settings.env) & {names.PUBLIC} or not overlays.components(settings.env)
    lacking = [
        key
        for key, value in {
            "GATEWAY_ADDRESSES": gateways,
            **({"ACME_EMAIL": settings.acme_email, "ACME_SERVER": settings.acme_server} if public else {}),
        }.items()
        if not value
    ]
    return fail(f"empty: {', '.join(lacking)}") if lacking else ok(f"{len(gateways)} gateway addresses")


CHECKS: Final = (
    Check(
        "bridge-address", f"the machine's end of the nodes' network, {BRIDGE}", _SUBNET_FIX, _bridge_address, _EMBEDDED
    ),
    Check(
        "routes",
        "packets for nodes, pods and services must not go elsewhere",
        f"{_SUBNET_FIX}, or take the other route away",
        _routes,
        _EMBEDDED,
    ),
    Check("bridge-ports", "only the platform answers there", _SUBNET_FIX, _bridge_ports, _EMBEDDED),
    Check(
        "forwarding",
        "nothing of the embedded cluster may leave this machine",
        "sysctl -w net.ipv4.ip_forward=0, unless this machine is a router or runs Docker",
        _forwarding,
        _EMBEDDED,
    ),
    Check(
        "bridge-filter",
        "nodes talk over a bridge",
        f"let them pass: iptables -I FORWARD -i {BRIDGE} -o {BRIDGE} -j ACCEPT (firewalld: firewall-cmd --zone=trusted "
        f"--add-interface={BRIDGE}), or sysctl -w net.bridge.bridge-nf-call-iptables=0",
        _bridge_filter,
        _EMBEDDED,
    ),
    Check(
        "firewall",
        "commands and clients on this machine talk to the nodes",
        f"let it, unless a rule does already: iptables -I OUTPUT -o {BRIDGE} -j ACCEPT",
        _firewall,
        _EMBEDDED,
    ),
    Check(
        "network-managers",
        "programs that configure every link would take the nodes' addresses away",
        "nothing",
        _managers,
        _EMBEDDED,
    ),
    Check("proxy", "a proxy cannot reach the nodes", "add the nodes and the domain to NO_PROXY", _proxy),
    Check(
        "server-ports",
        "the control plane and the Gateway listen on them",
        "stop the programs that have them: ss -ltnp shows which",
        _server_ports,
        _SERVERS | {Shape.SERVER},
    ),
    Check(
        "environment",
        "certificates and the Gateway need them",
        "fill them in the environment's environment.env",
        _configured,
        _SERVERS,
    ),
)
