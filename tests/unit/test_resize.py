"""The number of nodes: remembered, planned, and never less where data would go with it."""

import dataclasses
import json
from pathlib import Path

import pytest

from betelgeuse import nodecount, paths, settings
from betelgeuse.clusters.local import cluster, layout, resize
from betelgeuse.errors import BetelgeuseError, RefusedError
from betelgeuse.settings import Settings
from betelgeuse.workflows.plan import plan
from tests.unit.fakes import FakeKube

SETTINGS = Settings(env="local", domain="a.b", kube_context="x")
VOLUME = "opt/local-path-provisioner/pvc-1_ai_data"


@pytest.fixture
def nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[layout.Node]:
    """Three nodes that run; a volume is on the second."""
    monkeypatch.setattr(layout, "CLUSTER_DIR", tmp_path)
    monkeypatch.setattr(cluster, "DESIRED", tmp_path / "desired.json")
    found = layout.nodes(Settings(env="local", domain="a.b", nodes=3))
    (tmp_path / "desired.json").write_text(json.dumps({"path": "", "nodes": [dataclasses.asdict(n) for n in found]}))
    for node in found:
        node.folder.mkdir(parents=True)
        (node.folder / "joined").touch()
    (found[1].root / VOLUME).mkdir(parents=True)
    return found


def test_a_number_holds_until_another_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NODES=3 for one command is the wanted number for those that follow; an edit of the file counts again."""
    monkeypatch.setattr(paths, "STATE", tmp_path / "state")
    monkeypatch.setattr(paths, "OVERLAYS", tmp_path)
    monkeypatch.delenv("NODES", raising=False)
    (tmp_path / "local").mkdir()
    file = tmp_path / "local/environment.env"
    file.write_text("DOMAIN=a.b\nNODES=1\n")
    before = settings.load("local")
    settings.remember(settings.load("local", nodes=3))
    after = settings.load("local")
    file.write_text("DOMAIN=a.b\nNODES=2\n")

    assert (before.nodes, after.nodes, settings.load("local").nodes) == (1, 3, 2)
    assert after.gateway_addresses == ("172.30.0.11", "172.30.0.12", "172.30.0.13")
    assert settings.load("local", nodes=1).nodes == 1


@pytest.mark.parametrize("text", ["", "[]", '{"nodes": "x", "declared": 1}', '{"nodes": 3}'])
def test_a_broken_memory_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Then the file's number holds."""
    monkeypatch.setattr(paths, "STATE", tmp_path)
    (tmp_path / "local").mkdir()
    (tmp_path / "local/nodes.json").write_text(text)

    assert nodecount.recall("local", 1) == 1


def test_a_shrink_is_in_the_plan(nodes: list[layout.Node], capsys: pytest.CaptureFixture[str]) -> None:
    """Each node that goes is a line, with the claims whose volumes it holds; the exit code is 2."""
    lines = resize.planned(nodes[:1])

    assert lines == [
        "! node-2 is one node too many, but holds the volume ai/data: needs --prune-data to go",
        "- node-3 (one node too many: will be drained and removed)",
    ]
    assert plan(SETTINGS, FakeKube().kube, [], lines) == 2
    captured = capsys.readouterr()
    assert captured.out.splitlines() == lines
    assert "1 of these would stop the deploy" in captured.err
    assert "local: 2 to change" in captured.err


def test_growth_is_in_the_plan(nodes: list[layout.Node]) -> None:
    """A node that comes is a line; without a cluster everything comes, and no plan can be asked for."""
    assert resize.planned([*nodes, *layout.nodes(Settings(env="local", domain="a.b", nodes=4))[3:]]) == [
        "+ node-4 (will be booted)"
    ]
    assert resize.planned(nodes) == []
    (layout.CLUSTER_DIR / "desired.json").unlink()
    assert resize.planned(nodes) == []


def test_a_node_with_volumes_stays(nodes: list[layout.Node]) -> None:
    """It is refused before anything is touched, naming the claims and both ways on."""
    with pytest.raises(RefusedError, match="node-2 would be removed, and with it the volume ai/data") as caught:
        resize.check(nodes[:1], prune_data=False)

    assert "--nodes=2 keeps the node, --prune-data gives up what it holds" in str(caught.value)
    resize.check(nodes[:2], prune_data=False)
    resize.check(nodes[:1], prune_data=True)
    assert (nodes[1].root / VOLUME).is_dir()


def test_a_half_made_node_with_volumes_is_not_wiped(nodes: list[layout.Node]) -> None:
    """A lost marker must not cost the data of a node that was whole."""
    (nodes[1].folder / "joined").unlink()
    (nodes[1].root / "etc/kubernetes").mkdir(parents=True)
    (nodes[1].root / "etc/kubernetes/kubelet.conf").touch()

    with pytest.raises(RefusedError, match="node-2 looks half made, but holds the volume ai/data"):
        resize.check(nodes, prune_data=False)


def test_a_node_leaves_in_order(nodes: list[layout.Node], monkeypatch: pytest.MonkeyPatch) -> None:
    """Claims are given up before the drain ends their pods; a node that was never joined is only wiped."""
    log: list[str] = []
    monkeypatch.setattr(cluster, "kubectl", lambda *words, **_: log.append(" ".join(words[:3])))
    monkeypatch.setattr(cluster, "wipe", lambda node: log.append(f"wipe {node.name}"))
    (nodes[2].folder / "joined").unlink()

    resize.shrink(nodes[:1])

    assert log == [
        "wipe node-3",
        "cordon node-2",
        "delete pvc data",
        "drain node-2 --ignore-daemonsets",
        "delete pv pvc-1",
        "delete node node-2",
        "wipe node-2",
    ]


def test_a_node_that_cannot_be_drained_stays(nodes: list[layout.Node], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pods still run there: it is named, with both ways on."""
    wiped: list[layout.Node] = []

    def kubectl(*words: str, timeout: float = 0) -> None:
        if words[0] == "drain":
            raise BetelgeuseError(f"no end after {timeout} s")  # noqa: EM102, TRY003 - a stand-in's words

    monkeypatch.setattr(cluster, "kubectl", kubectl)
    monkeypatch.setattr(cluster, "wipe", wiped.append)

    with pytest.raises(BetelgeuseError, match=r"node-3 could not be drained and stays: no end after 210 s; run this"):
        resize.shrink(nodes[:2])
    assert wiped == []
