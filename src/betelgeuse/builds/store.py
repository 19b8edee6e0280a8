"""The content-addressed store: a result's folder is named by what it was made from, so nothing is made twice."""

import fcntl
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from betelgeuse import paths
from betelgeuse.progress import step

_KEY_LENGTH: Final = 16
_TAIL: Final = 1000
_SHOWN: Final = 60


def key_of(inputs: Mapping[str, object]) -> str:
    """Return the key of a result: the hash of everything that decides what it is."""
    canonical = json.dumps(inputs, sort_keys=True, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:_KEY_LENGTH]


def hash_tree(folder: Path) -> str:
    """Return a hash of names, modes and contents below a folder (or of one file)."""
    digest = hashlib.sha256()
    # What Python leaves beside its sources is no content.
    inner = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    files = [folder] if folder.is_file() else sorted(inner)
    for path in files:
        name = path.name if path == folder else str(path.relative_to(folder))
        executable = bool(path.stat().st_mode & 0o100)
        digest.update(f"{name}\0{executable}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def place(name: str, inputs: Mapping[str, object]) -> Path:
    """Return where a result with these inputs lives, made or not."""
    return paths.CACHE / "store" / f"{name}-{key_of(inputs)}"


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Let one process at a time make a result; the kernel frees the lock when its holder dies."""
    lock = paths.CACHE / "locks" / target.name
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _last_line(log: Path) -> str:
    """Return the end of a log's last line: `[77/126] Building …` or the package a compiler is at."""
    try:
        with log.open("rb") as handle:
            handle.seek(max(0, log.stat().st_size - _TAIL))
            lines = handle.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip()[:_SHOWN] for line in reversed(lines) if line.strip()), "")


def produce(name: str, inputs: Mapping[str, object], make: Callable[[Path], None]) -> Path:
    """Return the folder of a result, made by `make(folder)` unless it is there already.

    The folder appears whole or not at all: it is made under another name and renamed, so a kill leaves nothing half.
    `seconds` and the inputs are kept beside it for the build report.
    """
    target = place(name, inputs)
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with _alone(target):
        if target.is_dir():
            return target
        unfinished = target.with_name(f".unfinished-{target.name}")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        begin = time.monotonic()
        with step(f"build {name}", lambda: _last_line(paths.CACHE / "logs" / f"{name}.log")):
            make(unfinished)
        record = {"name": name, "seconds": round(time.monotonic() - begin, 1), "inputs": dict(inputs)}
        target.with_suffix(".json").write_text(json.dumps(record, indent=1, default=str))
        unfinished.rename(target)
    return target
