"""The embedded cluster's plan: names, addresses, configuration files."""

import sys
import tomllib
from pathlib import Path

import yaml

from betelgeuse.clusters.local import kubeadm, layout, sysctls
from betelgeuse.clusters.local.layout import Node
from betelgeuse.settings import MAX_NODES, Settings
from betelgeuse.shell import run

VERSIONS = kubeadm.Versions(kubernetes="v1.37.2", etcd="3.7.3-0", coredns="v1.14.6", pause="3.10.2")


def nodes(count: int) -> list[Node]:
    """The nodes of a cluster of that size."""
    return layout.nodes(Settings("local", "example.test", nodes=count))


def test_nodes_have_stable_names_and_addresses() -> None:
    """Node k is .(10+k), whatever the number of nodes."""
    three = nodes(3)

    assert [node.address for node in three] == ["172.30.0.11", "172.30.0.12", "172.30.0.13"]
    assert three[0] == nodes(1)[0]
    assert all(len(node.veth) <= 15 for node in nodes(MAX_NODES))


def test_init_configuration_is_what_kubeadm_reads() -> None:
    """Four documents: init, cluster, kubelet, proxy; no taint, so one node carries everything."""
    node = nodes(1)[0]
    init, cluster, kubelet, proxy = yaml.safe_load_all(kubeadm.init_config(node, VERSIONS, "example.test"))

    assert init["nodeRegistration"]["taints"] == []
    assert cluster["dns"]["imageTag"] == "v1.14.6"
    assert "api.example.test" in cluster["apiServer"]["certSANs"]
    assert kubelet["authentication"]["anonymous"]["enabled"] is False
    assert proxy["mode"] == "nftables"


def test_a_log_never_shows_a_join_command() -> None:
    """Kubeadm's closing advice holds a token: it is skipped."""
    node = nodes(1)[0]
    init = next(iter(yaml.safe_load_all(kubeadm.init_config(node, VERSIONS, "example.test"))))

    assert "show-join-command" in init["skipPhases"]
    # A minute is too short for the first calls on a machine that is busy, or emulated.
    assert init["timeouts"]["kubernetesAPICall"] == "10m0s"


def test_a_token_of_digits_stays_a_token() -> None:
    """Go's reader takes more spellings for a number than ours: what looks like one is quoted."""
    first, second = nodes(2)

    for token in ("012345.0123456789012345", "123456.789e123456789012"):
        assert f"token: '{token}'" in kubeadm.join_config(second, first, token, "sha256:00")


def test_join_names_the_control_plane_and_its_certificate() -> None:
    """A joining node verifies whom it joins."""
    first, second = nodes(2)
    join = yaml.safe_load(kubeadm.join_config(second, first, "abcdef.0123456789abcdef", "sha256:00"))

    discovery = join["discovery"]["bootstrapToken"]
    assert discovery["apiServerEndpoint"] == "172.30.0.11:6443"
    assert discovery["caCertHashes"] == ["sha256:00"]


def test_kubelet_patch_gives_each_node_its_cgroup() -> None:
    """Two nodes on one machine never share a cgroup."""
    patches = [yaml.safe_load(kubeadm.patches(node)["kubeletconfiguration+strategic.yaml"]) for node in nodes(2)]

    assert [patch["cgroupRoot"] for patch in patches] == ["/btg-local-node-1", "/btg-local-node-2"]


def test_the_control_plane_leaves_the_processor_to_the_pods() -> None:
    """Kubernetes' own requests would leave one of two cores to a whole platform."""
    patches = kubeadm.patches(nodes(1)[0])
    shares = {name: yaml.safe_load(text) for name, text in patches.items() if name.endswith("+json.yaml")}

    assert {name.partition("+")[0] for name in shares} == {
        "corednsdeployment",
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
    }
    assert sum(int(patch["value"].removesuffix("m")) for (patch,) in shares.values()) == 225


def test_containerd_configuration_is_toml_and_pins_the_sandbox() -> None:
    """The pause image is the one we import."""
    config = tomllib.loads(kubeadm.containerd_config("3.10.2"))

    assert config["version"] == 3
    assert (
        config["plugins"]["io.containerd.cri.v1.images"]["pinned_images"]["sandbox"] == "betelgeuse.local/pause:3.10.2"
    )
    assert config["plugins"]["io.containerd.cri.v1.runtime"]["restrict_oom_score_adj"] is True


def test_kernel_settings_come_back_as_they_were(tmp_path: Path) -> None:
    """The first memory counts: a second run must not take kubelet's values for the machine's own."""
    root, file = tmp_path / "sys", tmp_path / "state" / "sysctls.json"
    (root / "vm").mkdir(parents=True)
    setting = root / "vm/overcommit_memory"
    setting.write_text("0\n")
    sysctls.remember(file, root)
    setting.write_text("1\n")
    sysctls.remember(file, root)

    sysctls.restore(file, root)

    assert setting.read_text() == "0"
    sysctls.restore(tmp_path / "nothing", root)


def test_limits_are_raised_as_long_as_they_can_come_back(tmp_path: Path) -> None:
    """What is high enough stays; what nobody remembers stays, as it would not be put back."""
    root, file = tmp_path / "sys", tmp_path / "state" / "sysctls.json"
    instances, watches = (root / name for name in sysctls.RAISED)
    instances.parent.mkdir(parents=True)
    for setting, value in ((instances, "128\n"), (watches, "1048576\n")):
        setting.write_text(value)

    sysctls.raise_limits(file, root)
    assert instances.read_text() == "128\n"

    sysctls.remember(file, root)
    sysctls.raise_limits(file, root)
    assert (instances.read_text(), watches.read_text()) == ("1024", "1048576\n")
    sysctls.restore(file, root)
    assert (instances.read_text(), watches.read_text()) == ("128", "1048576")


def test_what_a_node_starts_shares_wakeups() -> None:
    """By inheritance: nothing between a node's init and a container's process sets it anew."""
    read = "import pathlib; print(pathlib.Path('/proc/self/timerslack_ns').read_text())"
    started = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {read!r}], check=True)"
    init = f"from betelgeuse.clusters.local import nodeinit; nodeinit.share_wakeups(); {started}"

    assert int(run([sys.executable, "-c", init])) == 1_000_000


def test_what_a_node_starts_may_open_many_files() -> None:
    """Also where whoever deployed came by SSH: a session's soft limit is what containers would inherit."""
    lower = "import resource; _, hard = resource.getrlimit(7); resource.setrlimit(7, (256, hard))"
    raised = "from betelgeuse.clusters.local import nodeinit; nodeinit.open_many_files()"
    told = "print(resource.getrlimit(7)[0], min(hard, 1 << 20) if hard >= 0 else 1 << 20)"
    soft, expected = run([sys.executable, "-c", f"{lower}; {raised}; {told}"]).split()

    assert soft == expected
