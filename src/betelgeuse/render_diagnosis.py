"""Turn kustomize's long complaint into the one line that helps: which file, which line, what instead."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from betelgeuse import paths, yamls
from betelgeuse.errors import UsageError
from betelgeuse.settings import suggest

_NOISE: Final = re.compile(r"accumulat\w* (?:err=|resources from |components: |resources: )*")
_LISTS: Final = ("resources", "components", "configurations", "crds", "generators", "transformers", "patches")
_CHARACTERS: Final = 400


def _shown(path: Path) -> str:
    return str(path.relative_to(paths.ROOT)) if path.is_relative_to(paths.ROOT) else str(path)


def _entries(document: object) -> Iterator[str]:
    """Yield the local paths a kustomization refers to."""
    for key in _LISTS:
        values = document.get(key) if isinstance(document, dict) else None
        for value in values if isinstance(values, list) else []:
            target = value.get("path") if isinstance(value, dict) else value
            if isinstance(target, str) and "\n" not in target and "://" not in target:
                yield target


def _line(text: str, entry: str) -> int:
    for number, line in enumerate(text.splitlines(), start=1):
        if entry in line:
            return number
    return 1


def _missing(kustomization: Path, text: str, entry: str) -> str:
    target = kustomization.parent / entry
    where = f"{_shown(kustomization)}:{_line(text, entry)}"
    if ".upstream" in target.parts:
        return f"{where}: {entry} is not materialised yet; `invoke deploy` or `invoke images` does it"
    siblings = [path.name for path in target.parent.iterdir()] if target.parent.is_dir() else []
    return f"{where}: {entry} does not exist{suggest(target.name, siblings)}"


def _problem(folder: Path, seen: set[Path]) -> str | None:
    kustomization = (folder / "kustomization.yaml").resolve()
    if kustomization in seen:
        return None
    seen.add(kustomization)
    if not kustomization.exists():
        return f"{_shown(folder)} has no kustomization.yaml"
    text = kustomization.read_text()
    for entry in (entry for document in yamls.parse(text, _shown(kustomization)) for entry in _entries(document)):
        target = kustomization.parent / entry
        if not target.exists():
            return _missing(kustomization, text, entry)
        if target.suffix in {".yaml", ".yml"}:
            yamls.parse(target.read_text(), _shown(target))
        found = _problem(target, seen) if target.is_dir() else None
        if found:
            return found
    return None


def walk(folder: Path) -> str | None:
    """Follow a kustomization the way kustomize does; return the first thing wrong, or None."""
    try:
        return _problem(folder, set())
    except UsageError as error:
        return str(error)
    except (OSError, UnicodeDecodeError) as error:
        return f"{_shown(folder)}: cannot be read: {error}"


def diagnose(overlay: Path, complaint: str) -> str:
    """Return the line to show for a failed build."""
    found = walk(overlay)
    if found:
        return found
    short = _NOISE.sub("", complaint.partition("failed with exit code 1: ")[2] or complaint)
    short = short.replace(f"{paths.ROOT}/", "").replace("error: ", "")
    return f"{_shown(overlay)} does not build: {short[:_CHARACTERS]}"
