"""Files from Maven's central repository: programs whose distribution is published nowhere else that we reach.

They are fetched by Maven itself, so that mirrors and proxies of the user's settings.xml apply, and verified by a lock
of ours: Maven checks that a file is what its repository says, not that it is what we reviewed.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from betelgeuse import paths
from betelgeuse.builds.archive import extract, sha256_of
from betelgeuse.builds.pins import Pin, pin, pins
from betelgeuse.builds.store import produce
from betelgeuse.errors import BetelgeuseError, BuildError, UsageError
from betelgeuse.progress import step
from betelgeuse.shell import run

LOCK: Final = paths.ROOT / "images" / "maven.lock.yaml"
_FIELDS: Final = {"artifact", "sha256"}
_PARTS: Final = 4
_COPY: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
_SECONDS: Final = 900
_ABSENT: Final = ("could not find artifact", "status code: 403", "status code: 404", "status: 403", "status: 404")


def _entry(name: str) -> Pin:
    """Return what is locked; the whole lock is checked, so that a wrong line is told before it is needed."""
    for each, entry in pins(LOCK).items():
        if set(entry) != _FIELDS or len(entry["artifact"].split(":")) != _PARTS:
            form = "exactly sha256 and artifact, written group:name:version:type"
            message = f"{paths.shown(LOCK)}: {each} needs {form}; got {entry}"
            raise UsageError(message)
    return pin(LOCK, name)


def sha256(name: str) -> str:
    """Return the pinned hash of an artifact: its content key."""
    return _entry(name)["sha256"]


def file_name(artifact: str) -> str:
    """Return the file name a repository gives an artifact `group:name:version:type`."""
    _, name, version, kind = artifact.split(":")
    return f"{name}-{version}.{kind}"


def _fetch(artifact: str, folder: Path) -> Path:
    """Let Maven put an artifact into a folder; its own parts stay in there too, and go with it."""
    argv = ["mvn", "--batch-mode", "--no-transfer-progress", f"-Dmaven.repo.local={folder / 'repository'}", _COPY]
    argv += [f"-Dartifact={artifact}", f"-DoutputDirectory={folder / 'out'}"]
    log = paths.CACHE / "logs" / "maven.log"
    try:
        # In a folder without a pom.xml, or Maven would read that.
        run(argv, cwd=folder, log=log, timeout=_SECONDS)
    except BetelgeuseError as error:
        text = str(error).lower()
        if any(word in text for word in _ABSENT):
            hint = f"the repository does not give it: pin another version in {paths.shown(LOCK)}"
        else:
            hint = "run it again; if it fails the same way, read the log"
        message = f"cannot download {artifact}: {hint}: {error}"
        raise BuildError(message) from None
    return folder / "out" / file_name(artifact)


def download(name: str) -> Path:
    """Return the locked file of an artifact, downloaded once and verified by its pinned sha256.

    Raises BuildError when the repository refuses it or its content differs from the lock.
    """
    entry = _entry(name)
    file = file_name(entry["artifact"])
    target = paths.CACHE / "downloads" / f"{entry['sha256'][:16]}-{file}"
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    # On the same disk as the target, so that the rename is one step.
    folder = Path(tempfile.mkdtemp(prefix=f".{os.getpid()}-maven-", dir=target.parent))
    try:
        with step(f"download {file}"):
            fetched = _fetch(entry["artifact"], folder)
            if (got := sha256_of(fetched)) != entry["sha256"]:
                message = f"{file}: expected sha256 {entry['sha256']}, got {got}; the repository served another file"
                raise BuildError(message)
        fetched.rename(target)
    finally:
        shutil.rmtree(folder)
    return target


def unpacked(name: str) -> Path:
    """Return a folder with the content of an artifact that is an archive."""
    archive = download(name)
    return produce(f"maven-{name}", {"sha256": sha256(name)}, lambda out: extract(archive, out))
