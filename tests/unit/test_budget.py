"""Every profile states what it needs."""

from pathlib import Path

import pytest

from betelgeuse import budget, paths
from betelgeuse.errors import UsageError


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
