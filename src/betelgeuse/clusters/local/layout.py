"""Names and folders of the embedded cluster, decided here; its nodes' addresses are the settings'."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from betelgeuse import paths
from betelgeuse.settings import LOCAL, Settings

ENV: Final = LOCAL
BRIDGE: Final = "btg0"
CGROUP_ROOT: Final = Path("/sys/fs/cgroup")
CONTROLLERS: Final = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd")
"""cgroup v1 hierarchies a node needs; `systemd` is the named one runc insists on."""

POD_CIDR: Final = "10.244.0.0/16"
SERVICE_CIDR: Final = "10.96.0.0/16"
DNS_ADDRESS: Final = "10.96.0.10"
API_PORT: Final = 6443

CLUSTER_DIR: Final = paths.state_dir(ENV) / "cluster"
DESIRED: Final = CLUSTER_DIR / "desired.json"
"""The nodes that must run. Its absence tells every guard to stop: `destroy` removes it first."""

GUARD_LOCK: Final = CLUSTER_DIR / "guard.lock"


@dataclass(frozen=True)
class Node:
    """One node: a network, mount, UTS and PID namespace with a cgroup of its own."""

    index: int
    address: str
    prefix: int
    gateway: str

    @property
    def name(self) -> str:
        """Host name and Kubernetes node name."""
        return f"node-{self.index}"

    @property
    def scope(self) -> str:
        """Name of the node's network namespace and cgroup on the machine."""
        return f"btg-{ENV}-{self.name}"

    @property
    def veth(self) -> str:
        """Name of the machine's end of the node's cable (15 characters at most)."""
        return f"btgv{self.index}"

    @property
    def netns(self) -> Path:
        """The node's network namespace, pinned by a bind mount."""
        return Path("/run/netns") / self.scope

    @property
    def folder(self) -> Path:
        """The node's disk."""
        return CLUSTER_DIR / "nodes" / self.name

    @property
    def root(self) -> Path:
        """What is mounted over the machine's folders inside the node."""
        return self.folder / "root"

    @property
    def init_file(self) -> Path:
        """JSON with the machine's pid of the node's init and its start time."""
        return self.folder / "init.json"

    @property
    def log(self) -> Path:
        """Log folder of the node's own programs."""
        return self.folder / "log"

    @property
    def cgroups(self) -> list[Path]:
        """The node's cgroup in every hierarchy."""
        return [CGROUP_ROOT / controller / self.scope for controller in CONTROLLERS]


def nodes(settings: Settings) -> list[Node]:
    """Return the nodes of a cluster: node k has the (10+k)-th address of the subnet."""
    prefix, gateway = settings.node_subnet.prefixlen, settings.bridge_address
    return [Node(index, address, prefix, gateway) for index, address in enumerate(settings.node_addresses, 1)]


def api_url(first: Node) -> str:
    """Return the address of the API server."""
    return f"https://{first.address}:{API_PORT}"
