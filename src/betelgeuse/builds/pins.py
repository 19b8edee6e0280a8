"""Lock files of downloads (images/*.lock.yaml): a name, and what is pinned under it, its sha256 among others."""

from functools import cache
from pathlib import Path
from typing import cast

import yaml

from betelgeuse import paths
from betelgeuse.errors import UsageError

Pin = dict[str, str]


@cache
def pins(lock: Path) -> dict[str, Pin]:
    """Read a lock file; raise UsageError where it cannot be read."""
    try:
        return cast("dict[str, Pin]", yaml.safe_load(lock.read_text()))
    except (OSError, yaml.YAMLError) as error:
        message = f"{paths.shown(lock)}: cannot be read: {error}"
        raise UsageError(message) from None


def pin(lock: Path, name: str) -> Pin:
    """Return one entry; an unknown name is a UsageError that tells the known ones."""
    try:
        return pins(lock)[name]
    except KeyError:
        message = f"{paths.shown(lock)}: no entry {name!r}; known: {', '.join(sorted(pins(lock)))}"
        raise UsageError(message) from None
