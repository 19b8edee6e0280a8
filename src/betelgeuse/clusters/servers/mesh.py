"""The mesh: a WireGuard network of an environment's servers, whose addresses are the nodes' own.

Every server makes its key itself and keeps it; of a key only the public half is ever asked for.
"""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Network
from typing import Final

from betelgeuse.clusters.local import cluster
from betelgeuse.clusters.servers import place
from betelgeuse.errors import RefusedError
from betelgeuse.progress import say, step
from betelgeuse.ssh import Connection, at_once

SUBNET: Final = IPv4Network("10.98.0.0/24")
ENDPOINT: Final = "10.98.0.254"
"""No server's address: each leads it to a control plane that answers (endpoint.py)."""
PORT: Final = 51820
LINK: Final = "wg-betelgeuse"
_MTU: Final = 1420
"""What a packet of 1,500 bytes carries, whichever IP it travels by."""
KEY: Final = f"{place.HOME}/mesh.key"
CONFIG: Final = f"{place.HOME}/mesh.conf"
SCRIPT: Final = f"{place.HOME}/mesh.sh"
UNIT: Final = "betelgeuse-mesh.service"
_LINK_SECONDS: Final = 60.0
_FRESH_SECONDS: Final = 180
"""WireGuard's own: two servers that talk shake hands at least as often."""

_SHOW: Final = f"wg show {LINK} latest-handshakes"
_MAKE_KEY: Final = f"{{ echo '[Interface]'; echo PrivateKey = $(wg genkey); }} > {KEY}.new; sync -f {KEY}.new"
_NEW_KEY: Final = f"umask 077; {_MAKE_KEY}; mv {KEY}.new {KEY}"
_PUBLIC_KEY: Final = f"[ -s {KEY} ] || {{ {_NEW_KEY}; }}; sed -n 's/^PrivateKey = //p' {KEY} | wg pubkey"
_KERNEL: Final = "modprobe -q wireguard; ip link add btg-try type wireguard && ip link delete btg-try"
_APPLY: Final = f"""\
# Brings the mesh's link to what is written beside this file; the link itself is its unit's.
set -e
until ip link show {LINK} >/dev/null 2>&1; do sleep 0.1; done
cat {KEY} {CONFIG} | wg syncconf {LINK} /dev/stdin
ip address replace "$(cat {place.MESH})/{SUBNET.prefixlen}" dev {LINK}
ip link set {LINK} mtu {_MTU} up
"""


@dataclass(frozen=True)
class Member:
    """A server as the others see it on the mesh."""

    name: str
    address: str
    """On the mesh."""
    endpoint: str
    """Where its packets go: its own address."""
    key: str
    """Its public key."""


def assign(names: Sequence[str], known: Mapping[str, str]) -> dict[str, str]:
    """Return the address of each server: the one that it has, else the first that is free.

    Raises RefusedError where two servers claim one address.
    """
    kept = {name: known[name] for name in names if known.get(name)}
    if double := [name for name, address in kept.items() if list(kept.values()).count(address) > 1]:
        message = f"{' and '.join(double)} have one address on the mesh: one is a copy of the other; destroy it"
        raise RefusedError(message)
    free = (str(host) for host in SUBNET.hosts() if str(host) not in {*kept.values(), ENDPOINT})
    return {name: kept.get(name) or next(free) for name in names}


def config(own: str, members: Iterable[Member]) -> str:
    """Return what one server is told of the others, in wg's own form."""
    peers = (
        f"\n[Peer]\nPublicKey = {member.key}\nEndpoint = {member.endpoint}:{PORT}\nAllowedIPs = {member.address}/32\n"
        for member in members
        if member.name != own
    )
    return f"[Interface]\nListenPort = {PORT}\n{''.join(peers)}"


def unit(program: str) -> str:
    """Return the unit that keeps the link: the kernel's own, or that of a program, where a folder with one is named."""
    kernel = f"Type=oneshot\nRemainAfterExit=yes\nExecStart=/usr/sbin/ip link add {LINK} type wireguard"
    own = f"Type=exec\nRestart=always\nRestartSec=1\nExecStart={program}/wireguard-go -f {LINK}"
    return f"""\
[Unit]
Description=The mesh between the servers of Betelgeuse
After=network.target betelgeuse-firewall.service
Before=kubelet.service
StartLimitIntervalSec=0

[Service]
{own if program else kernel}
ExecStartPost=/bin/sh {SCRIPT}
ExecReload=/bin/sh {SCRIPT}
ExecStopPost=-/usr/sbin/ip link delete {LINK}
TimeoutStartSec=30
RuntimeDirectory=wireguard
RuntimeDirectoryMode=0700
{place.SHUT_IN}
RestrictAddressFamilies=AF_NETLINK AF_INET AF_INET6 AF_UNIX

[Install]
WantedBy=multi-user.target
"""


def members(connections: Sequence[Connection]) -> list[Member]:
    """Return the servers as members, each with its address and the public half of the key that it has or makes now."""
    names = [connection.server.name for connection in connections]
    told = at_once(lambda each: each.run(f"cat {place.MESH} 2>/dev/null || true").strip(), connections)
    addresses = assign(names, dict(zip(names, told, strict=True)))
    keys = at_once(lambda each: each.run(_PUBLIC_KEY).strip(), connections)
    return [
        Member(each.server.name, addresses[each.server.name], each.server.address, key)
        for each, key in zip(connections, keys, strict=True)
    ]


def join(connections: Sequence[Connection], program: str) -> list[Member]:
    """Have every server be a member that reaches each other; return them in the order of the connections.

    `program` is the folder of wireguard-go on the servers, for those whose kernel has no WireGuard.
    """
    found = members(connections)
    with step(f"join {', '.join(member.name for member in found)} to one mesh"):
        at_once(partial(_settle, found, program), connections)
        cluster.wait("the mesh", _LINK_SECONDS, lambda: _apart(connections, found))
    return found


def _settle(found: Sequence[Member], program: str, connection: Connection) -> None:
    name = connection.server.name
    (own,) = (member for member in found if member.name == name)
    kernel = connection.succeeds(_KERNEL)
    file = f"{place.UNITS}/{UNIT}"
    changed = connection.settle(
        {
            place.MESH: f"{own.address}\n",
            CONFIG: config(name, found),
            SCRIPT: _APPLY,
            file: unit("" if kernel else program),
        }
    )
    steps = [f"systemctl daemon-reload; systemctl enable --quiet {UNIT}"] if changed else []
    steps += [f"systemctl {'restart' if file in changed else 'start'} {UNIT}", f"systemctl reload {UNIT}"]
    connection.run("; ".join(steps))


def _handshakes(said: str) -> dict[str, int]:
    """Return when each peer was heard of last, by its key: seconds of the server's clock, 0 for never."""
    rows = (line.partition("\t") for line in said.splitlines())
    return {key: int(when) for key, tab, when in rows if tab}


def _apart(connections: Sequence[Connection], found: Sequence[Member]) -> str:
    """Return which servers have not heard of each other yet; empty when all have."""
    for connection in connections:
        name = connection.server.name
        others = [member for member in found if member.name != name]
        # A packet that nobody listens for is enough for a handshake.
        knocks = "; ".join(f"echo > /dev/udp/{member.address}/9" for member in others)
        met = _handshakes(connection.run(f"bash -c {shlex.quote(knocks)}; {_SHOW}"))
        if away := [member.name for member in others if not met.get(member.key)]:
            ports = f"UDP port {PORT} must be open between them"
            return f"{name} has no answer from {', '.join(away)}: {ports}; journalctl -u {UNIT}"
    return ""


def heard(connection: Connection) -> str:
    """Return how many of the other servers a server has heard of in the time in which a key is made anew."""
    now, _, said = connection.run(f"date +%s; {_SHOW}").partition("\n")
    peers = _handshakes(said).values()
    return f"{sum(int(now) - last <= _FRESH_SECONDS for last in peers)} of {len(peers)}"


def rotate(connections: Sequence[Connection], program: str) -> None:
    """Give every server a new key, one after the other: connections between pods and nodes outlast it."""
    for connection in connections:
        connection.run(_NEW_KEY)
        say(f"{connection.server.name}: a new key of the mesh")
        join(connections, program)


REMOVE: Final = place.removal(UNIT)
"""The files beside it go with the others of ours."""
