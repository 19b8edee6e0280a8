"""What kubeadm, containerd and kubelet are told: plain data, written into the node's folders."""

from dataclasses import dataclass
from typing import Any, Final, Protocol

from betelgeuse import yamls
from betelgeuse.clusters.local import audit, encryption
from betelgeuse.clusters.local.layout import API_PORT, DNS_ADDRESS, POD_CIDR, SERVICE_CIDR, Node
from betelgeuse.programs.model import REPOSITORY


class Member(Protocol):
    """A node as kubeadm knows it."""

    @property
    def name(self) -> str:
        """Its name in Kubernetes."""

    @property
    def address(self) -> str:
        """Where the others reach it."""


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


@dataclass(frozen=True)
class Traits:
    """What the machines of a cluster's nodes are, as far as kubeadm, containerd and kubelet must be told."""

    cluster: str = "betelgeuse-local"
    ignored: tuple[str, ...] = IGNORED
    systemd: bool = False
    """Whether a systemd of the node's own divides it into cgroups."""
    resources: bool = False
    """Whether root may lower an oom_score_adj (CAP_SYS_RESOURCE)."""
    signed: bool = False
    """Whether kubelets ask the cluster's authority for the certificate that they serve with."""
    pods: bool = True
    """Whether the control plane carries the platform's pods too."""
    endpoint: str = ""
    """Where every node finds a control plane that answers; empty: there is one, at its own address."""
    names: tuple[str, ...] = ()
    """Further addresses and names by which clients reach an API server."""


ETCDCTL: Final = (
    "etcdctl --endpoints=https://127.0.0.1:2379 --cacert=/etc/kubernetes/pki/etcd/ca.crt"
    " --cert=/etc/kubernetes/pki/etcd/healthcheck-client.crt --key=/etc/kubernetes/pki/etcd/healthcheck-client.key"
)
"""How a control plane's etcd is asked on its node: by the certificate that kubeadm makes for probes."""
NAMESPACES: Final = Traits()
"""Nodes of the embedded cluster."""

_ALONE: Final = [{"name": "leader-elect", "value": "false"}]
"""There is one control plane: a lease would be written every 2 s, and waited for after a crash for 15 s."""
_GRACE: Final = "30s"
"""A node that says nothing for so long is lost; it speaks every 10 s."""
_TOLERATED: Final = "10"
"""Seconds that pods wait for a lost node before others take their place: 300 are meant for larger troubles."""


def _watched(node: Member, traits: Traits) -> list[dict[str, str]]:
    """Return the arguments of a controller that Prometheus asks: at the node's address, where it wants a token.

    kubeadm's default is the loopback, where its own probes ask; those follow the address.
    """
    if traits.endpoint:
        # The arguments are every control plane's, and no address is; the firewall shuts the others.
        return [{"name": "bind-address", "value": "0.0.0.0"}]  # noqa: S104 - as the line above says
    return [*_ALONE, {"name": "bind-address", "value": node.address}]


def _arguments(**values: str) -> list[dict[str, str]]:
    return [{"name": name.replace("_", "-"), "value": value} for name, value in values.items()]


def _patience(traits: Traits) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Return what API server and controller manager are told of lost nodes, where there are others to take over."""
    if not traits.endpoint:
        return [], []
    tolerations = _arguments(
        default_not_ready_toleration_seconds=_TOLERATED, default_unreachable_toleration_seconds=_TOLERATED
    )
    return tolerations, _arguments(node_monitor_grace_period=_GRACE)


@dataclass(frozen=True)
class Versions:
    """Versions of what kubeadm runs: Kubernetes' own, and tags of images."""

    kubernetes: str
    etcd: str
    coredns: str
    pause: str


_RESTRICTED: Final = """\
  # Without CAP_SYS_RESOURCE nobody may lower an oom_score_adj.
  restrict_oom_score_adj = true
"""


def containerd_config(pause: str, traits: Traits = NAMESPACES) -> str:
    """Return containerd's configuration (version 3); `pause` is the tag of the image of every sandbox."""
    restricted = "" if traits.resources else _RESTRICTED
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
{restricted}  # As often as the kubelet asks. Every second, the default, took 0.06 of a core more with 22 pods.
  stats_collect_period = "10s"
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["/opt/cni/bin"]
  conf_dir = "/etc/cni/net.d"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
  SystemdCgroup = {str(traits.systemd).lower()}
"""


def _registration(node: Member, traits: Traits) -> dict[str, Any]:
    return {
        "name": node.name,
        "criSocket": "unix:///run/containerd/containerd.sock",
        # Images are imported; those of add-ons may come after the control plane runs.
        "imagePullPolicy": "Never",
        "kubeletExtraArgs": _arguments(
            node_ip=node.address,
            # A mesh's address is the node's own, and where clients find it is for the deploy to say.
            **({"cloud_provider": "external"} if traits.endpoint else {}),
        ),
        "ignorePreflightErrors": list(traits.ignored),
        # One machine plays every part: the control plane carries the platform's pods too.
        **({"taints": []} if traits.pods else {}),
    }


def _kubelet(traits: Traits) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "cgroupDriver": "systemd" if traits.systemd else "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        **({} if traits.resources else {"oomScoreAdj": 0}),
        "clusterDNS": [DNS_ADDRESS],
        "serverTLSBootstrap": traits.signed,
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


TIMEOUTS: Final = dict.fromkeys(("controlPlaneComponentHealthCheck", "kubernetesAPICall"), "10m0s")
"""kubeadm's own minutes are too few for a slow or busy machine; who calls it ends it after a quarter of an hour."""


def _volume(name: str, folder: str) -> dict[str, Any]:
    """Return a folder of the node, as kubeadm mounts it into the API server."""
    return {"name": name, "hostPath": folder, "mountPath": folder, "readOnly": True, "pathType": "Directory"}


def init_config(node: Member, versions: Versions, domain: str, traits: Traits = NAMESPACES) -> str:
    """Return the configuration of `kubeadm init` for the first node."""
    tolerations, grace = _patience(traits)
    init = {
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "InitConfiguration",
        # It prints a bootstrap token, and a log is no place for one.
        "skipPhases": ["show-join-command"],
        "localAPIEndpoint": {"advertiseAddress": node.address, "bindPort": API_PORT},
        "nodeRegistration": _registration(node, traits),
        "patches": {"directory": "/etc/kubernetes/patches"},
        "timeouts": TIMEOUTS,
    }
    cluster = {
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "ClusterConfiguration",
        "clusterName": traits.cluster,
        "kubernetesVersion": versions.kubernetes,
        "controlPlaneEndpoint": f"{traits.endpoint or node.address}:{API_PORT}",
        "imageRepository": REPOSITORY,
        "networking": {"podSubnet": POD_CIDR, "serviceSubnet": SERVICE_CIDR, "dnsDomain": "cluster.local"},
        "apiServer": {
            "certSANs": [node.address, f"api.{domain}", "127.0.0.1", *traits.names],
            "extraArgs": [
                {"name": "encryption-provider-config", "value": encryption.FILE},
                *audit.arguments(),
                *tolerations,
            ],
            "extraVolumes": [_volume("encryption", encryption.FOLDER), _volume("audit", audit.FOLDER)],
        },
        "controllerManager": {"extraArgs": [*_watched(node, traits), *grace]},
        "scheduler": {"extraArgs": _watched(node, traits)},
        "etcd": {"local": {"imageTag": versions.etcd}},
        "dns": {"imageTag": versions.coredns},
    }
    proxy = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        **({} if traits.resources else {"oomScoreAdj": 0}),
        "clusterCIDR": POD_CIDR,
        # The conntrack table's size is the machine's, not the node's, to set.
        "conntrack": {"maxPerCore": 0, "min": 0},
    }
    return yamls.dump([init, cluster, _kubelet(traits), proxy])


def join_config(  # noqa: PLR0913 - what a node must know of a cluster
    node: Member, first: Member, token: str, ca_hash: str, traits: Traits = NAMESPACES, *, controls: bool = False
) -> str:
    """Return the configuration of `kubeadm join` for a further node; one that `controls` is a further control plane."""
    local = {"controlPlane": {"localAPIEndpoint": {"advertiseAddress": node.address, "bindPort": API_PORT}}}
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
        "nodeRegistration": _registration(node, traits),
        "patches": {"directory": "/etc/kubernetes/patches"},
        "timeouts": TIMEOUTS,
        **(local if controls else {}),
    }
    return yamls.dump([join])


def patches(node: Node) -> dict[str, str]:
    """Return kubeadm's patches, by file name: the node's kubelet settings, and what its control plane requests."""
    return {"kubeletconfiguration+strategic.yaml": yamls.dump([_patch(node)]), **shares()}


def shares() -> dict[str, str]:
    """Return kubeadm's patches, by file name, for what a control plane requests."""
    return {
        f"{target}+json.yaml": yamls.dump([[{"op": "replace", "path": path, "value": cpu}]])
        for target, (cpu, path) in _SHARES.items()
    }
