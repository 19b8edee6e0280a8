"""Which state of Debian the images stand on: chosen once, kept, and replaced on demand."""

from pathlib import Path

import pytest

from betelgeuse.builds import bases, images
from betelgeuse.errors import BuildError
from betelgeuse.programs import table

OLD = "Origin: Debian\nDate: Sat, 01 Aug 2026 10:00:00 UTC\n"
NEW = "Origin: Debian\nDate: Sat, 28 Nov 2026 10:00:00 UTC\n"


@pytest.fixture(autouse=True)
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of dates, and a program in apt-helper's place that gives them by suite."""
    helper = tmp_path / "helper"
    helper.write_text(f'#!/bin/sh\ncp "{tmp_path}/$(basename "$(dirname "$3")")" "$4"\n')
    helper.chmod(0o755)
    monkeypatch.setattr(bases, "HELPER", str(helper))
    monkeypatch.setattr(bases, "FOLDER", tmp_path / "bases")
    for name in ("trixie", "trixie-updates", "trixie-security"):
        (tmp_path / name).write_text(OLD)
    return tmp_path


def test_the_newest_part_of_a_suite_decides(archive: Path) -> None:
    """A security update is news."""
    (archive / "trixie-security").write_text(NEW)

    assert bases.current("trixie") == "2026-11-28T10:00:00+00:00"


def test_a_state_is_kept_until_newer_packages_are_asked_for(archive: Path) -> None:
    """A deploy changes no image by itself."""
    assert bases.settle(["trixie"]) == ["trixie"]
    (archive / "trixie-security").write_text(NEW)

    assert bases.settle(["trixie"]) == []
    assert bases.release("trixie") == "2026-08-01T10:00:00+00:00"
    assert bases.settle(["trixie"], refresh=True) == ["trixie"]
    assert bases.release("trixie") == "2026-11-28T10:00:00+00:00"
    assert bases.settle(["trixie"], refresh=True) == []


def test_newer_packages_are_a_rollout_of_what_stands_on_them(archive: Path) -> None:
    """By way of another image, too; nothing else changes."""
    names = ("portal", "pebble")
    bases.settle(["trixie"])
    before = {name: images.reference(table.images()[name]) for name in names}
    (archive / "trixie-security").write_text(NEW)
    bases.settle(["trixie"], refresh=True)
    after = {name: images.reference(table.images()[name]) for name in names}

    assert after["portal"] != before["portal"]
    assert after["pebble"] == before["pebble"]


def test_a_silent_archive_is_one_line(archive: Path) -> None:
    """With the address that was asked."""
    (archive / "trixie-updates").unlink()

    with pytest.raises(BuildError, match=r"trixie-updates/InRelease\): "):
        bases.settle(["trixie"])

    assert not bases.release("trixie")


def test_an_answer_without_a_date_is_one_line(archive: Path) -> None:
    """Somebody else's page, say."""
    (archive / "trixie").write_text("<html>")

    with pytest.raises(BuildError, match="has no line `Date:`"):
        bases.current("trixie")
