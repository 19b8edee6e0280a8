"""What kubeadm, containerd and kubelet are told: plain data, written into the node's folders."""

import json
from dataclasses import dataclass
from typing import Any, Final

from betelgeuse import yamls
from betelgeuse.clusters.local import audit, encryption
from betelgeuse.clusters.local.layout import API_PORT, DNS_ADDRESS, POD_CIDR, SERVICE_CIDR, Node

REPOSITORY: Final = "betelgeuse.local"

IGNORED: Final = (
    "FileContent--proc-sys-net-bridge-bridge-nf-call-iptables",  # no br_netfilter: pods are not on a bridge
    "FileContent--proc-sys-net-ipv4-ip_forward",  # Cilium turns it on inside the node's own namespace
    "ImagePull",  # imported, and the add-ons' images perhaps later
    "NumCPU",  # two cores are enough here; the profile's budget is what we check
    "Mem",
    "SystemVerification",  # it wants cgroup v2 and a kernel configuration file
    "Swap",
)
"""kubeadm's preflight checks that do not hold for a node made of namespaces."""

_ALONE: Final = [{"name": "leader-elect", "value": "false"}]
"""There is one control plane: a lease would be written every 2 s, and waited for after a crash for 15 s."""


def _watched(node: Node) -> list[dict[str, str]]:
    """Return the arguments of a controller that Prometheus asks: at the node's address, where it wants a token.

    kubeadm's default is the loopback, where its own probes ask; those follow the address.
    """
    return [*_ALONE, {"name": "bind-address", "value": node.address}]


@dataclass(frozen=True)
class Versions:
    """Versions of what kubeadm runs: Kubernetes' own, and tags of images."""

    kubernetes: str
    etcd: str
    coredns: str
    pause: str


def containerd_config(pause: str) -> str:
    """Return containerd's configuration (version 3); `pause` is the tag of the image of every sandbox."""
    return f"""version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.nri.v1.nri",
  "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.erofs",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
  address = "/run/containerd/containerd.sock"

[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{REPOSITORY}/pause:{pause}"

[plugins."io.containerd.cri.v1.runtime"]
  # Without CAP_SYS_RESOURCE nobody may lower an oom_score_adj.
  restrict_oom_score_adj = true
  # As often as the kubelet asks. Every second, the default, took 0.06 of a core more with 22 pods.
  stats_collect_period = "10s"
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["/opt/cni/bin"]
  conf_dir = "/etc/cni/net.d"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
  SystemdCgroup = false
"""


def _registration(node: Node) -> dict[str, Any]:
    return {
        "name": node.name,
        "criSocket": "unix:///run/containerd/containerd.sock",
        # Images are imported; those of add-ons may come after the control plane runs.
        "imagePullPolicy": "Never",
        "kubeletExtraArgs": [{"name": "node-ip", "value": node.address}],
        "ignorePreflightErrors": list(IGNORED),
        # One machine plays every part: the control plane carries the platform's pods too.
        "taints": [],
    }


def _kubelet() -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "clusterDNS": [DNS_ADDRESS],
        "serverTLSBootstrap": False,
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True}},
        "authorization": {"mode": "Webhook"},
        "readOnlyPort": 0,
        # Absolute sizes: the disk may show far more than is ours, and percentages of it evicted every pod.
        "evictionHard": {"memory.available": "200Mi", "nodefs.available": "1Gi", "imagefs.available": "1Gi"},
        # An image collected here cannot be pulled again: there is no registry.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "containerLogMaxSize": "10Mi",
        "rotateCertificates": True,
        "maxPods": 200,
        "registerNode": True,
    }


_SHARES: Final = {
    "kube-apiserver": ("100m", "/spec/containers/0/resources/requests/cpu"),
    "kube-controller-manager": ("25m", "/spec/containers/0/resources/requests/cpu"),
    "kube-scheduler": ("25m", "/spec/containers/0/resources/requests/cpu"),
    "etcd": ("50m", "/spec/containers/0/resources/requests/cpu"),
    "corednsdeployment": ("25m", "/spec/template/spec/containers/0/resources/requests/cpu"),
}
"""What the control plane requests of a processor: kubeadm's own 0.85 cores are made for nodes that run nothing else."""


def _patch(node: Node) -> dict[str, Any]:
    """Return the node's own kubelet settings: kubeadm's patches are the only place that is per node."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "cgroupRoot": f"/{node.scope}",
    }


def _volume(name: str, folder: str) -> dict[str, Any]:
    """Return a folder of the node, as kubeadm mounts it into the API server."""
    return {"name": name, "hostPath": folder, "mountPath": folder, "readOnly": True, "pathType": "Directory"}


def _documents(*documents: Any) -> str:  # noqa: ANN401 - any YAML
    return yamls.dump(list(documents))


def init_config(node: Node, versions: Versions, domain: str) -> str:
    """Return the configuration of `kubeadm init` for the first node."""
    init = {
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "InitConfiguration",
        # It prints a bootstrap token, and a log is no place for one.
        "skipPhases": ["show-join-command"],
        "localAPIEndpoint": {"advertiseAddress": node.address, "bindPort": API_PORT},
        "nodeRegistration": _registration(node),
        "patches": {"directory": "/etc/kubernetes/patches"},
    }
    cluster = {
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "ClusterConfiguration",
        "clusterName": "betelgeuse-local",
        "kubernetesVersion": versions.kubernetes,
        "controlPlaneEndpoint": f"{node.address}:{API_PORT}",
        "imageRepository": REPOSITORY,
        "networking": {"podSubnet": POD_CIDR, "serviceSubnet": SERVICE_CIDR, "dnsDomain": "cluster.local"},
        "apiServer": {
            "certSANs": [node.address, f"api.{domain}", "127.0.0.1"],
            "extraArgs": [{"name": "encryption-provider-config", "value": encryption.FILE}, *audit.arguments()],
            "extraVolumes": [_volume("encryption", encryption.FOLDER), _volume("audit", audit.FOLDER)],
        },
        "controllerManager": {"extraArgs": _watched(node)},
        "scheduler": {"extraArgs": _watched(node)},
        "etcd": {"local": {"imageTag": versions.etcd}},
        "dns": {"imageTag": versions.coredns},
    }
    proxy = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "oomScoreAdj": 0,
        "clusterCIDR": POD_CIDR,
        # The conntrack table's size is the machine's, not the node's, to set.
        "conntrack": {"maxPerCore": 0, "min": 0},
    }
    return _documents(init, cluster, _kubelet(), proxy)


def join_config(node: Node, first: Node, token: str, ca_hash: str) -> str:
    """Return the configuration of `kubeadm join` for a further node."""
    join = {
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "JoinConfiguration",
        "discovery": {
            "bootstrapToken": {
                "token": token,
                "apiServerEndpoint": f"{first.address}:{API_PORT}",
                "caCertHashes": [ca_hash],
            }
        },
        "nodeRegistration": _registration(node),
        "patches": {"directory": "/etc/kubernetes/patches"},
    }
    return _documents(join)


def bootstrap_token_secret(token: str, expires: str) -> str:
    """Return the Secret (JSON) that makes a bootstrap token known to the API server."""
    token_id, _, token_secret = token.partition(".")
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "bootstrap.kubernetes.io/token",
            "metadata": {"name": f"bootstrap-token-{token_id}", "namespace": "kube-system"},
            "stringData": {
                "token-id": token_id,
                "token-secret": token_secret,
                "expiration": expires,
                "usage-bootstrap-authentication": "true",
                "usage-bootstrap-signing": "true",
                "auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token",
            },
        }
    )


def patches(node: Node) -> dict[str, str]:
    """Return kubeadm's patches, by file name: the node's kubelet settings, and what its control plane requests."""
    shares = {
        f"{target}+json.yaml": _documents([{"op": "replace", "path": path, "value": cpu}])
        for target, (cpu, path) in _SHARES.items()
    }
    return {"kubeletconfiguration+strategic.yaml": _documents(_patch(node)), **shares}
