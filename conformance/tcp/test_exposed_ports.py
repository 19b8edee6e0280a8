"""What is declared is open, and nothing else."""

from betelgeuse import servers
from betelgeuse.tree import Ref
from conformance.probes import tcp
from conformance.site import Site
from conformance.timeouts import TIMEOUTS
from conformance.verdict import require

_SSH = 22
_WELL_KNOWN = (
    *range(1, 1025),
    *(2375, 2376, 2379, 2380, 3000, 3306, 4194, 4240, 4244, 5000, 5432, 6379, 6443, 7472, 7687, 8000, 8080, 8443, 8888),
    *(9000, 9090, 9092, 9094, 9100, 9153, 9200, 9402, 9879, 9890, 9901, 9962, 9963, 9964, 10248, 10249, 10250, 10255),
    *(10256, 10257, 10259, 14000, 15000, 19000, 19001, 27017),
)


def _address(site: Site, gateway_address: str) -> str:
    return site.addresses[0] if gateway_address == "published" else gateway_address


def _scan(site: Site, address: str) -> tcp.Scan:
    """Scan all ports; where that takes too long (a firewall that drops), the well-known ones."""

    def look() -> tcp.Scan:
        full = tcp.scan(address, tcp.ALL_PORTS, TIMEOUTS.scan_port, TIMEOUTS.scan_all)
        if full.complete:
            return full
        return tcp.scan(address, _WELL_KNOWN, TIMEOUTS.scan_port, TIMEOUTS.scan_all)

    return site.once(("scan", address), look)


def test_declared_port_is_open(site: Site, gateway_address: str, listener_port: int) -> None:
    """Every port a listener declares accepts connections at every address of the gateway."""
    address = _address(site, gateway_address)

    found = tcp.is_open(address, listener_port, TIMEOUTS.connect)

    require(
        found,
        where=f"{address}:{listener_port}",
        want="open",
        got="closed",
        reproduce=f"curl -v telnet://{address}:{listener_port}",
    )


def test_other_ports_are_closed(site: Site, gateway_address: str) -> None:
    """No port is open at a public address but the declared ones and those listed with a reason."""
    address = _address(site, gateway_address)
    allowed = {*site.tree.ports, *(entry.port for entry in site.exemptions.ports), *site.cluster.health_checks()}

    seen = _scan(site, address)

    surplus = sorted(seen.open - allowed)
    require(
        not surplus,
        where=f"{address} ({seen.asked} ports asked in {seen.seconds:.1f} s)",
        want=f"only {sorted(allowed)}",
        got=f"{surplus} open too",
        reproduce="; ".join(f"curl -v --max-time 2 telnet://{address}:{port} </dev/null" for port in surplus[:5]),
    )


def test_no_listed_port_is_stale(site: Site, gateway_address: str) -> None:
    """Every port listed with a reason is open: what nothing serves any more is taken off the list."""
    seen = {address: _scan(site, address) for address in {_address(site, gateway_address), *site.addresses}}
    absent = set() if servers.load(site.settings.env) else {_SSH}
    there = {str(workload) for workload in site.tree.workloads} | {""}
    listed = [entry.port for entry in site.exemptions.ports if entry.opened_by in there and entry.port not in absent]
    unused = [str(port) for port in listed if not any(port in scan.open for scan in seen.values())]

    require(
        not unused or any(scan.asked < len(tcp.ALL_PORTS) for scan in seen.values()),
        where="conformance/exemptions.yaml, ports",
        want="open at one node at least",
        got=f"{', '.join(unused)} open nowhere",
        reproduce=f"for port in {' '.join(unused)}; do nc -zv {site.addresses[0]} $port; done",
    )


def test_scan_covers_every_port(site: Site, gateway_address: str) -> None:
    """The scan asked every port, or every well-known one where a firewall drops the rest."""
    seen = _scan(site, _address(site, gateway_address))

    require(
        seen.complete and seen.asked >= len(_WELL_KNOWN) and set(site.tree.ports) <= seen.open,
        where=seen.address,
        want="a complete scan that sees the declared ports",
        got=f"{seen.asked} ports asked, complete: {seen.complete}, open {sorted(seen.open)}",
        reproduce="python -m pytest conformance/tcp",
    )


def test_no_service_opens_node_ports(site: Site) -> None:
    """No Service opens a port on every node."""
    found = [
        f"{service['metadata']['namespace']}/{service['metadata']['name']}:{port['nodePort']}"
        for service in site.cluster.list("v1", "Service")
        for port in service["spec"].get("ports", [])
        if port.get("nodePort")
    ]

    require(
        not found,
        where="Services",
        want="no nodePort",
        got=", ".join(found),
        reproduce="kubectl get services -A | grep -E 'NodePort|:[0-9]+/'",
    )


def test_gateway_is_programmed(site: Site, gateway: Ref) -> None:
    """Every Gateway is programmed, and reports exactly the addresses the environment declares."""
    status = (site.cluster.get(gateway) or {}).get("status", {})
    conditions = {c["type"]: c for c in status.get("conditions", [])}
    programmed = conditions.get("Programmed", {})
    addresses = sorted(address["value"] for address in status.get("addresses", []))
    wanted = sorted(site.settings.gateway_addresses) or addresses

    require(
        programmed.get("status") == "True" and addresses and addresses == wanted,
        where=str(gateway),
        want=f"Programmed at {wanted}",
        got=f"Programmed={programmed.get('status')} {programmed.get('message', '')} at {addresses}",
        reproduce=gateway.kubectl("describe"),
    )
