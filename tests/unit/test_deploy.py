"""What a deploy decides before it builds: which profile, whether the machine carries it; and what it remembers."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from betelgeuse import inventory, selection, settings
from betelgeuse.doctor import tools
from betelgeuse.errors import BetelgeuseError, RefusedError, UsageError
from betelgeuse.kube import key_of
from betelgeuse.workflows import realm
from betelgeuse.workflows.deploy import deploy
from betelgeuse.workflows.destroy import destroy
from tests.unit.fakes import FakeKube, obj
from tests.unit.machines import FakeMachine, requirements
from tests.unit.test_apply_tree import NAMESPACE, Controlled

HOME, CLAIM = obj("v1", "Namespace", "db"), obj("v1", "PersistentVolumeClaim", "p", "db")
SMALL = {"/proc/meminfo": f"MemTotal: {16 * 2**20} kB\nMemAvailable: {4 * 2**20} kB\n"}


@dataclass
class World:
    """A machine of tables and a cluster in a dictionary, with what was done to the machine."""

    cluster: Controlled = field(default_factory=Controlled)
    machine: FakeMachine = field(default_factory=FakeMachine)
    steps: list[str] = field(default_factory=list)

    def note(self, name: str) -> Callable[..., None]:
        """Return a step that only says it was taken."""
        return lambda *_, **__: self.steps.append(name)

    @property
    def volume(self) -> bool:
        """Whether the volume of profile data is there."""
        return key_of(CLAIM) in self.cluster.objects


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    """Put a world of our own where the machine, its builds and its cluster would be."""
    world = World()
    trees = {"core": [NAMESPACE], "data": [NAMESPACE, HOME, CLAIM]}
    monkeypatch.setattr("betelgeuse.paths.state_dir", lambda env: tmp_path / env)
    monkeypatch.setattr("betelgeuse.system.install", world.note("install"))
    monkeypatch.setattr("betelgeuse.doctor.Machine", lambda: world.machine)
    monkeypatch.setattr(tools, "requires", requirements)
    for name in ("settle_bases", "prepare_tree", "bring_up"):
        monkeypatch.setattr(f"betelgeuse.clusters.local.target.{name}", world.note(name))
    monkeypatch.setattr("betelgeuse.render.render", lambda _env, profile: trees.get(profile, [NAMESPACE]))
    for verb in ("deploy", "destroy"):
        monkeypatch.setattr(f"betelgeuse.workflows.{verb}.connect", lambda _: world.cluster.kube)
    monkeypatch.setattr("betelgeuse.edge.settle", world.note("settle"))
    monkeypatch.setattr(time, "sleep", lambda _: None)
    return world


def test_the_chosen_profile_is_remembered_until_another_is_said(world: World) -> None:
    """On this machine and in the cluster; the volume outlives the way back until its data may go."""
    deploy("local", profile="data")
    assert (selection.recall("local"), inventory.load(world.cluster.kube).profile) == ("data", "data")
    deploy("local")
    assert world.volume
    assert selection.select("local", kube=world.cluster.kube).name == "data"

    deploy("local", profile="core")
    assert (selection.recall("local"), inventory.load(world.cluster.kube).profile) == ("", "")
    assert world.volume
    deploy("local", prune_data=True)
    assert not world.volume


def test_other_environments_ask_their_cluster(world: World) -> None:
    """Another machine deployed there; destroy forgets the choice, and keeps the volume."""
    inventory.save(world.cluster.kube, inventory.Inventory(profile="data"))
    deploy("hetzner")

    assert world.volume
    assert selection.recall("hetzner") == "data"
    destroy("hetzner")
    assert (selection.recall("hetzner"), inventory.load(world.cluster.kube).profile, world.volume) == ("", "", True)


def test_kind_is_made_once_its_images_are_chosen(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose images run decides how the tree renders; destroy takes the cluster itself away."""
    for name in ("install", "decide", "bring_up", "destroy"):
        monkeypatch.setattr(f"betelgeuse.clusters.kind.target.{name}", world.note(f"kind {name}"))

    deploy("kind")
    destroy("kind")

    made = ["kind install", "settle_bases", "kind decide", "prepare_tree", "kind bring_up", "settle"]
    assert world.steps == [*made, "kind destroy"]


def test_a_machine_too_small_hears_it_before_anything_is_built(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line with the profile, what it needs and what is there, and exit code 3."""
    world.machine = FakeMachine(files=dict(SMALL))

    with pytest.raises(
        RefusedError, match=r"^memory: profile full needs [\d.]+ GiB of memory; 4\.0 are free: .*"
    ) as refusal:
        deploy("local", profile="full")

    assert refusal.value.exit_code == 3
    assert world.steps == ["install"]
    assert "profile full: network, certificates, gateway," in capsys.readouterr().err
    assert selection.recall("local") == ""


def test_an_unknown_profile_is_refused_first(world: World) -> None:
    """Not even a package is installed for it."""
    with pytest.raises(UsageError, match=r"unknown profile 'dta'; did you mean 'data'\?"):
        deploy("local", profile="dta")

    assert world.steps == []


def test_a_machine_that_disagrees_with_its_cluster_removes_nothing(world: World) -> None:
    """A lost state folder must not read as a wish for less."""
    deploy("local", profile="data")
    selection.remember("local", "")

    with pytest.raises(RefusedError, match="local runs data, this machine remembers core: say --profile=<name>"):
        deploy("local")

    assert world.volume
    deploy("local", profile="data")


def test_the_tree_comes_before_the_builds(world: World) -> None:
    """The tree is rendered, and judged, before the first build."""
    deploy("local")

    assert world.steps == ["install", "settle_bases", "prepare_tree", "bring_up", "settle"]


def test_the_realm_is_there_as_soon_as_keycloak_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some programs are not ready before it: it comes while they are waited for, once, and again where it failed."""
    made: list[str] = []
    ready = iter([False, True, True, True])
    answers: list[list[str] | None] = [None, ["realm: created"], []]
    outcomes = iter(answers)

    def reconcile(*_: object) -> list[str]:
        made.append("asked")
        if (outcome := next(outcomes)) is None:
            message = "not yet"
            raise BetelgeuseError(message)
        return outcome

    monkeypatch.setattr(realm, "provider", lambda _: NAMESPACE)
    monkeypatch.setattr(realm, "observe", lambda *_: [] if next(ready) else ["keycloak"])
    monkeypatch.setattr(realm, "reconcile", reconcile)
    early = realm.Early(settings.load("local"), FakeKube().kube, [])

    for asked in (0, 1, 2, 2):
        early.look()
        assert len(made) == asked

    # What made everything ready may have come after it: the last word is the last look's.
    assert early.finish() == ["realm: created"]
    assert len(made) == 3


def test_a_realm_that_was_right_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deploy that changes nothing takes no second look."""
    made: list[str] = []

    def reconcile(*_: object) -> list[str]:
        made.append("asked")
        return []

    monkeypatch.setattr(realm, "provider", lambda _: NAMESPACE)
    monkeypatch.setattr(realm, "observe", lambda *_: [])
    monkeypatch.setattr(realm, "reconcile", reconcile)
    early = realm.Early(settings.load("local"), FakeKube().kube, [])
    early.look()

    assert early.finish() == []
    assert made == ["asked"]
