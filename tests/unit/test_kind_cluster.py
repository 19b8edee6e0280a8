"""What kind, its nodes and their engine are told, and what is put back behind them."""

from pathlib import Path

import pytest
import yaml

from betelgeuse import nodecount, paths, settings
from betelgeuse.builds import components
from betelgeuse.clusters.kind import engine, host, nodes, target
from betelgeuse.clusters.local import sysctls
from betelgeuse.errors import RefusedError
from betelgeuse.programs.model import REPOSITORY
from tests.unit.machines import MOUNTS

TAGS = {"coredns": "v1.0.0", "etcd": "3.0.0-0", "pause": "3.1"}
V2 = "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a kind cluster that nobody has made."""
    monkeypatch.setattr(paths, "STATE", tmp_path)
    (tmp_path / "kind").mkdir()
    return tmp_path / "kind"


def test_podman_is_told_what_the_machine_wants() -> None:
    """Its own settings where systemd and cgroup v2 alone are; what kind is told names our network, not everybody's."""
    assert engine.ordinary(V2, systemd=True)
    assert not engine.ordinary(V2, systemd=False)
    assert not engine.ordinary(MOUNTS, systemd=True)
    assert engine.Engine("docker").environment == {
        "KIND_EXPERIMENTAL_PROVIDER": "docker",
        "KIND_EXPERIMENTAL_DOCKER_NETWORK": "betelgeuse-kind",
    }


def test_nodes_of_ours_ask_no_registry() -> None:
    """Images come from archives before the kubelet starts, under the names that kubeadm and containerd use."""
    (told,) = yaml.safe_load_all(nodes.config(2, {"/kind/x": Path("/y")}, TAGS))
    patches = {patch["kind"]: patch for patch in map(yaml.safe_load, told["kubeadmConfigPatches"])}

    assert [node["role"] for node in told["nodes"]] == ["control-plane", "worker"]
    assert told["nodes"][1]["extraMounts"] == [{"hostPath": "/y", "containerPath": "/kind/x", "readOnly": True}]
    assert told["networking"]["disableDefaultCNI"]
    assert patches["ClusterConfiguration"]["imageRepository"] == REPOSITORY
    assert patches["ClusterConfiguration"]["etcd"] == {"local": {"imageTag": "3.0.0-0"}}
    assert 'sandbox = "betelgeuse.local/pause:3.1"' in nodes.files("3.1")["/etc/containerd/config.toml"]
    assert (
        "ctr -n k8s.io images import" in nodes.files("3.1")["/etc/systemd/system/containerd.service.d/betelgeuse.conf"]
    )


@pytest.mark.parametrize("pause", ["", "3.1"])
@pytest.mark.parametrize("name", ["kube-scheduler", "kube-controller-manager"])
def test_controllers_answer_at_the_nodes_address(name: str, pause: str) -> None:
    """As on `local`: Prometheus asks there. The last word of an argument counts, so it is added, whoever's nodes."""
    files = {path: text for path, text in nodes.files(pause).items() if path.startswith(f"/kind/patches/{name}-")}
    (operation,) = yaml.safe_load("".join(files.values()))

    assert [path.partition("+")[2] for path in files] == ["json.yaml"]
    assert operation["op"] == "add"
    assert operation["path"] == "/spec/containers/0/command/-"
    assert operation["value"].startswith("--bind-address=")


def test_nodes_of_kinds_own_keep_their_configuration() -> None:
    """But for what Cilium needs and a StorageClass that is not the tree's."""
    (told,) = yaml.safe_load_all(nodes.config(1, {}, {}))
    patches = {patch["kind"]: patch for patch in map(yaml.safe_load, told["kubeadmConfigPatches"])}

    assert set(patches) == {"InitConfiguration", "JoinConfiguration", "KubeletConfiguration"}
    assert "cgroupDriver" not in patches["KubeletConfiguration"]
    assert "/etc/containerd/config.toml" not in nodes.files()
    assert "mount -t bpf" in nodes.files()["/etc/systemd/system/containerd.service.d/betelgeuse.conf"]


@pytest.mark.parametrize(("silent", "chosen"), [("", components.UPSTREAM), ("quay.io", components.LOCAL)])
def test_whose_images_run_is_decided_once(
    state: Path, monkeypatch: pytest.MonkeyPatch, silent: str, chosen: str
) -> None:
    """One registry that does not answer is enough for our own; later commands ask none."""
    monkeypatch.setattr(paths, "GENERATED", state / "generated")
    monkeypatch.setattr(target, "_answers", lambda registry: registry != silent)
    target.decide()
    monkeypatch.setattr(target, "_answers", lambda _: pytest.fail("asked again"))
    target.decide()
    components.write()

    made = yaml.safe_load(components.path(components.ON_KIND).read_text("utf-8"))
    named = {entry["name"]: entry.get("newName", "") for entry in made["images"]}
    assert components.decided() == chosen
    assert named["ghcr.io/betelgeuse/portal"].startswith(REPOSITORY)
    assert named["quay.io/cilium/cilium"].startswith(REPOSITORY) is (chosen == components.LOCAL)


def test_the_gateway_is_where_the_engine_put_the_nodes(state: Path) -> None:
    """Nobody chose their addresses, so they are found and kept; other environments say them in their file."""
    assert settings.load("kind").gateway_addresses == ()
    nodecount.remember_addresses("kind", ["10.89.0.2", "10.89.0.3"])

    assert state.is_dir()
    assert settings.load("kind").gateway_addresses == ("10.89.0.2", "10.89.0.3")
    assert settings.load("hetzner").gateway_addresses == ()


def test_another_number_of_nodes_is_refused(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kind cannot add a node, and a cluster is not thrown away for it."""
    (state / "kubeconfig").touch()
    monkeypatch.setattr(target, "_kind", lambda *_: "betelgeuse-control-plane\n")

    with pytest.raises(RefusedError, match=r"kind has 1 nodes, 3 are wanted: run `invoke destroy --env=kind` first"):
        target._create(3)


def test_what_the_embedded_cluster_changed_is_its_own_to_put_back(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside it, only the rest is remembered; the folder of modules is made where none is, and removed again."""
    monkeypatch.setattr(sysctls, "remembered", lambda *_: dict.fromkeys(sysctls.NAMES, "0"))
    monkeypatch.setattr(host, "FILE", state / "sysctls.json")
    monkeypatch.setattr(host, "_MADE", state / "modules")
    monkeypatch.setattr(host, "_MODULES", tmp_path / "lib-modules")
    host.prepare()
    host.prepare()

    assert (state / "sysctls.json").read_text().startswith('{"fs/file-max":')
    assert (tmp_path / "lib-modules").is_dir()
    monkeypatch.setattr(sysctls, "restore", lambda *_: None)
    host.restore()
    assert not (tmp_path / "lib-modules").exists()


RULES = """\
*filter
:FORWARD ACCEPT [0:0]
:NETAVARK_FORWARD - [0:0]
-A FORWARD -s 10.0.0.0/8 -j DROP
-A FORWARD -m comment --comment "netavark firewall plugin rules" -j NETAVARK_FORWARD
COMMIT
*nat
:NETAVARK-HOSTPORT-MASQ - [0:0]
-A NETAVARK-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE
COMMIT
*raw
:OUTPUT ACCEPT [0:0]
COMMIT
"""


def test_only_podmans_chains_are_swept() -> None:
    """Others' rules stay, and all of them while another network of podman's is in use."""
    assert host.leftovers(RULES).splitlines() == [
        *("*filter", '-D FORWARD -m comment --comment "netavark firewall plugin rules" -j NETAVARK_FORWARD'),
        *("-F NETAVARK_FORWARD", "-X NETAVARK_FORWARD", "COMMIT"),
        *("*nat", "-F NETAVARK-HOSTPORT-MASQ", "-X NETAVARK-HOSTPORT-MASQ", "COMMIT"),
    ]
    assert host.leftovers(RULES + "*nat\n:NETAVARK-E0B63D7147B7C - [0:0]\nCOMMIT\n") == ""
