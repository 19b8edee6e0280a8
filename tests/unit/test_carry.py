"""A build cache goes to another machine as one file: whole, verified, or not at all."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from betelgeuse import paths
from betelgeuse.builds import carry
from betelgeuse.builds.store import place, produce
from betelgeuse.errors import BuildError, UsageError

INPUTS = {"image": "llm"}


def _make(out: Path) -> None:
    (out / "bin").mkdir()
    (out / "bin" / "program").write_text("runs")
    (out / "bin" / "program").chmod(0o755)
    (out / "image.tar").write_bytes(b"layers" * 1000)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Move to a machine with a cache of its own."""

    def use(name: str) -> Path:
        monkeypatch.setattr(paths, "CACHE", tmp_path / name)
        return tmp_path / name

    return use


@pytest.fixture
def file(tmp_path: Path, machine: Callable[[str], Path]) -> Path:
    """A build cache that one machine exported; the test goes on at another one."""
    cache = machine("first")
    (cache / "bases").mkdir(parents=True)
    (cache / "bases" / "trixie").write_text("2026-11-27\n")
    assert carry.export(tmp_path / "cache.tar", [produce("image-llm", INPUTS, _make)]) == 1
    machine("second")
    return tmp_path / "cache.tar"


def _kept() -> list[str]:
    return sorted(str(path.relative_to(paths.CACHE)) for path in paths.CACHE.rglob("*") if path.is_file())


def test_results_are_there_on_the_other_machine(file: Path) -> None:
    """Nothing is made again: the same inputs find the same files, with their modes and the suites' states."""
    assert carry.take(file) == 1

    def never(_: Path) -> None:
        pytest.fail("made again")

    folder = produce("image-llm", INPUTS, never)
    assert (folder / "bin" / "program").stat().st_mode & 0o111
    assert (folder / "image.tar").read_bytes() == b"layers" * 1000
    assert (paths.CACHE / "bases" / "trixie").read_text() == "2026-11-27\n"
    assert carry.take(file) == 0


def test_what_is_not_built_is_not_exported(tmp_path: Path, machine: Callable[[str], Path]) -> None:
    """An export that lacked something would end in a build on the other machine."""
    machine("first")
    with pytest.raises(BuildError, match=r"image-llm-[0-9a-f]+ among them: run `invoke images` first"):
        carry.export(tmp_path / "cache.tar", [place("image-llm", INPUTS)])

    assert list(tmp_path.glob("*cache.tar*")) == []


def _changed(content: bytes) -> bytes:
    return content.replace(b"layers", b"LAYERS", 1)


def _foreign(_: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("etc/passwd"))
    return out.getvalue()


def _escaping(_: bytes) -> bytes:
    out = io.BytesIO()
    listed = b'{"../../etc/passwd": "0"}'
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("betelgeuse-build-cache.json")
        info.size = len(listed)
        tar.addfile(info, io.BytesIO(listed))
    return out.getvalue()


WRONG: list[tuple[str, Callable[[bytes], bytes], str]] = [
    ("changed", _changed, "has another sha256 than its list says"),
    ("cut off", lambda content: content[: len(content) // 2], "is no whole tar file|is cut off"),
    ("cut off between files", lambda content: content[: content.index(b"layers") - 512] + bytes(1024), "is cut off"),
    ("no tar", lambda _: b"hello", "is no whole tar file"),
    ("empty", lambda _: b"", "is no whole tar file"),
    ("another tar", _foreign, "is no build cache"),
    ("a way out", _escaping, "which is no part of a build cache"),
]


@pytest.mark.parametrize(("change", "said"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_a_wrong_file_changes_nothing(file: Path, change: Callable[[bytes], bytes], said: str) -> None:
    """One line says what is wrong with it, and the cache is as it was."""
    file.write_bytes(change(file.read_bytes()))

    with pytest.raises(UsageError, match=said) as refused:
        carry.take(file)

    assert "\n" not in str(refused.value)
    assert _kept() == []


def test_a_file_that_is_not_there_is_one_line(machine: Callable[[str], Path], tmp_path: Path) -> None:
    """With the reason."""
    machine("second")
    with pytest.raises(UsageError, match=r"no\.tar: cannot be read.*No such file"):
        carry.take(tmp_path / "no.tar")


def test_what_is_there_already_stays(file: Path) -> None:
    """A result of the same inputs is the same, and may be in use."""

    def make(out: Path) -> None:
        (out / "image.tar").write_text("mine")

    mine = produce("image-llm", INPUTS, make)

    assert carry.take(file) == 0
    assert (mine / "image.tar").read_text() == "mine"
