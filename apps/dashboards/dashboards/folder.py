"""Bring a folder to what it should hold. A reader never sees half a file, and what has not changed is not touched."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

_KIND: Final = ".json"
_HALF: Final = ".part"
"""Readers look for files of the other kind alone."""


def bring(folder: Path, wanted: Mapping[str, str]) -> list[str]:
    """Write what differs and remove what nobody wants; return the paths of both."""
    changed = [path for path, text in wanted.items() if _write(folder / path, text)]
    for each in sorted(folder.rglob(f"*{_KIND}")):
        path = str(each.relative_to(folder))
        if path not in wanted:
            each.unlink()
            changed.append(path)
    return changed


def _write(target: Path, text: str) -> bool:
    try:
        if target.read_text("utf-8") == text:
            return False
    except FileNotFoundError:
        target.parent.mkdir(parents=True, exist_ok=True)
    half = target.with_suffix(_HALF)
    half.write_text(text, "utf-8")
    half.replace(target)
    return True
