"""A deploy starts only on a machine that has what the profile needs."""

from pathlib import Path

import pytest

from betelgeuse import budget, paths
from betelgeuse.budget import Budget, Machine
from betelgeuse.errors import RefusedError, UsageError

NEED = Budget(cpu=2, memory_gib=4, disk_gib=16, build_minutes=30)


@pytest.mark.parametrize(
    ("machine", "warm", "words"),
    [
        (Machine(2, 23.4, 80), False, []),
        (Machine(1, 23.4, 80), False, ["2 cores needed, 1.0 there"]),
        (Machine(2, 3.9, 80), False, ["4 GiB of memory needed, 3.9 there"]),
        (Machine(2, 8, 5), False, ["16 GiB of free disk needed, 5.0 there"]),
        (Machine(2, 8, 5), True, []),
        (Machine(2, 8, 3), True, ["4 GiB of free disk needed, 3.0 there"]),
        (Machine(1, 1, 1), False, ["cores", "memory", "disk"]),
    ],
    ids=["enough", "cores", "memory", "disk", "warm", "warm-disk", "all"],
)
def test_shortfalls_name_what_is_missing(machine: Machine, words: list[str], *, warm: bool) -> None:
    """Each lack is one clause with both numbers and a fix."""
    lacking = budget.shortfalls(NEED, machine, warm=warm)

    assert len(lacking) == len(words)
    assert all(word in text for word, text in zip(words, lacking, strict=True))


def test_every_environment_names_a_profile_with_a_budget() -> None:
    """All overlays of the tree deploy a profile whose budget reads."""
    profiles = {budget.profile_of(folder.name) for folder in paths.OVERLAYS.iterdir() if folder.is_dir()}

    assert profiles
    assert all(budget.load(profile).cpu > 0 for profile in profiles)


@pytest.mark.parametrize("text", ["", "budget: 3", "budget: {cpu: 2}", "budget: {cpu: a}", "- x", "a: [", ": :"])
def test_wrong_profile_is_one_line(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged profile file is named, with the keys it needs."""
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    (tmp_path / "profiles/p").mkdir(parents=True)
    (tmp_path / "profiles/p/profile.yaml").write_text(text)

    with pytest.raises(UsageError, match=r"profiles/p/profile\.yaml.*build_minutes"):
        budget.load("p")


def test_check_refuses_with_the_profile_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal says which profile wanted it."""
    monkeypatch.setattr(budget, "this_machine", lambda: Machine(1, 1, 1))

    with pytest.raises(RefusedError, match="profile core"):
        budget.check("local", warm=False)


def test_this_machine_is_measured() -> None:
    """The measurement gives a machine that exists."""
    machine = budget.this_machine()

    assert machine.cpu >= 1
    assert machine.memory_gib > 0
