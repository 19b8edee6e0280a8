"""Locked Python packages, unpacked for an image's Python: nothing is built, and the image's build needs no network."""

import sys
from pathlib import Path
from typing import Final

from betelgeuse import paths
from betelgeuse.builds.store import hash_tree
from betelgeuse.errors import BetelgeuseError, BuildError
from betelgeuse.shell import run

FOLDER: Final = "site-packages"
_PYTHON: Final = "3.13"
"""That of Debian trixie, which images/python stands on."""
_PLATFORM: Final = "x86_64-manylinux_2_28"
_SECONDS: Final = 900.0


def _lock(name: str) -> Path:
    return paths.ROOT / "locks" / f"{name}.txt"


def inputs(name: str) -> dict[str, object]:
    """Return what decides the packages: their lock, which Python, which platform."""
    return {"lock": hash_tree(_lock(name)), "python": _PYTHON, "platform": _PLATFORM}


def unpack(name: str, out: Path) -> None:
    """Unpack the wheels of a lock into `out`/site-packages; BuildError where one is missing or has another hash."""
    # uv judges the lock's markers by the image's Python; pip would by ours.
    argv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--target", str(out / FOLDER)]
    argv += ["--python-version", _PYTHON, "--python-platform", _PLATFORM, "--only-binary", ":all:", "--link-mode=copy"]
    argv += ["--no-deps", "--require-hashes", "-r", str(_lock(name))]
    try:
        run(argv, timeout=_SECONDS, log=paths.CACHE / "logs" / f"{name}.log")
    except BetelgeuseError as error:
        message = f"the packages of locks/{name}.txt failed: {error}"
        raise BuildError(message) from None
