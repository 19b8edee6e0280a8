"""Reboot one server of a cluster, whose pods go elsewhere meanwhile where they may."""

from contextlib import suppress
from functools import partial
from typing import Final

from betelgeuse.clusters import drain
from betelgeuse.clusters.local import cluster
from betelgeuse.clusters.servers import forming
from betelgeuse.errors import BetelgeuseError
from betelgeuse.progress import step
from betelgeuse.ssh import Connection

ASKS: Final = "[ -e /run/reboot-required ]"
"""How Debian's packages say that a server works on with what they replaced."""
MARK: Final = "betelgeuse.io/rebooting"
"""Annotation of a node that is cordoned for its reboot: what a killed reboot leaves is told from a person's cordon."""
_ESCAPED: Final = MARK.replace(".", r"\.")
# In a namespace the kernel's boot goes on, but its first program is another.
_BOOT: Final = "cat /proc/sys/kernel/random/boot_id; cut -d ' ' -f 22 /proc/1/stat"
_BOOT_SECONDS: Final = 900.0
_API_SECONDS: Final = 300.0
_NODE_SECONDS: Final = 300.0


def _booted(connection: Connection, before: str) -> str:
    """Return why a server has not booted anew yet; empty when it has."""
    try:
        connection.open()
        now = connection.run(_BOOT)
    except BetelgeuseError as error:
        return str(error)
    return "has not gone down yet" if now == before else ""


def _unready(env: str, name: str) -> str:
    """Return why a node is not ready; empty when it is."""
    look = '--output=jsonpath={.status.conditions[?(@.type=="Ready")].status}'
    try:
        told = forming.kubectl(env, "get", "node", name, look)
    except BetelgeuseError as error:
        return str(error)
    return "" if told == "True" else f"node {name} says Ready={told or 'nothing'}"


def reboot(connection: Connection, others: list[Connection]) -> None:
    """Reboot a server and wait until it is a node again; killed at any point, it is done once more.

    Raises BetelgeuseError where its pods do not leave it, WaitTimeoutError where it does not come back.
    """
    env, server = connection.env, connection.server
    kubectl = partial(forming.kubectl, env)
    seed = next((each for each in others if each.server.controls), connection)
    forming.fetch(seed)
    if others and server.works:
        if not kubectl("get", "node", server.name, "--output=jsonpath={.spec.unschedulable}"):
            kubectl("annotate", "node", server.name, f"{MARK}=true", "--overwrite")
        with step(f"pods of {server.name} go elsewhere"):
            drain.empty(kubectl, server.name, (), "by ")
    with step(f"{server.name} reboots"):
        before = connection.run(_BOOT)
        # The connection may end before its answer.
        with suppress(BetelgeuseError):
            connection.run("systemctl reboot")
        with suppress(BetelgeuseError):
            connection.close()
        cluster.wait(server.name, _BOOT_SECONDS, partial(_booted, connection, before))
    if server.controls:
        cluster.wait(f"API server of {server.name}", _API_SECONDS, partial(_serves, connection))
    finish(connection)


def _serves(connection: Connection) -> str:
    """Return why the API server of a control plane that was rebooted does not serve; empty when it does."""
    try:
        forming.keep(connection)
    except BetelgeuseError as error:
        return str(error)
    return forming.api_ready(connection)


def marked(env: str, name: str) -> bool:
    """Whether a reboot of this node was begun and not ended."""
    look = rf"--output=jsonpath={{.metadata.annotations.{_ESCAPED}}}"
    return bool(forming.kubectl(env, "get", "node", name, look))


def finish(connection: Connection) -> None:
    """Have pods come to a node that is back from its reboot; one that a person cordoned stays so."""
    env, name = connection.env, connection.server.name
    cluster.wait(f"node {name}", _NODE_SECONDS, partial(_unready, env, name))
    if marked(env, name):
        forming.kubectl(env, "uncordon", name)
        forming.kubectl(env, "annotate", "node", name, f"{MARK}-")
