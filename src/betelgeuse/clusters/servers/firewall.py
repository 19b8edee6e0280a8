"""What a server lets in from outside: its administrators' SSH and API, the platform's own ports, nothing else.

Pods' packets come over cables of the node's own and are Cilium's to judge; what kube-proxy passes on to pods never
arrives at the server itself.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, ip_address
from typing import Final

from betelgeuse.clusters.local.layout import API_PORT
from betelgeuse.clusters.servers import mesh, place
from betelgeuse.errors import RefusedError
from betelgeuse.progress import step
from betelgeuse.servers import Server
from betelgeuse.ssh import Connection

RULES: Final = f"{place.HOME}/firewall.nft"
UNIT: Final = "betelgeuse-firewall.service"
_WEB: Final = (80, 443)
_SERVICE: Final = f"""\
[Unit]
Description=What the server lets in from outside (Betelgeuse)
DefaultDependencies=no
Wants=network-pre.target
Before=network-pre.target shutdown.target
Conflicts=shutdown.target
After=local-fs.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f {RULES}
ExecReload=/usr/sbin/nft -f {RULES}
ExecStop=/usr/sbin/nft delete table inet betelgeuse
{place.SHUT_IN}
RestrictAddressFamilies=AF_NETLINK
MemoryDenyWriteExecute=yes

[Install]
WantedBy=multi-user.target
"""


def rules(server: Server, admins: Sequence[IPv4Network], ports: Iterable[int], peers: Iterable[str] = ()) -> str:
    """Return the table; `ports` are the TCP ports that the tree declares beside those of the web.

    `peers` are the addresses of the other servers: their packets are the mesh's, and who is on it is one of us.
    """
    others = ", ".join(peers)
    joined = f"""
    iifname "{mesh.LINK}" accept
    ip saddr {{ {others} }} udp dport {mesh.PORT} accept"""
    who = ", ".join(map(str, admins))
    public = ", ".join(map(str, sorted({*_WEB, *ports})))
    return f"""\
# Taken and replaced in one step: there is no moment without rules.
add table inet betelgeuse
delete table inet betelgeuse
table inet betelgeuse {{
  chain input {{
    type filter hook input priority filter; policy drop;
    iifname "lo" accept
    iifname "lxc*" accept
    iifname "cilium*" accept
    ct state established,related accept
    ct state invalid drop
    icmp type {{ echo-request, destination-unreachable, time-exceeded, parameter-problem }} accept
    icmpv6 type {{ echo-request, destination-unreachable, packet-too-big, time-exceeded, parameter-problem }} accept
    icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert }} accept
    # Answers to DHCP come from whom it did not ask.
    udp sport 67 udp dport 68 accept
    udp sport 547 udp dport 546 accept
    ip saddr {{ {who} }} tcp dport {{ {server.port}, {API_PORT} }} accept
    tcp dport {{ {public} }} accept{joined if others else ""}
  }}
}}
"""


def check(connection: Connection, admins: Sequence[IPv4Network]) -> None:
    """Refuse rules that would shut us out."""
    ours = ip_address(connection.seen_from())
    if not any(ours in network for network in admins):
        message = (
            f"{connection.server.name} sees this machine as {ours}, which ADMIN_CIDRS does not hold: the rules would"
            " shut us out"
        )
        raise RefusedError(message)


def apply(
    connection: Connection, admins: Sequence[IPv4Network], ports: Iterable[int], peers: Iterable[str] = ()
) -> None:
    """Bring the rules to a server, now and for each boot; without administrators' networks there are none."""
    name, unit = connection.server.name, f"{place.UNITS}/{UNIT}"
    if not admins:
        if connection.succeeds(f"[ -e {unit} ]"):
            with step(f"open {name}: ADMIN_CIDRS is empty"):
                connection.run(REMOVE)
        return
    check(connection, admins)
    changed = connection.settle({RULES: rules(connection.server, admins, ports, peers), unit: _SERVICE})
    if changed or not connection.succeeds("nft list table inet betelgeuse"):
        with step(f"shut {name} but for what is declared"):
            connection.run(f"systemctl daemon-reload; systemctl enable --quiet {UNIT}; systemctl restart {UNIT}")


REMOVE: Final = f"""{place.removal(UNIT)}rm -f {RULES}
if nft list table inet betelgeuse >/dev/null 2>&1; then nft delete table inet betelgeuse; fi
"""
"""Safe to repeat."""
