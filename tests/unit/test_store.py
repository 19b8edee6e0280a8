"""Results are named by what they were made from, appear whole, and are made once."""

from pathlib import Path

import pytest

from betelgeuse import paths
from betelgeuse.builds.store import hash_tree, key_of, produce


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test a store of its own."""
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    return tmp_path


def test_same_inputs_are_made_once() -> None:
    """The second call returns the first one's folder without work."""
    calls: list[Path] = []

    def make(out: Path) -> None:
        calls.append(out)
        (out / "result").write_text("x")

    first = produce("thing", {"a": 1}, make)
    second = produce("thing", {"a": 1}, make)

    assert first == second
    assert len(calls) == 1
    assert (first / "result").read_text() == "x"


def test_other_inputs_are_another_result() -> None:
    """A change of any input changes the name."""
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})
    assert key_of({"a": 1}) != key_of({"a": 2})


def test_failed_make_leaves_no_result(cache: Path) -> None:
    """What stopped half way is not taken for a result, and the next try starts from an empty folder."""

    def half(out: Path) -> None:
        (out / "half").write_text("x")
        message = "killed"
        raise OSError(message)

    def whole(out: Path) -> None:
        assert list(out.iterdir()) == []

    with pytest.raises(OSError, match="killed"):
        produce("thing", {}, half)
    assert not [path for path in (cache / "store").iterdir() if not path.name.startswith(".")]

    assert produce("thing", {}, whole).is_dir()


def test_tree_hash_sees_names_modes_and_contents(tmp_path: Path) -> None:
    """Each of the three changes the hash."""
    folder = tmp_path / "tree"
    folder.mkdir()
    file = folder / "a"
    file.write_text("1")
    hashes = [hash_tree(folder)]
    file.chmod(0o755)
    hashes.append(hash_tree(folder))
    file.write_text("2")
    hashes.append(hash_tree(folder))
    file.rename(folder / "b")
    hashes.append(hash_tree(folder))

    assert len(set(hashes)) == len(hashes)
