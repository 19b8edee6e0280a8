"""What the component of an environment's registries says, and when it is in the way."""

from pathlib import Path

import pytest
import yaml

from betelgeuse import overlays, paths
from betelgeuse.builds import components, pins, registry
from betelgeuse.errors import RefusedError, UsageError
from betelgeuse.programs import table
from betelgeuse.programs.model import REPOSITORY

PLACE = "registry.example.org/team/platform"
CILIUM = "quay.io/cilium/cilium"
CONTROLLER = "quay.io/jetstack/cert-manager-controller"
LLM = "ghcr.io/betelgeuse/llm"
PORTAL = "ghcr.io/betelgeuse/portal"
SIDES = (components.UPSTREAM, components.LOCAL)
DIGEST = f"sha256:{'a' * 64}"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an environment `own`, without components."""
    monkeypatch.setattr(paths, "OVERLAYS", tmp_path)
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / overlays.KUSTOMIZATION).write_text("components: []\n", "utf-8")
    return folder


@pytest.mark.parametrize("said", [PLACE, f"{PLACE}/", "localhost/a", "127.0.0.1:5000/a", "ghcr.io/owner/x_y"])
def test_a_registry_has_a_host_and_a_path(said: str) -> None:
    """A slash at its end is no part of it."""
    assert registry.checked(said) == said.rstrip("/")


@pytest.mark.parametrize(
    "said", ["platform", "team/platform", "registry.example.org", "r.org/Team", "r.org//a", "a b.c/d"]
)
def test_what_is_no_registry_is_refused(said: str) -> None:
    """Its first word would be a folder of Docker Hub, or nothing that a registry takes."""
    with pytest.raises(UsageError, match=r"^--push: expected a registry and a path, e\.g\. "):
        registry.checked(said)


def test_pushes_and_digests_are_one_component(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A later one replaces its own entries alone; the overlay is to list it, and is told so until it does."""
    tag = dict(image.upstream for image in table.images().values())[CILIUM]
    pins.add("own", [pins.pushed("portal", "old.example.org/a"), pins.pushed("chat", PLACE)])
    pins.add("own", [pins.resolved(CILIUM, tag, DIGEST), pins.pushed("portal", PLACE)])

    said = capsys.readouterr().out
    assert said.count("list `- ./images` under components, after ../../.generated/images-upstream") == 2
    written = yaml.safe_load((own / "images" / overlays.KUSTOMIZATION).read_text("utf-8"))
    assert written["images"] == [
        {"name": f"{REPOSITORY}/chat", "newName": f"{PLACE}/chat"},
        {"name": f"{REPOSITORY}/portal", "newName": f"{PLACE}/portal"},
        {"name": CILIUM, "newTag": tag, "digest": DIGEST},
    ]
    assert (own / "images" / written["configurations"][0]).is_file()
    pins.refuse_old("own")

    (own / overlays.KUSTOMIZATION).write_text("components: [./images]\n", "utf-8")
    pins.add("own", [])
    assert "list" not in capsys.readouterr().out


def test_a_version_that_the_tree_has_left_is_refused(own: Path) -> None:
    """Its digest would hold the old one; an image of the operator's own is theirs."""
    pins.refuse_old("own")
    pins.add("own", [pins.resolved(CILIUM, "v1.0.0", DIGEST), pins.resolved("example.org/theirs", "v1", DIGEST)])

    with pytest.raises(RefusedError, match=rf"pins {CILIUM} at v1\.0\.0, the tree wants v.*--env=own --resolve`$"):
        pins.refuse_old("own")
    assert own.is_dir()


@pytest.mark.parametrize("text", ["images: 5", "- a", "{", "images: [{newName: x}]"])
def test_a_file_by_hand_is_told(own: Path, text: str) -> None:
    """With what to do, and never a traceback."""
    file = own / "images" / overlays.KUSTOMIZATION
    file.parent.mkdir()
    file.write_text(text, "utf-8")

    with pytest.raises(UsageError, match=r"kustomization\.yaml cannot be read; take the folder away and run "):
        pins.load("own")


def test_builds_that_nothing_brings_are_refused() -> None:
    """A few of them by name."""
    pins.refuse_ours("own", [])
    with pytest.raises(
        RefusedError, match=r"^own would run .* \(a, b, c and 1 more\): `invoke images --env=own --push"
    ):
        pins.refuse_ours("own", ["d", "b", "a", "c"])


def test_whoever_pulls_still_runs_our_own_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody publishes those; everything else is its project's."""
    monkeypatch.setattr(paths, "GENERATED", tmp_path)
    components.write()
    made, local = (yaml.safe_load(components.path(each).read_text("utf-8")) for each in SIDES)
    named = {entry["name"]: entry for entry in made["images"]}
    built = {entry["name"]: entry for entry in local["images"]}

    assert named[PORTAL] == built[PORTAL]
    assert built[PORTAL]["newName"] == f"{REPOSITORY}/portal"
    assert "newName" not in named[CILIUM]
    # Servers are other machines than this one.
    assert named[LLM]["newTag"] != built[LLM]["newTag"]


def test_whoever_pulls_takes_the_newer_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its images, and its manifests with them; what is built here keeps both of the older one."""
    monkeypatch.setattr(paths, "GENERATED", tmp_path)
    components.write()
    made, local = (yaml.safe_load(components.path(each).read_text("utf-8")) for each in SIDES)
    named, built = ({entry["name"]: entry["newTag"] for entry in each["images"]} for each in (made, local))
    newer, older = (table.program(each).version for each in ("cert-manager-current", "cert-manager"))

    assert named[CONTROLLER] == f"v{newer}"
    assert built[CONTROLLER].startswith(f"v{older}-")
    assert (made["components"], local["components"]) == (["../../base/certificates/current"], [])
    assert len({entry["name"] for entry in made["images"]}) == len(made["images"])


def test_an_image_on_demand_has_to_be_pushed(own: Path) -> None:
    """A cluster that somebody else formed pulls it from where it went."""
    row = table.images()["locust"]
    with pytest.raises(RefusedError, match=r"^own would run builds of ours .* \(locust\): `invoke images --env=own "):
        pins.provided("own", row)

    pins.add("own", [pins.pushed("locust", PLACE)])
    assert pins.provided("own", row).startswith(f"{PLACE}/locust:0.1.0-")
    assert own.is_dir()
