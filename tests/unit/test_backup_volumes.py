"""Backups of a volume's files: what is declared, and the two scripts with the real tar, on folders of their own."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from betelgeuse.errors import UsageError
from betelgeuse.kube import Obj
from betelgeuse.tree import backups as declarations

_TAR = shutil.which("tar") or "tar"
_OTHER = f"""#!/bin/sh
case "$1" in --version) echo 'tar of another maker' >&2; exit 1;; esac
exec {_TAR} "$@"
"""


def _declared(text: str) -> Obj:
    meta = {"name": "wiki", "namespace": "apps", "annotations": {declarations.ANNOTATION: text}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta}


def _backup(volume: Path, *folders: str) -> declarations.Backup:
    text = f"name: wiki\nmethod: volume\npods: app=wiki\npath: {volume}\nfolders: [{', '.join(folders)}]\n"
    return declarations.backups([_declared(text)])["wiki"]


def _write(root: Path, files: Mapping[str, str]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content, "utf-8")


def _read(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text("utf-8") for path in root.rglob("*") if path.is_file()}


def _run(argv: Sequence[str], given: bytes = b"", path: str = "") -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}"}
    return subprocess.run(  # noqa: S603 - scripts of the tree's own and tar
        argv, check=False, capture_output=True, input=given, env=environment
    )


def _dump(one: declarations.Backup, path: str = "") -> bytes:
    done = _run(one.dump, path=path)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


def _load(one: declarations.Backup, copy: bytes) -> subprocess.CompletedProcess[bytes]:
    return _run(one.load, copy)


_FILES = {"git/a/HEAD": "ref", "git/a/refs/heads/main": "1", "git/a/objects/1": "content", "cache/x": "gone"}


@pytest.fixture(params=["gnu", "another"])
def tar(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder with the pod's tar: GNU's, or one that knows no long options."""
    folder = tmp_path / "bin"
    folder.mkdir()
    if request.param == "another":
        (folder / "tar").write_text(_OTHER, "utf-8")
        (folder / "tar").chmod(0o755)
    return str(folder)


def test_folders_come_back_as_they_were(tmp_path: Path, tar: str) -> None:
    """A restore replaces the named folders, files and modes and links, and leaves the rest of the volume alone."""
    volume = tmp_path / "volume"
    _write(volume, _FILES)
    (volume / "git/a/hook").symlink_to("HEAD")
    (volume / "git/a/HEAD").chmod(0o640)
    one = _backup(volume, "git")
    copy = _dump(one, tar)

    _write(volume, {"git/a/HEAD": "other", "git/b/HEAD": "later", "cache/x": "newer"})
    shutil.rmtree(volume / "git/a/objects")
    done = _load(one, copy)

    assert (done.returncode, done.stderr) == (0, b"")
    assert _read(volume) == {**_FILES, "git/a/hook": "ref", "cache/x": "newer"}
    assert (volume / "git/a/hook").is_symlink()
    assert (volume / "git/a/HEAD").stat().st_mode & 0o777 == 0o640


def test_a_whole_volume_comes_back(tmp_path: Path, tar: str) -> None:
    """Without folders it is everything; what came later is gone."""
    volume = tmp_path / "volume"
    _write(volume, {**_FILES, "with space/'x' y": "z", ".hidden": "h"})
    one = _backup(volume)
    copy = _dump(one, tar)
    _write(volume, {"later": "1", ".later": "2", "git/a/HEAD": "other"})

    assert _load(one, copy).returncode == 0
    assert _read(volume) == {**_FILES, "with space/'x' y": "z", ".hidden": "h"}
    assert not (volume / ".restored").exists()
    assert not (volume / ".before").exists()


def test_references_come_before_what_they_name(tmp_path: Path, tar: str) -> None:
    """Git adds objects and then moves a reference: read in the other order, no copied reference names a missing one."""
    _write(tmp_path / "volume", {**_FILES, "git/a/packed-refs": "p"})
    archive = tmp_path / "copy.tar"
    archive.write_bytes(_dump(_backup(tmp_path / "volume", "git"), tar))
    listed = _run([_TAR, "--list", "--file", str(archive)]).stdout.decode().split()

    order = [listed.index(f"git/a/{name}") for name in ("refs/heads/main", "packed-refs", "objects/1")]
    assert order == sorted(order)


@pytest.mark.parametrize("folders", [(), ("git",)])
@pytest.mark.parametrize("bad", [b"", b"no archive", "cut"])
def test_a_bad_copy_changes_nothing(tmp_path: Path, folders: tuple[str, ...], bad: bytes | str) -> None:
    """Empty, foreign or cut short: it is refused, and what was there is there."""
    volume = tmp_path / "volume"
    _write(volume, _FILES | {"git/large": "x" * 100_000})
    one = _backup(volume, *folders)
    copy = _dump(one)[:50_000] if isinstance(bad, str) else bad
    before = _read(volume)

    assert _load(one, copy).returncode != 0
    assert _read(volume) == before


@pytest.mark.parametrize("folders", [(), ("git", "cache")])
def test_a_killed_restore_is_finished_by_the_next(tmp_path: Path, folders: tuple[str, ...]) -> None:
    """What it had set aside is not lost, whether the next one is good or bad."""
    volume = tmp_path / "volume"
    _write(volume, _FILES)
    one = _backup(volume, *folders)
    copy = _dump(one)
    (volume / ".before").mkdir()
    (volume / "git").rename(volume / ".before/git")
    if folders:
        _write(volume, {"git/half": "loaded"})

    assert _load(one, b"no archive").returncode != 0
    if folders:
        assert _read(volume) == _FILES
    assert _load(one, copy).returncode == 0
    assert _read(volume) == _FILES


def test_a_missing_folder_makes_no_copy(tmp_path: Path) -> None:
    """A copy without what was asked for would be one that nobody misses until it is needed."""
    _write(tmp_path, _FILES)
    one = _backup(tmp_path, "git", "attachments")
    done = _run(one.dump)

    assert (done.returncode != 0, done.stdout) == (True, b"")
    assert b"has no folder attachments" in done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path: /data", "pods is missing"),
        ("pods: a=b", "path must be where the pod has its volume, got 'None'"),
        ("pods: a=b\npath: data", "path must be where the pod has its volume, got 'data'"),
        ("pods: a=b\npath: /data\nfolders: git", "folders must be a list of paths below /data"),
        ("pods: a=b\npath: /data\nfolders: [../etc]", "folders must be a list of paths below /data"),
        ("pods: a=b\npath: /data\nfolders: [-delete]", "folders must be a list of paths below /data"),
        ("pods: a=b\npath: /data\nfolders: [/data/git]", "folders must be a list of paths below /data"),
    ],
)
def test_a_wrong_volume_is_told(text: str, said: str) -> None:
    """One line names the field."""
    with pytest.raises(UsageError) as caught:
        declarations.backups([_declared(f"name: wiki\nmethod: volume\n{text}")])

    assert said in str(caught.value)


def test_fields_of_a_volume_are_for_volumes() -> None:
    """Another method would not heed them."""
    with pytest.raises(UsageError, match="path is no field of the method"):
        declarations.backups([_declared("name: wiki\nmethod: postgres\npods: a=b\npath: /data")])
