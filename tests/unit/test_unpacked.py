"""Python packages that are published as sources alone, and locks that go without them."""

import io
import tarfile
from pathlib import Path

import pytest

from betelgeuse import paths
from betelgeuse.builds import artifacts, pypi
from betelgeuse.errors import BuildError
from betelgeuse.programs import locks, table
from betelgeuse.programs.model import Build, File, Kind, Program, Source
from betelgeuse.workflows import lock


def _source(folder: Path, *files: str) -> Path:
    """Return a source package with these files."""
    path = folder / "thing-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name in files:
            entry = tarfile.TarInfo(f"thing-1.0/{name}")
            tar.addfile(entry, io.BytesIO(b""))
    return path


def _program(folder: Path) -> Program:
    (folder / locks.PYPI).write_text(f"thing==1.0 \\\n    --hash=sha256:{'a' * 64}\n", "utf-8")
    return Program("things", folder, "1.0", Source(pypi=("thing==1.0",), build=Build.UNPACKED))


def test_packages_come_out_of_their_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can be imported is taken, and neither its tests nor what would build it."""
    found = _source(tmp_path, "setup.py", "thing/__init__.py", "thing/more.py", "tests/__init__.py", "docs/conf.py")
    monkeypatch.setattr(pypi, "download", lambda _program, _package: found)
    out = tmp_path / "out"
    out.mkdir()

    artifacts._unpacked(_program(tmp_path), out)

    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.py")) == [
        "thing/__init__.py",
        "thing/more.py",
    ]


def test_source_without_a_package_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source package of a single module, or with its code elsewhere, is told by name."""
    found = _source(tmp_path, "setup.py", "src/thing/__init__.py")
    monkeypatch.setattr(pypi, "download", lambda _program, _package: found)
    out = tmp_path / "out"
    out.mkdir()

    with pytest.raises(BuildError, match="the source of thing has no Python package at its top"):
        artifacts._unpacked(_program(tmp_path), out)


def test_source_packages_are_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is a folder of its name, without the version that an archive has at its top; a wheel is refused by name."""
    found = _source(tmp_path, "setup.py", "ui/index.html")
    monkeypatch.setattr(pypi, "download", lambda _program, _package: found)
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    program = _program(tmp_path)
    file = File("things", Kind.SDIST, "thing/ui")
    monkeypatch.setattr(table, "program", lambda _name: program)

    assert artifacts.resolve(file).joinpath("index.html").is_file()

    found = tmp_path / "thing-1.0-py3-none-any.whl"
    (tmp_path / locks.PYPI).write_text(f"thing==1.0 \\\n    --hash=sha256:{'b' * 64}\n", "utf-8")
    with pytest.raises(BuildError, match=r"thing-1\.0-py3-none-any\.whl is no source package"):
        artifacts.resolve(file)


@pytest.mark.parametrize("there", [True, False])
def test_overrides_go_into_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, there: bool) -> None:
    """A folder's overrides are given to uv, and nothing where there are none."""
    program = Program("thing", tmp_path, "1.0", Source(pypi=("thing==1.0",)))
    overrides = tmp_path / locks.OVERRIDES
    if there:
        overrides.write_text("other==2.0\n", "utf-8")
    asked: list[list[str]] = []
    monkeypatch.setattr(lock, "run", lambda argv, **_: asked.append(argv))
    monkeypatch.setattr(table, "program", lambda _name: program)
    monkeypatch.setattr(paths, "ROOT", tmp_path)

    lock.lock("thing")

    (argv,) = asked
    given = argv[argv.index("--override") + 1] if "--override" in argv else ""
    assert given == (str(overrides) if there else "")
