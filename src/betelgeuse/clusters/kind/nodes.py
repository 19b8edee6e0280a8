"""What kind is told of the nodes, and the files they find: plain data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from betelgeuse import yamls
from betelgeuse.clusters.local import kubeadm
from betelgeuse.clusters.local.controlplane import CONTROLLERS
from betelgeuse.clusters.local.layout import POD_CIDR, SERVICE_CIDR
from betelgeuse.programs.model import REPOSITORY

NAME: Final = "betelgeuse"
"""kind calls the context kind-betelgeuse, which overlays/kind/environment.env lists."""
IMAGES: Final = "/kind/images"
_PATCHES: Final = "/kind/patches"
_TIMEOUTS: Final = dict.fromkeys(
    (
        "controlPlaneComponentHealthCheck",
        "discovery",
        "etcdAPICall",
        "kubeletHealthCheck",
        "kubernetesAPICall",
        "tlsBootstrap",
    ),
    "10m",
)
"""A busy machine is slow, not broken."""

# Shell in a unit, where a dollar is written twice.
_BPF: Final = "mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf"
"""Cilium is confined and mounts nothing itself, and systemd leaves this file system out in containers."""
_SPARED: Final = (
    "for name in timer_migration unprivileged_bpf_disabled; do file=/proc/sys/kernel/$$name;"
    " findmnt $$file || { mount --bind $$file $$file; mount -o remount,bind,ro $$file; }; done"
)
"""Cilium would set these for the whole machine, the second for as long as it runs, and does as well without."""
_IMPORT: Final = f'for file in {IMAGES}/*.tar; do ctr -n k8s.io images import --local "$$file"; done'

_WATCHED: Final = [{"op": "add", "path": "/spec/containers/0/command/-", "value": "--bind-address=0.0.0.0"}]
"""Prometheus asks scheduler and controller manager at the node's address; the last word of an argument counts.

They want a token that may read metrics, and the probes of the loopback are answered too.
"""

# kind makes a default StorageClass and its provisioner of this file; the tree has its own, so it only names what is
# there anyway.
_STORAGE: Final = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: kube-system\n"


def files(pause: str = "") -> dict[str, str]:
    """Return what is mounted into the nodes, by path there; with `pause`, the tag of ours, nodes are ours too."""
    mount = f"[Service]\nExecStartPre=/bin/sh -ec '{_BPF}'\nExecStartPre=/bin/sh -ec '{_SPARED}'\n"
    shares = {f"{_PATCHES}/{name}": text for name, text in kubeadm.shares().items()}
    watched = {f"{_PATCHES}/{name}-watched+json.yaml": yamls.dump([_WATCHED]) for name in CONTROLLERS}
    common = {"/kind/manifests/default-storage.yaml": _STORAGE, **shares, **watched}
    unit = "/etc/systemd/system/containerd.service.d/betelgeuse.conf"
    if not pause:
        return {unit: mount, **common}
    return {
        # Before anybody asks, the control plane's images are there: no registry has them.
        unit: f"{mount}ExecStartPost=/bin/sh -ec '{_IMPORT}'\nTimeoutStartSec=900\n",
        "/etc/systemd/system/kubelet.service.d/20-betelgeuse.conf": "[Unit]\nAfter=containerd.service\n",
        "/etc/containerd/config.toml": kubeadm.containerd_config(pause),
        **common,
    }


def _patches(tags: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return what kubeadm is told otherwise than kind would; `tags` of our images where no registry has others."""
    start = {"timeouts": _TIMEOUTS, "patches": {"directory": _PATCHES}}
    patches: list[dict[str, Any]] = [{"kind": f"{verb}Configuration", **start} for verb in ("Init", "Join")]
    # Kubernetes refuses cgroup v1 unless it is told not to.
    kubelet: dict[str, Any] = {"kind": "KubeletConfiguration", "failCgroupV1": False}
    if not tags:
        return [*patches, kubelet]
    cluster = {
        "kind": "ClusterConfiguration",
        "imageRepository": REPOSITORY,
        "etcd": {"local": {"imageTag": tags["etcd"]}},
        "dns": {"imageTag": tags["coredns"]},
    }
    # Where nobody may lower an oom_score_adj, as on a machine without registries it may be.
    kubelet |= {"cgroupDriver": "cgroupfs", "oomScoreAdj": 0}
    proxy = {"kind": "KubeProxyConfiguration", "oomScoreAdj": 0, "conntrack": {"maxPerCore": 0, "min": 0}}
    return [*patches, cluster, kubelet, proxy]


def config(count: int, mounts: Mapping[str, Path], tags: Mapping[str, str]) -> str:
    """Return kind's configuration of a cluster; `mounts` are this machine's files by their path in every node."""
    extra = [{"hostPath": str(file), "containerPath": path, "readOnly": True} for path, file in sorted(mounts.items())]
    roles = ["control-plane", *["worker"] * (count - 1)]
    return yamls.dump(
        [
            {
                "kind": "Cluster",
                "apiVersion": "kind.x-k8s.io/v1alpha4",
                "name": NAME,
                "networking": {
                    # Cilium is the platform's CNI here as everywhere.
                    "disableDefaultCNI": True,
                    "kubeProxyMode": "nftables",
                    "podSubnet": POD_CIDR,
                    "serviceSubnet": SERVICE_CIDR,
                },
                "kubeadmConfigPatches": [yamls.dump([patch]) for patch in _patches(tags)],
                "nodes": [{"role": role, "extraMounts": extra} for role in roles],
            }
        ]
    )
