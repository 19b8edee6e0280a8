"""Base file systems of Debian suites, by mmdebstrap."""

from pathlib import Path
from typing import Final

from betelgeuse import paths
from betelgeuse.builds.buildah import buildah, has, tmp
from betelgeuse.builds.store import key_of, produce
from betelgeuse.errors import BetelgeuseError, BuildError
from betelgeuse.shell import run

_LEAN: Final = tuple(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "info", "locale", "man"))
"""A node keeps a copy of every base: manuals and translations stay out."""
_TAG_KEY: Final = 8


def inputs(suite: str) -> dict[str, object]:
    """Return what decides a base."""
    return {"suite": suite, "options": _LEAN}


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
