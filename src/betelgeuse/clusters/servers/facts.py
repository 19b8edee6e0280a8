"""What a server is and what is on it: asked in one command, told as data."""

from dataclasses import dataclass
from typing import Final

from betelgeuse.clusters.local import kubeadm
from betelgeuse.clusters.servers import place, units
from betelgeuse.servers import Server
from betelgeuse.ssh import Connection

_RESOURCES: Final = 24
"""CAP_SYS_RESOURCE's number."""
ASK: Final = f"""
cat {place.OWNER} 2>/dev/null | sed 's/^/owner=/'
sed -n 's/^CapEff:\\s*/capabilities=/p' /proc/self/status
[ "$(stat -fc %T /sys/fs/cgroup)" != cgroup2fs ] || echo unified=yes
[ ! -e {place.JOINED} ] || echo joined=yes
[ ! -e /etc/kubernetes ] || echo kubernetes=yes
[ ! -e {place.MESH} ] || echo meshed=yes
cat /etc/kubernetes/manifests/kube-apiserver.yaml 2>/dev/null | sed -n 's|^ *image: .*/kube-apiserver:|controls=|p'
[ ! -e {place.UPGRADING} ] || echo upgrading=yes
kubelet=$(cat {place.UNITS}/{units.KUBELET} 2>/dev/null | sed -n 's|^ExecStart=\\([^ ]*/kubelet\\) .*|\\1|p')
[ ! -x "$kubelet" ] || "$kubelet" --version | sed 's/^Kubernetes /kubelet=/'
"""
_PREFLIGHT: Final = (
    "FileContent--proc-sys-net-bridge-bridge-nf-call-iptables",  # no br_netfilter: pods are not on a bridge
    "ImagePull",  # imported, and the add-ons' images perhaps later
    "Mem",  # the doctor has asked, for what the profile needs
    "NumCPU",
)
_OLD: Final = "SystemVerification"
"""kubeadm's check that wants cgroup v2."""


@dataclass(frozen=True)
class Facts:
    """One server as it is now."""

    owner: str = ""
    """The environment whose node it is."""
    joined: bool = False
    """Whether kubeadm has finished there."""
    kubernetes: bool = False
    """Whether some cluster's files are there, ours or not."""
    meshed: bool = False
    """Whether it has an address on a mesh."""
    controls: bool = False
    """Whether it runs a control plane."""
    version: str = ""
    """That of its API server, as `v1.37.2`."""
    upgrading: bool = False
    """Whether its control plane was left on the way to another version."""
    kubelet: str = ""
    """The version of the kubelet that its unit starts."""
    unified: bool = True
    """Whether cgroup v2 is all that it has."""
    resources: bool = True
    """Whether root may lower an oom_score_adj."""


def parse(text: str) -> Facts:
    """Read the answer."""
    said = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return Facts(
        owner=said.get("owner", ""),
        joined="joined" in said,
        kubernetes="kubernetes" in said,
        meshed="meshed" in said,
        controls="controls" in said,
        version=said.get("controls", ""),
        upgrading="upgrading" in said,
        kubelet=said.get("kubelet", ""),
        unified="unified" in said,
        resources=bool(int(said.get("capabilities", "0"), 16) >> _RESOURCES & 1),
    )


def ask(connection: Connection) -> Facts:
    """Look at a server."""
    return parse(connection.run(ASK))


def traits(env: str, server: Server, facts: Facts, endpoint: str = "", names: tuple[str, ...] = ()) -> kubeadm.Traits:
    """Return what kubeadm, containerd and kubelet must be told of a server.

    `endpoint` is where nodes find the API, on a mesh of several servers; `names` are the addresses at which its
    administrators do.
    """
    return kubeadm.Traits(
        cluster=f"betelgeuse-{env}",
        ignored=_PREFLIGHT if facts.unified else (*_PREFLIGHT, _OLD),
        systemd=True,
        resources=facts.resources,
        signed=True,
        pods=server.works,
        endpoint=endpoint,
        names=names,
    )
