"""Where things are on a server: names and paths, decided here."""

from typing import Final

HOME: Final = "/etc/betelgeuse"
"""What is there of ours and must outlive a restart; its absence means: no node of ours."""
OWNER: Final = f"{HOME}/environment"
"""The name of the environment that the server belongs to."""
JOINED: Final = f"{HOME}/joined"
"""Says that kubeadm has finished."""
UPGRADING: Final = f"{HOME}/upgrading"
"""Says that the control plane is on its way to another version of Kubernetes."""
BEFORE: Final = f"{HOME}/sysctls"
"""Kernel settings as they were, in sysctl's own form."""
MESH: Final = f"{HOME}/mesh.address"
"""The server's address on the mesh; its absence means: a cluster of one server."""
CONTAINERD: Final = f"{HOME}/containerd.toml"
PROGRAMS: Final = "/opt/betelgeuse/programs"
"""One folder for each program, named by what it was made from."""
BIN: Final = "/opt/betelgeuse/bin"
"""Links to the programs of today."""
INIT: Final = "/etc/kubernetes/kubeadm-init.yaml"
SOCKET: Final = "/run/containerd/containerd.sock"
SYSCTLS: Final = "/etc/sysctl.d/90-betelgeuse.conf"
UNITS: Final = "/etc/systemd/system"
SHUT_IN: Final = """\
CapabilityBoundingSet=CAP_NET_ADMIN
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
SystemCallArchitectures=native
LockPersonality=yes
RestrictNamespaces=yes"""
"""Of a unit: what it may, which is to change the network."""
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def removal(unit: str) -> str:
    """Return the shell lines that stop a unit of ours and take it away; safe to repeat."""
    file = f"{UNITS}/{unit}"
    return f"""
if [ -e {file} ]; then systemctl disable --quiet --now {unit}; fi
rm -f {file}
systemctl daemon-reload
"""
