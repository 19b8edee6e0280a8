"""The audit log of the embedded cluster: what is written down, where, and that no body ever is."""

from pathlib import Path

import pytest
import yaml

from betelgeuse.clusters.local import audit, cluster, controlplane, kubeadm, layout
from betelgeuse.errors import WaitTimeoutError
from betelgeuse.settings import Settings
from tests.unit.test_local_cluster import VERSIONS


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> layout.Node:
    """A node whose disk is empty."""
    monkeypatch.setattr(layout, "CLUSTER_DIR", tmp_path)
    return layout.nodes(Settings("local", "example.test"))[0]


def test_no_rule_writes_a_body_down() -> None:
    """Metadata or nothing; what no rule before names is told."""
    policy = yaml.safe_load(audit.document())

    assert {rule["level"] for rule in policy["rules"]} == {"None", "Metadata"}
    assert policy["rules"][-1] == {"level": "Metadata"}


def test_reading_a_secret_is_told_of_everybody() -> None:
    """Before the rules by which machines read without a word."""
    rules = yaml.safe_load(audit.document())["rules"]
    secrets = next(
        at for at, rule in enumerate(rules) if {"group": "", "resources": ["secrets"]} in rule.get("resources", [])
    )
    silent = [at for at, rule in enumerate(rules) if rule.get("verbs") == ["get", "list", "watch"]]

    assert rules[secrets]["level"] == "Metadata"
    assert silent
    assert secrets < min(silent)


def test_the_api_server_is_given_the_policy() -> None:
    """A flag, and the folder that it names; lines go to standard output, where the kubelet keeps them within bounds."""
    node = layout.nodes(Settings("local", "example.test"))[0]
    _, told, *_ = yaml.safe_load_all(kubeadm.init_config(node, VERSIONS, "example.test"))
    flags = {flag["name"]: flag["value"] for flag in told["apiServer"]["extraArgs"]}

    assert flags["audit-policy-file"] == audit.FILE
    assert flags["audit-log-path"] == "-"
    (volume,) = [volume for volume in told["apiServer"]["extraVolumes"] if volume["name"] == "audit"]
    assert (volume["hostPath"], volume["mountPath"], volume["readOnly"]) == (audit.FOLDER, audit.FOLDER, True)


@pytest.fixture
def older(node: layout.Node, monkeypatch: pytest.MonkeyPatch) -> tuple[layout.Node, list[str]]:
    """A cluster formed without an audit log, and what is run in it."""
    ran: list[str] = []
    manifest = node.root / "etc/kubernetes/manifests/kube-apiserver.yaml"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("kube-apiserver --etcd-servers=x")

    def inside(_node: layout.Node, argv: list[str], **_: object) -> str:
        ran.append(" ".join(argv[:5]))
        if "control-plane" in argv:
            manifest.write_text(f"kube-apiserver {audit.FLAG}")
        return ""

    monkeypatch.setattr(cluster, "inside", inside)
    monkeypatch.setattr(cluster, "api_ready", lambda _: "")
    return node, ran


def test_older_cluster_begins_to_audit_once(older: tuple[layout.Node, list[str]]) -> None:
    """Manifest, restart; then nothing more."""
    node, ran = older
    programs = cluster.Programs("", node.folder, VERSIONS)

    controlplane.audited(node, programs, "example.test")
    first = list(ran)
    controlplane.audited(node, programs, "example.test")

    assert first[:2] == ["kubeadm init phase upload-config kubeadm", "kubeadm init phase control-plane apiserver"]
    assert first[2].startswith("pgrep -f")
    assert ran == first


def test_a_server_that_does_not_come_back_is_told(
    older: tuple[layout.Node, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the reason that was seen last."""
    node, _ = older
    monkeypatch.setattr(controlplane, "_RESTART_SECONDS", 0.2)
    monkeypatch.setattr(cluster, "api_ready", lambda _: "connection refused")

    with pytest.raises(WaitTimeoutError, match="connection refused"):
        controlplane.restarted(node, audit.FLAG)
