"""A finished build cache as one file: built on one machine, deployed on others.

The file is a tar whose first member lists every other one with its sha256. What it holds is used where the same inputs
ask for it; a machine with another compiler or processor builds the rest itself (with BETELGEUSE_PORTABLE=1 on both, any
x86-64-v3 processor will do).
"""

import hashlib
import io
import json
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from betelgeuse import paths
from betelgeuse.builds.archive import sha256_of
from betelgeuse.errors import BuildError, UsageError
from betelgeuse.progress import step

_LIST: Final = "betelgeuse-build-cache.json"
_CHUNK: Final = 1 << 20
_BASES: Final = "bases"
"""States of Debian suites: content keys of images depend on them."""


def _files(places: Iterable[Path]) -> Iterator[Path]:
    """Yield the files of results, with what the store noted beside each."""
    for place in places:
        yield from (path for path in sorted(place.rglob("*")) if path.is_file() and not path.is_symlink())
        if (record := place.with_suffix(".json")).is_file():
            yield record
    yield from sorted((paths.CACHE / _BASES).glob("[!.]*"))


def export(file: Path, places: Iterable[Path]) -> int:
    """Write results (folders of the store) into a file; return how many. BuildError where one is not built yet."""
    results = sorted(set(places))
    if missing := [place.name for place in results if not place.is_dir()]:
        message = f"{len(missing)} results are not built yet, {missing[0]} among them: run `invoke images` first"
        raise BuildError(message)
    with step(f"write {file}"):
        found = list(_files(results))
        listed = {str(path.relative_to(paths.CACHE)): sha256_of(path) for path in found}
        # Whole or not at all: an interrupted export leaves no file that looks like one.
        draft = file.with_name(f".{file.name}.new")
        with tarfile.open(draft, "w", format=tarfile.GNU_FORMAT) as tar:
            head = json.dumps(listed, indent=0).encode()
            info = tarfile.TarInfo(_LIST)
            info.size = len(head)
            tar.addfile(info, io.BytesIO(head))
            for path in found:
                tar.add(path, str(path.relative_to(paths.CACHE)), recursive=False)
        draft.rename(file)
    return len(results)


def _wrong(file: Path, what: str) -> UsageError:
    return UsageError(f"{file}: {what}; nothing was taken from it")


def _listed(file: Path, tar: tarfile.TarFile) -> dict[str, str]:
    """Return the sha256 of each file by its place in the cache."""
    first = tar.next()
    content = tar.extractfile(first) if first is not None and first.name == _LIST else None
    try:
        found = json.loads(content.read()) if content is not None else None
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise _wrong(file, "is no build cache that `invoke images --export` wrote")
    for name in found:
        if Path(name).is_absolute() or ".." in Path(name).parts or Path(name).parts[0] not in {"store", _BASES}:
            raise _wrong(file, f"holds {name!r}, which is no part of a build cache")
    return found


def _unpack(file: Path, tar: tarfile.TarFile, listed: dict[str, str], folder: Path) -> None:
    """Write what is listed below a folder, each file compared with its sha256."""
    left = dict(listed)
    while (member := tar.next()) is not None:
        expected, content = left.pop(member.name, ""), tar.extractfile(member)
        if not expected or content is None or not member.isfile():
            raise _wrong(file, f"holds {member.name!r}, which its list does not name")
        target = folder / member.name
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with target.open("wb") as out:
            while chunk := content.read(_CHUNK):
                digest.update(chunk)
                out.write(chunk)
        target.chmod(0o755 if member.mode & 0o100 else 0o644)
        if digest.hexdigest() != expected:
            raise _wrong(file, f"{member.name} has another sha256 than its list says: it is damaged or was changed")
    if left:
        raise _wrong(file, f"lacks {min(left)}, which its list names: it is cut off")


def take(file: Path) -> int:
    """Put the results of a file into this machine's cache, verified; return how many are new.

    UsageError for a file that is damaged, cut off or no build cache: then the cache is as it was.
    """
    (paths.CACHE / "store").mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".import-", dir=paths.CACHE))
    try:
        with step(f"read {file}"), tarfile.open(file, "r:") as tar:
            _unpack(file, tar, _listed(file, tar), folder)
        return _place(folder)
    except (tarfile.TarError, EOFError) as error:
        raise _wrong(file, f"is no whole tar file: {error}") from None
    except OSError as error:
        raise _wrong(file, f"cannot be read, or the cache not written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _place(folder: Path) -> int:
    """Move verified results into the store, each in one step; the states of Debian's suites follow the last import."""
    new = 0
    for result in sorted(path for path in (folder / "store").glob("*") if path.is_dir()):
        target = paths.CACHE / "store" / result.name
        if target.exists():
            continue
        if (record := result.with_suffix(".json")).is_file():
            record.rename(target.with_suffix(".json"))
        result.rename(target)
        new += 1
    (paths.CACHE / _BASES).mkdir(exist_ok=True)
    for state in (folder / _BASES).glob("*"):
        state.rename(paths.CACHE / _BASES / state.name)
    return new
