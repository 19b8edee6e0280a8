"""Which profile a command is about."""

from pathlib import Path

import pytest

from betelgeuse import inventory, paths, selection
from betelgeuse.errors import UsageError
from betelgeuse.inventory import Inventory
from tests.unit.fakes import FakeKube


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the state of this machine apart."""
    monkeypatch.setattr(paths, "STATE", tmp_path)
    return tmp_path


def cluster(profile: str) -> FakeKube:
    """Return a cluster whose last deploy chose a profile."""
    fake = FakeKube()
    inventory.save(fake.kube, Inventory(profile=profile))
    return fake


def test_without_a_choice_the_overlay_decides() -> None:
    """On this machine, and in a cluster that knows nothing."""
    assert selection.select("local").name == "core"
    assert selection.select("hetzner").name == "full"
    assert selection.select("hetzner", kube=FakeKube().kube).name == "full"


def test_what_is_said_counts(state: Path) -> None:
    """Before what is remembered; asking changes nothing."""
    selection.remember("local", "data")

    assert selection.select("local", "tools").name == "tools"
    assert selection.select("local", "full", cluster("data").kube).name == "full"
    assert (state / "local" / "profile").read_text() == "data\n"


def test_what_was_deployed_is_remembered(capsys: pytest.CaptureFixture[str]) -> None:
    """Also by another machine, which has only the cluster; and nothing but a note for people is printed."""
    assert selection.select("local", kube=cluster("data").kube).name == "data"
    assert selection.recall("local") == "data"
    assert selection.select("local").name == "data"
    captured = capsys.readouterr()
    assert "profile data, as deployed last; overlays/local itself names core" in captured.err
    assert captured.out == ""


def test_the_cluster_knows_better_than_this_machine() -> None:
    """Another machine may have deployed since."""
    selection.remember("local", "data")

    assert selection.select("local", kube=cluster("").kube).name == "core"
    assert selection.recall("local") == ""


def test_the_overlays_own_profile_is_no_choice() -> None:
    """So that a change of the overlay's line counts from the next deploy on."""
    assert selection.chosen("local", selection.select("local", "core")) == ""
    assert selection.chosen("local", selection.select("local", "data")) == "data"
    selection.remember("local", "core")
    assert selection.select("local").name == "core"


def test_a_choice_can_be_forgotten(state: Path) -> None:
    """Once and again."""
    selection.remember("local", "data")
    selection.remember("local", "")
    selection.remember("local", "")

    assert list((state / "local").iterdir()) == []


def test_a_profile_the_tree_lost_is_told() -> None:
    """With what to do: another one is never taken in silence."""
    selection.remember("local", "old")

    with pytest.raises(UsageError, match=r"local runs profile 'old', which this tree lacks: say --profile=<name> \("):
        selection.select("local")
    with pytest.raises(UsageError, match=r"unknown profile 'dat'; did you mean 'data'\?"):
        selection.select("local", "dat")


def test_a_state_folder_that_cannot_be_written_only_costs_the_news(state: Path) -> None:
    """A command that asks the cluster works without it."""
    (state / "local").write_text("in the way")

    assert selection.select("local", kube=cluster("data").kube).name == "data"
