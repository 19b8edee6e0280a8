"""Base file systems of Debian suites, by mmdebstrap: each of one state of its suite, which is replaced on demand."""

import re
import tempfile
from collections.abc import Iterable
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

from betelgeuse import paths
from betelgeuse.builds.buildah import buildah, has, tmp
from betelgeuse.builds.store import key_of, produce
from betelgeuse.errors import BetelgeuseError, BuildError
from betelgeuse.progress import step
from betelgeuse.shell import run

FOLDER: Final = paths.CACHE / "bases"
"""A file per suite: the date of the state that this cache's base is of."""
HELPER: Final = "/usr/lib/apt/apt-helper"
_LEAN: Final = tuple(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "info", "locale", "man"))
"""A node keeps a copy of every base: manuals and translations stay out."""
_SITES: Final = ("apt-get", "indextargets", "--format", "$(SITE)")
"""Prints the sites that this machine's own Debian packages come from: whoever has a mirror has it there."""
_TAG_KEY: Final = 8
_SECONDS: Final = 120


def release(suite: str) -> str:
    """Return the date (ISO 8601) of the state that a suite's base is of; empty before the first one is chosen."""
    file = FOLDER / suite
    return file.read_text("utf-8").strip() if file.is_file() else ""


def current(suite: str) -> str:
    """Ask Debian for the date of a suite's newest state, security updates included; BuildError without an answer."""
    packages, security = _site("debian"), _site("debian-security")
    sources = (f"{packages}/{suite}", f"{packages}/{suite}-updates", f"{security}/{suite}-security")
    with tempfile.TemporaryDirectory() as folder, step(f"ask for the state of Debian {suite}"):
        dates = [_date(f"{source}/InRelease", Path(folder) / str(n)) for n, source in enumerate(sources)]
    return max(dates).isoformat()


def _site(name: str) -> str:
    """Return where the suites of an archive of Debian's are, as this machine's apt knows it."""
    found = next((site for site in run([*_SITES]).split() if site.rstrip("/").endswith(f"/{name}")), "")
    if not found:
        message = f"apt knows no archive .../{name} on this machine: name one in /etc/apt/sources.list.d"
        raise BuildError(message)
    return f"{found.rstrip('/')}/dists"


def _date(address: str, target: Path) -> datetime:
    try:
        run([HELPER, "-qq", "download-file", address, str(target)], timeout=_SECONDS)
        found = re.search(r"(?m)^Date: (.+)$", target.read_text("utf-8"))
    except (BetelgeuseError, OSError) as error:
        message = f"Debian does not say how new its packages are ({address}): {error}"
        raise BuildError(message) from None
    if found is None:
        message = f"{address} has no line `Date:`"
        raise BuildError(message)
    return parsedate_to_datetime(found[1])


def settle(suites: Iterable[str], *, refresh: bool = False) -> list[str]:
    """Choose the state of suites' bases: the one this cache has, else the newest; return the suites that changed.

    `refresh` chooses the newest in any case. Call it before anything asks for a content key: the state is a part of it.
    """
    changed = []
    for suite in sorted(set(suites)):
        if release(suite) and not refresh:
            continue
        newest = current(suite)
        if newest != release(suite):
            FOLDER.mkdir(parents=True, exist_ok=True)
            draft = FOLDER / f".{suite}"
            draft.write_text(f"{newest}\n", "utf-8")
            draft.rename(FOLDER / suite)
            changed.append(suite)
    return changed


def inputs(suite: str) -> dict[str, object]:
    """Return what decides a base."""
    return {"suite": suite, "release": release(suite), "options": _LEAN}


def base(suite: str) -> str:
    """Return the local name of a suite's base image, made on first use."""
    name = f"localhost/debian:{suite}-{key_of(inputs(suite))[:_TAG_KEY]}"
    log = paths.CACHE / "logs" / f"base-{suite}.log"

    def make(out: Path) -> None:
        retry = '--aptopt=Acquire::Retries "3"'
        argv = ["mmdebstrap", "--variant=minbase", retry, *_LEAN, suite, str(out / "base.tar")]
        try:
            run(argv, env={"TMPDIR": str(tmp())}, log=log, timeout=900)
        except BetelgeuseError as error:
            message = f"base file system of Debian {suite} failed: {error}"
            raise BuildError(message) from None
        (out / "Dockerfile").write_text("FROM scratch\nADD base.tar /\n")

    folder = produce(f"base-{suite}", inputs(suite), make)
    if not has(name, log):
        buildah("bud", "-q", "-t", name, str(folder), log=log)
    return name
