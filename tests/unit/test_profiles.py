"""Profiles: which areas, what they need of each other and of the machine, and what is said when something is wrong."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from betelgeuse import paths, profiles, settings
from betelgeuse.errors import UsageError
from betelgeuse.profiles import Budget

Write = Callable[[str, str], None]

FILES = {
    "base/kustomization.yaml": "resources: [net, auth, db, notes]\n",
    "base/net/kustomization.yaml": "resources: [namespace.yaml]\n",
    "base/net/namespace.yaml": "kind: Namespace\nmetadata: {name: kube-system}\n",
    "base/auth/kustomization.yaml": "namespace: login\n",
    "base/db/kustomization.yaml": "namespace: db\n",
    "base/notes/kustomization.yaml": "namespace: notes\n",
    "base/net/area.yaml": "needs: []\nbudget: {cpu: 1.1, memory_gib: 2.2, disk_gib: 10, build_minutes: 20}\n",
    "base/auth/area.yaml": "needs: [net]\nbudget: {cpu: 0.1, memory_gib: 1, disk_gib: 3, build_minutes: 2}\n",
    "base/db/area.yaml": "needs: [net]\nbudget: {cpu: 0.1, memory_gib: 0.1, disk_gib: 1, build_minutes: 1}\n",
    "base/notes/area.yaml": "needs: [auth, db]\nbudget: {cpu: 0, memory_gib: 0, disk_gib: 0, build_minutes: 0}\n",
    "profiles/core/kustomization.yaml": "resources:\n  - ../../base/net\n  - ../../base/auth\n",
    "profiles/data/kustomization.yaml": "resources:\n  - ../core\n  - ../../base/db\n",
    "profiles/full/kustomization.yaml": "resources:\n  - ../../base\n",
    "overlays/local/kustomization.yaml": "resources: [../../profiles/core, own.yaml]\npatches: [{path: p.yaml}]\n",
    "overlays/local/environment.env": "DOMAIN=a.b\n",
}


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Make a small tree; return what writes one of its files anew."""

    def put(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    for name, text in FILES.items():
        put(name, text)
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "OVERLAYS", tmp_path / "overlays")
    return put


def test_a_profile_is_the_sum_of_its_areas(write: Write) -> None:
    """Areas come in their order, other profiles' included; what they need adds up as people add.

    A control plane wants two cores, however little the areas want.
    """
    del write
    found = profiles.load("data")

    assert [area.name for area in found.areas] == ["net", "auth", "db"]
    assert found.budget == Budget(cpu=2, memory_gib=3.3, disk_gib=14, build_minutes=23)
    assert str(found) == f"profile data: net, auth, db; needs {found.budget}"
    assert str(found.budget) == "2 cores, 3.3 GiB of memory, 14 GiB of disk, 23 minutes to build everything"
    assert [area.name for area in profiles.load("full").areas] == ["net", "auth", "db", "notes"]
    assert profiles.names() == ["core", "data", "full"]


def test_smaller_profiles_are_parts(write: Write) -> None:
    """Those with a part of the areas and none beside them, largest first."""
    write("profiles/other/kustomization.yaml", "resources:\n  - ../../base/net\n  - ../../base/db\n")

    assert [part.name for part in profiles.smaller(profiles.load("full"))] == ["data", "core", "other"]
    assert [part.name for part in profiles.smaller(profiles.load("data"))] == ["core", "other"]
    assert profiles.smaller(profiles.load("core")) == ()


def test_who_runs_what(write: Write) -> None:
    """By area, and by the namespace that the area has, whichever way it states it."""
    del write

    assert profiles.having("db") == ["data", "full"]
    assert profiles.having("nothing") == []
    assert profiles.serving("kube-system") == profiles.serving("login") == ["core", "data", "full"]
    assert profiles.serving("db") == ["data", "full"]
    assert profiles.serving("strange") == []


AREA = "base/db/area.yaml: expected a list `needs` and a `budget` of exactly the numbers cpu, memory_gib, disk_gib"
NUMBERS = "cpu: 1, memory_gib: 1, disk_gib: 1"
CORE = "profiles/core/kustomization.yaml"


@pytest.mark.parametrize(
    ("file", "text", "line"),
    [
        (
            CORE,
            "resources: [../../base/net, ../../base/notes, ../../base/db]",
            f"{CORE}: area notes needs area auth, which profile core lacks and full has",
        ),
        (
            "base/db/area.yaml",
            f"needs: [nett]\nbudget: {{{NUMBERS}, build_minutes: 1}}",
            "base/db/area.yaml: needs an area 'nett' that base/ lacks; did you mean 'net'?",
        ),
        (
            "profiles/data/kustomization.yaml",
            "resources: [../core, ../../base/db, ../../base/net]",
            "profiles/data/kustomization.yaml: area net comes twice; a profile that it builds on lists it already",
        ),
        (CORE, "resources: [../data]", f"{CORE}: a profile that contains itself"),
        (CORE, "resources: [../../components/x]", f"{CORE}: ../../components/x is neither an area"),
        ("profiles/data/kustomization.yaml", "resources: [", "profiles/data/kustomization.yaml: cannot be read: "),
        ("base/db/area.yaml", "", AREA),
        ("base/db/area.yaml", "- x", AREA),
        ("base/db/area.yaml", "needs: []", AREA),
        ("base/db/area.yaml", "needs: []\nbudget: 3", AREA),
        ("base/db/area.yaml", f"needs: []\nbudget: {{{NUMBERS}}}", AREA),
        ("base/db/area.yaml", f"needs: []\nbudget: {{{NUMBERS}, build_minutes: a}}", AREA),
        ("base/db/area.yaml", f"needs: []\nbudget: {{{NUMBERS}, build_minutes: -1}}", AREA),
        ("base/db/area.yaml", f"needs: []\nbudget: {{{NUMBERS}, build_minutes: 1, gpus: 1}}", AREA),
        ("base/db/area.yaml", f"needs: net\nbudget: {{{NUMBERS}, build_minutes: 1}}", AREA),
        ("base/db/area.yaml", f"need: []\nneeds: []\nbudget: {{{NUMBERS}, build_minutes: 1}}", AREA),
    ],
)
def test_what_is_wrong_is_one_line(write: Write, file: str, text: str, line: str) -> None:
    """The file, what is the matter, and who has what is missing; before anything is rendered or built."""
    write(file, text)

    with pytest.raises(UsageError) as refusal:
        profiles.load("core" if file == CORE else "data")

    assert str(refusal.value).startswith(line)
    assert "\n" not in str(refusal.value)


def test_an_area_nobody_has_is_told_so(write: Write) -> None:
    """There may be no profile to point to."""
    write("base/db/area.yaml", FILES["base/db/area.yaml"].replace("[net]", "[lone]"))
    write("base/lone/kustomization.yaml", "")

    with pytest.raises(UsageError, match="needs area lone, which profile data lacks and no profile has"):
        profiles.load("data")


def test_an_unknown_profile_is_refused(write: Write) -> None:
    """With what it could have been."""
    del write

    with pytest.raises(UsageError, match=r"unknown profile 'ful'; did you mean 'full'\? \(profiles/ has: core, data, "):
        profiles.load("ful")


def test_an_overlay_names_one_profile(write: Write) -> None:
    """Neither none nor two."""
    assert profiles.default("local") == "core"
    write("overlays/local/kustomization.yaml", "resources: [../../profiles/core, ../../profiles/data]")

    with pytest.raises(UsageError, match=re.escape("expected one resource ../../profiles/<name>, got core, data")):
        profiles.default("local")


def test_another_profile_is_a_copy_with_one_line_changed(write: Write) -> None:
    """It lies as deep as the original, has its files, and is gone afterwards."""
    write("overlays/local/p.yaml", "a: b\n")
    with profiles.overlay("local", "core") as own, profiles.overlay("local", "") as plain:
        assert own == plain == paths.OVERLAYS / "local"

    with profiles.overlay("local", "data") as copy:
        content = yaml.safe_load((copy / "kustomization.yaml").read_text())
        assert (copy / content["resources"][0]).resolve() == paths.ROOT / "profiles" / "data"
        assert content == {"resources": ["../../profiles/data", "own.yaml"], "patches": [{"path": "p.yaml"}]}
        assert (copy / "p.yaml").read_text() == "a: b\n"
        assert (copy / "environment.env").read_text() == "DOMAIN=a.b\n"

    assert not copy.exists()


def test_a_component_of_an_area_goes_with_it(write: Write) -> None:
    """What changes an area is left out where there is none to change; what belongs to no area stays."""
    write(
        "overlays/local/kustomization.yaml",
        "resources: [../../profiles/full]\n"
        "components: [../../components/ca, ../../base/db/other, ../../base/net/sizes]\n",
    )

    with profiles.overlay("local", "data") as whole, profiles.overlay("local", "core") as part:
        kept = [yaml.safe_load((each / "kustomization.yaml").read_text())["components"] for each in (whole, part)]

    assert kept[0] == ["../../components/ca", "../../base/db/other", "../../base/net/sizes"]
    assert kept[1] == ["../../components/ca", "../../base/net/sizes"]


# --- the tree's own


def test_full_is_everything() -> None:
    """Every area of base/ is in `full`, and so is every area of every other profile."""
    full = {area.name for area in profiles.load("full").areas}

    assert full == set(profiles.areas())
    assert set(profiles.names()) == {"core", "data", "observability", "tools", "full"}


@pytest.mark.parametrize("name", profiles.names())
def test_profiles_of_the_tree_are_complete(name: str) -> None:
    """Nothing is missing, core is in each, and each asks for something."""
    found = profiles.load(name)

    assert {area.name for area in profiles.load("core").areas} <= {area.name for area in found.areas}
    assert found.budget.cpu >= 2


def test_core_is_what_was_measured() -> None:
    """The shares of its areas add up to it."""
    assert profiles.load("core").budget == Budget(cpu=2, memory_gib=5, disk_gib=21, build_minutes=44)


def test_environments_choose() -> None:
    """Machines of one's own run core, servers run everything."""
    chosen = {env: profiles.default(env) for env in settings.environments()}

    assert chosen == {"local": "core", "kind": "core", "single-node": "full", "hetzner": "full", "rehearsal": "core"}
