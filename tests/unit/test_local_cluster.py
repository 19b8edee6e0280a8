"""The embedded cluster's plan: names, addresses, configuration files."""

import tomllib

import pytest
import yaml

from betelgeuse.clusters.local import kubeadm, layout
from betelgeuse.errors import UsageError

VERSIONS = kubeadm.Versions(etcd="3.7.3-0", coredns="v1.14.6")


def test_nodes_have_stable_names_and_addresses() -> None:
    """Node k is .(10+k), whatever the number of nodes."""
    three = layout.nodes("172.30.0.0/24", 3)

    assert [node.address for node in three] == ["172.30.0.11", "172.30.0.12", "172.30.0.13"]
    assert three[0] == layout.nodes("172.30.0.0/24", 1)[0]
    assert all(len(node.veth) <= 15 for node in layout.nodes("172.30.0.0/24", layout.MAX_NODES))


@pytest.mark.parametrize("count", [0, -1, layout.MAX_NODES + 1])
def test_impossible_sizes_are_refused(count: int) -> None:
    """A size out of range is named."""
    with pytest.raises(UsageError, match=f"NODES={count}"):
        layout.nodes("172.30.0.0/24", count)


def test_init_configuration_is_what_kubeadm_reads() -> None:
    """Four documents: init, cluster, kubelet, proxy; no taint, so one node carries everything."""
    node = layout.nodes("172.30.0.0/24", 1)[0]
    init, cluster, kubelet, proxy = yaml.safe_load_all(kubeadm.init_config(node, VERSIONS, "example.test"))

    assert init["nodeRegistration"]["taints"] == []
    assert cluster["dns"]["imageTag"] == "v1.14.6"
    assert "api.example.test" in cluster["apiServer"]["certSANs"]
    assert kubelet["authentication"]["anonymous"]["enabled"] is False
    assert proxy["mode"] == "nftables"


def test_a_log_never_shows_a_join_command() -> None:
    """Kubeadm's closing advice holds a token: it is skipped."""
    node = layout.nodes("172.30.0.0/24", 1)[0]
    init = next(iter(yaml.safe_load_all(kubeadm.init_config(node, VERSIONS, "example.test"))))

    assert "show-join-command" in init["skipPhases"]


def test_join_names_the_control_plane_and_its_certificate() -> None:
    """A joining node verifies whom it joins."""
    first, second = layout.nodes("172.30.0.0/24", 2)
    join = yaml.safe_load(kubeadm.join_config(second, first, "abcdef.0123456789abcdef", "sha256:00"))

    discovery = join["discovery"]["bootstrapToken"]
    assert discovery["apiServerEndpoint"] == "172.30.0.11:6443"
    assert discovery["caCertHashes"] == ["sha256:00"]


def test_kubelet_patch_gives_each_node_its_cgroup() -> None:
    """Two nodes on one machine never share a cgroup."""
    patches = [yaml.safe_load(kubeadm.kubelet_patch(node)) for node in layout.nodes("172.30.0.0/24", 2)]

    assert [patch["cgroupRoot"] for patch in patches] == ["/btg-local-node-1", "/btg-local-node-2"]


def test_containerd_configuration_is_toml_and_pins_the_sandbox() -> None:
    """The pause image is the one we import."""
    config = tomllib.loads(kubeadm.containerd_config())

    assert config["version"] == 3
    assert config["plugins"]["io.containerd.cri.v1.images"]["pinned_images"]["sandbox"] == kubeadm.PAUSE
    assert config["plugins"]["io.containerd.cri.v1.runtime"]["restrict_oom_score_adj"] is True
