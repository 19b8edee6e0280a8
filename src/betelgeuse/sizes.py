"""Sizes of apps that an environment may set: keys of environment.env that a `sizes` component in an app's folder reads.

The app's own manifest has its size. An environment that differs lists the app's component, and sets its keys.
"""

import os
import re
from pathlib import Path
from typing import Final

from betelgeuse import overlays, paths

_FOLDER: Final = "sizes"
_KEY: Final = re.compile(r"fieldPath: data\.([A-Z][A-Z0-9_]*)")


def keys() -> dict[str, str]:
    """Return every key that some app's component reads, with the component's folder as overlays name it."""
    found: dict[str, str] = {}
    for file in sorted((paths.ROOT / "base").glob(f"**/{_FOLDER}/{overlays.KUSTOMIZATION}")):
        folder = os.path.relpath(file.parent, paths.OVERLAYS / "env")
        found |= dict.fromkeys(_KEY.findall(file.read_text("utf-8")), folder)
    return found


def listed(env: str) -> set[str]:
    """Return the folders of the size components that an overlay lists; an unreadable overlay lists none."""
    return {entry for entry in overlays.components(env) if Path(entry).name == _FOLDER}
