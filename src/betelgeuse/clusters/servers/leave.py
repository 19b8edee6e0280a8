"""Take a cluster off its servers again: what kubeadm left half done before a new try, or everything."""

from pathlib import Path
from typing import Final

from betelgeuse.clusters.servers import endpoint, firewall, mesh, place, units
from betelgeuse.progress import step
from betelgeuse.ssh import Connection

_SECONDS: Final = 300.0
_SHELL: Final = "sh -es"
_SCRIPT: Final = Path(__file__).with_name("leave.sh")
_OURS: Final = f"""
{endpoint.REMOVE}
{mesh.REMOVE}
{firewall.REMOVE}
if [ -e {place.BEFORE} ]; then sysctl -q -p {place.BEFORE} || :; fi
rm -f {place.UNITS}/{units.CONTAINERD} {place.UNITS}/{units.KUBELET} {place.SYSCTLS}
systemctl daemon-reload
systemctl reset-failed
rm -rf /opt/betelgeuse {place.HOME}
"""
"""What is ours beside the cluster itself; the mark of whose node it is goes last."""


def wipe(connection: Connection) -> None:
    """Take the cluster off a server; programs and units stay."""
    connection.run(_SHELL, input=_SCRIPT.read_text("utf-8"), timeout=_SECONDS)


def clear(connection: Connection) -> None:
    """Leave a server as it was before it became a node, but for Debian's packages."""
    with step(f"remove the node from {connection.server.name}"):
        connection.run(_SHELL, input=f"{_SCRIPT.read_text('utf-8')}\n{_OURS}", timeout=_SECONDS)
