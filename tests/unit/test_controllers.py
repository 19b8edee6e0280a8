"""Scheduler and controller manager at the node's address, also in a cluster that was formed before they were."""

from pathlib import Path

import pytest
import yaml

from betelgeuse.clusters.local import cluster, controlplane, kubeadm, layout
from betelgeuse.settings import Settings
from tests.unit.test_local_cluster import VERSIONS

NAMES = {"scheduler": "kube-scheduler", "controller-manager": "kube-controller-manager"}


def test_both_answer_at_the_nodes_address() -> None:
    """On the loopback no pod could ask them; on every address somebody else could."""
    node = layout.nodes(Settings("local", "example.test"))[0]
    _, settings, *_ = yaml.safe_load_all(kubeadm.init_config(node, VERSIONS, "example.test"))

    for part in ("controllerManager", "scheduler"):
        arguments = {each["name"]: each["value"] for each in settings[part]["extraArgs"]}
        assert arguments == {"leader-elect": "false", "bind-address": node.address}


@pytest.fixture
def older(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[layout.Node, list[str]]:
    """A cluster whose scheduler and controller manager are on the loopback, and what is run in it."""
    monkeypatch.setattr(layout, "CLUSTER_DIR", tmp_path)
    node = layout.nodes(Settings("local", "example.test"))[0]
    folder = node.root / "etc/kubernetes/manifests"
    folder.mkdir(parents=True)
    for name in NAMES.values():
        (folder / f"{name}.yaml").write_text("- --bind-address=127.0.0.1")
    ran: list[str] = []

    def inside(_node: layout.Node, argv: list[str], **_: object) -> str:
        ran.append(" ".join(argv[:5]))
        if "control-plane" in argv:
            (folder / f"{NAMES[argv[4]]}.yaml").write_text(f"- --bind-address={node.address}")
        return ""

    monkeypatch.setattr(cluster, "inside", inside)
    return node, ran


def test_older_cluster_is_changed_once(older: tuple[layout.Node, list[str]]) -> None:
    """Manifests written anew, both awaited; a second deploy runs nothing."""
    node, ran = older
    programs = cluster.Programs("", node.folder, VERSIONS)

    controlplane.open_to_prometheus(node, programs, "example.test")
    first = list(ran)
    controlplane.open_to_prometheus(node, programs, "example.test")

    assert first[:3] == [
        "kubeadm init phase upload-config kubeadm",
        "kubeadm init phase control-plane scheduler",
        "kubeadm init phase control-plane controller-manager",
    ]
    assert [entry.split()[0] for entry in first[3:]] == ["pgrep", "pgrep"]
    assert ran == first
    assert controlplane.lacking(node, f"--bind-address={node.address}", *controlplane.CONTROLLERS) == []


def test_only_the_one_that_differs_is_restarted(older: tuple[layout.Node, list[str]]) -> None:
    """A run that was killed half way goes on with the other."""
    node, ran = older
    (node.root / "etc/kubernetes/manifests/kube-scheduler.yaml").write_text(f"- --bind-address={node.address}")

    controlplane.open_to_prometheus(node, cluster.Programs("", node.folder, VERSIONS), "example.test")

    assert ran[1] == "kubeadm init phase control-plane controller-manager"
    assert len(ran) == 3
