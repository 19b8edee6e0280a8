"""The key of the Secrets: made once, kept close, never replaced in silence."""

import base64
import stat
from pathlib import Path

import pytest
import yaml

from betelgeuse.clusters.local import cluster, encryption, kubeadm, layout, sealing
from betelgeuse.errors import BetelgeuseError
from betelgeuse.settings import Settings
from tests.unit.test_local_cluster import VERSIONS


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> layout.Node:
    """A node whose disk is empty."""
    monkeypatch.setattr(layout, "CLUSTER_DIR", tmp_path)
    return layout.nodes(Settings("local", "example.test"))[0]


def test_key_is_made_once_and_for_the_owner_only(node: layout.Node) -> None:
    """32 random bytes, mode 0600 in a folder of mode 0700; a second deploy keeps it."""
    encryption.ensure(node)
    file = encryption.file_of(node)
    first = file.read_text()

    encryption.ensure(node)

    (entry,) = yaml.safe_load(first)["resources"]
    assert file.read_text() == first
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert entry["resources"] == ["secrets"]
    assert len(base64.b64decode(entry["providers"][0]["secretbox"]["keys"][0]["secret"])) == 32
    assert list(file.parent.iterdir()) == [file]


def test_two_clusters_have_two_keys() -> None:
    """The key is an argument of the document, and of nothing else."""
    assert encryption.document(b"a" * 32) != encryption.document(b"b" * 32)


def test_what_is_older_than_the_key_can_be_read(node: layout.Node) -> None:
    """Sealed first, so that is how it writes; in the clear last, so that an older cluster can be brought to it."""
    encryption.ensure(node)
    (entry,) = yaml.safe_load(encryption.file_of(node).read_text())["resources"]

    assert [next(iter(provider)) for provider in entry["providers"]] == ["secretbox", "identity"]


def test_interrupted_key_is_no_key(node: layout.Node) -> None:
    """A draft that was cut short is written anew."""
    encryption.ensure(node)
    whole = encryption.file_of(node)
    whole.rename(whole.with_suffix(".new"))
    whole.with_suffix(".new").write_text("kind: Encr")

    encryption.ensure(node)

    assert yaml.safe_load(whole.read_text())["kind"] == "EncryptionConfiguration"


def test_lost_key_is_told_and_not_replaced(node: layout.Node) -> None:
    """A second key would leave every Secret unreadable."""
    encryption.ensure(node)
    encryption.sealed(node).touch()
    encryption.file_of(node).unlink()

    with pytest.raises(BetelgeuseError, match="put it back from a backup"):
        encryption.ensure(node)


def test_the_api_server_is_given_the_key() -> None:
    """A flag, and the folder it names, read-only; the key itself is in no configuration of kubeadm."""
    node = layout.nodes(Settings("local", "example.test"))[0]
    _, cluster, *_ = yaml.safe_load_all(kubeadm.init_config(node, VERSIONS, "example.test"))

    server = cluster["apiServer"]
    argument, volume = server["extraArgs"][0], server["extraVolumes"][0]
    assert argument == {"name": "encryption-provider-config", "value": encryption.FILE}
    assert (volume["hostPath"], volume["mountPath"], volume["readOnly"]) == (encryption.FOLDER, encryption.FOLDER, True)
    assert argument["value"].startswith(volume["mountPath"])


@pytest.fixture
def older(node: layout.Node, monkeypatch: pytest.MonkeyPatch) -> tuple[layout.Node, list[str]]:
    """A cluster formed without a key, and what is run in it."""
    ran: list[str] = []
    manifest = node.root / "etc/kubernetes/manifests/kube-apiserver.yaml"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("kube-apiserver --etcd-servers=x")

    def inside(_node: layout.Node, argv: list[str], **_: object) -> str:
        ran.append(" ".join(argv[:5]))
        if "control-plane" in argv:
            manifest.write_text(f"kube-apiserver --encryption-provider-config={encryption.FILE}")
        return ""

    def kubectl(*arguments: str, data: str = "") -> str:
        ran.append(" ".join(arguments[:2]))
        if arguments[0] == "replace" and ran.count("replace -f") == 1:
            message = "the object has been modified"
            raise BetelgeuseError(message)
        return '{"items": []}' if not data else ""

    monkeypatch.setattr(cluster, "inside", inside)
    monkeypatch.setattr(cluster, "kubectl", kubectl)
    monkeypatch.setattr(cluster, "api_ready", lambda _: "")
    return node, ran


def test_older_cluster_is_sealed_once(older: tuple[layout.Node, list[str]]) -> None:
    """Flag, restart, every Secret written again (also when somebody writes one meanwhile); then nothing more."""
    node, ran = older
    programs = cluster.Programs("", node.folder, VERSIONS)

    sealing.seal(node, programs, "example.test")
    first = list(ran)
    sealing.seal(node, programs, "example.test")

    assert first[:2] == ["kubeadm init phase upload-config kubeadm", "kubeadm init phase control-plane apiserver"]
    assert first[-4:] == ["get secrets", "replace -f"] * 2
    assert ran == first
    assert encryption.file_of(node).is_file()


def test_interrupted_sealing_goes_on(older: tuple[layout.Node, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the restart and the rewriting, the next run does not reconfigure, and writes them again."""
    node, ran = older
    programs = cluster.Programs("", node.folder, VERSIONS)
    monkeypatch.setattr(sealing, "_REWRITE_SECONDS", -1.0)
    with pytest.raises(BetelgeuseError, match="modified"):
        sealing.seal(node, programs, "example.test")
    monkeypatch.setattr(sealing, "_REWRITE_SECONDS", 60.0)
    ran.clear()

    sealing.seal(node, programs, "example.test")

    assert ran[0].startswith("pgrep")
    assert ran[-2:] == ["get secrets", "replace -f"]
    assert encryption.sealed(node).is_file()
