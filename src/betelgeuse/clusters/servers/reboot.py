"""Reboot one server of a cluster, whose pods go elsewhere meanwhile where they may."""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from betelgeuse.clusters.local import cluster
from betelgeuse.clusters.servers import aside, forming
from betelgeuse.errors import BetelgeuseError
from betelgeuse.progress import step
from betelgeuse.ssh import Connection

ASKS: Final = "[ -e /run/reboot-required ]"
"""How Debian's packages say that a server works on with what they replaced."""
# In a namespace the kernel's boot goes on, but its first program is another.
_BOOT: Final = "cat /proc/sys/kernel/random/boot_id; cut -d ' ' -f 22 /proc/1/stat"
_BOOT_SECONDS: Final = 900.0
_API_SECONDS: Final = 300.0


def _same(connection: Connection, before: str) -> str:
    """Return why a server has not booted anew yet; empty when it has."""
    try:
        connection.open()
        now = connection.run(_BOOT)
    except BetelgeuseError as error:
        return str(error)
    return "it has not gone down yet" if now == before else ""


def _silent(connection: Connection) -> str:
    """Return why the API server of a control plane that was rebooted does not serve; empty when it does."""
    try:
        forming.keep(connection)
    except BetelgeuseError as error:
        return str(error)
    return forming.api_ready(connection)


def reboot(connection: Connection, others: Sequence[Connection]) -> None:
    """Reboot a server and wait until it is a node again; killed at any point, it is done once more.

    Raises BetelgeuseError where its pods do not leave it, WaitTimeoutError where it does not come back.
    """
    env, server = connection.env, connection.server
    forming.fetch(next((each for each in others if each.server.controls), connection))
    if others and server.works:
        aside.put(env, server.name)
    with step(f"{server.name} reboots"):
        before = connection.run(_BOOT)
        # The connection may end before its answer.
        with suppress(BetelgeuseError):
            connection.run("systemctl reboot")
        with suppress(BetelgeuseError):
            connection.close()
        cluster.wait(server.name, _BOOT_SECONDS, partial(_same, connection, before))
    if server.controls:
        cluster.wait(f"API server of {server.name}", _API_SECONDS, partial(_silent, connection))
    aside.take_back(env, server.name)
