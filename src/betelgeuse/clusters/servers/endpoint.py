"""One endpoint of the API for every node, which outlives any control plane.

Its address is no machine's: on each server a rule of nftables leads what the server itself sends there to a control
plane that answers, and a small script looks every two seconds whether it still does. Pods have the Service
`kubernetes`.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from betelgeuse.clusters.local.kubeadm import Member
from betelgeuse.clusters.local.layout import API_PORT
from betelgeuse.clusters.servers import mesh, place
from betelgeuse.progress import step
from betelgeuse.ssh import Connection

SCRIPT: Final = f"{place.HOME}/endpoint.sh"
UNIT: Final = "betelgeuse-endpoint.service"
_TABLE: Final = "betelgeuse-api"


def order(own: str, controls: Sequence[Member]) -> list[str]:
    """Return the control planes' addresses as a server asks them: its own first, without one each begins elsewhere."""
    names = [member.name for member in controls]
    first = names.index(own) if own in names else sum(own.encode()) % len(names)
    return [member.address for member in (*controls[first:], *controls[:first])]


def unit(addresses: Sequence[str]) -> str:
    """Return the unit that leads the endpoint to the first of the addresses that answers."""
    return f"""\
[Unit]
Description=The way to the cluster's API (Betelgeuse)
After={mesh.UNIT}
Before=kubelet.service
StartLimitIntervalSec=0

[Service]
ExecStart=/bin/bash {SCRIPT} {mesh.ENDPOINT} {API_PORT} {" ".join(addresses)}
ExecStopPost=-/usr/sbin/nft delete table ip {_TABLE}
Restart=always
RestartSec=1
{place.SHUT_IN}
RestrictAddressFamilies=AF_NETLINK AF_INET AF_UNIX
MemoryDenyWriteExecute=yes

[Install]
WantedBy=multi-user.target
"""


def apply(connection: Connection, controls: Sequence[Member]) -> None:
    """Have a server find the control planes, now and after each boot."""
    name, file = connection.server.name, f"{place.UNITS}/{UNIT}"
    script = Path(__file__).with_suffix(".sh").read_text("utf-8")
    changed = connection.settle({SCRIPT: script, file: unit(order(name, controls))})
    with step(f"lead {name} to the control planes") if changed else contextlib.nullcontext():
        steps = [f"systemctl daemon-reload; systemctl enable --quiet {UNIT}"] if changed else []
        connection.run("; ".join([*steps, f"systemctl {'restart' if changed else 'start'} {UNIT}"]))


REMOVE: Final = f"""{place.removal(UNIT)}\
if nft list table ip {_TABLE} >/dev/null 2>&1; then nft delete table ip {_TABLE}; fi
"""
"""Safe to repeat."""
