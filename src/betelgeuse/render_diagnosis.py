"""Turn kustomize's long complaint into the one line that helps: which file, which line, what instead."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from betelgeuse import paths, yamls
from betelgeuse.errors import UsageError
from betelgeuse.settings import suggest

_INNERMOST: Final = re.compile(r".*for path '([^']+)': (.+?)\"*$")
_FIELDS: Final = frozenset(
    [
        "apiVersion",
        "kind",
        "metadata",
        "openapi",
        "namePrefix",
        "nameSuffix",
        "namespace",
        "commonLabels",
        "labels",
        "commonAnnotations",
        "patchesStrategicMerge",
        "patchesJson6902",
        "patches",
        "images",
        "imageTags",
        "replacements",
        "replicas",
        "vars",
        "sortOptions",
        "resources",
        "components",
        "crds",
        "bases",
        "configMapGenerator",
        "secretGenerator",
        "helmGlobals",
        "helmCharts",
        "helmChartInflationGenerator",
        "generatorOptions",
        "configurations",
        "generators",
        "transformers",
        "validators",
        "buildMetadata",
    ]
)
"""What a kustomization may hold (kustomize 5.8)."""
_LISTS: Final = ("resources", "components", "configurations", "crds", "generators", "transformers", "patches")
_CHARACTERS: Final = 400


def _shown(path: Path) -> str:
    # Not `resolve`: a linked folder keeps the name the tree has for it.
    return paths.shown(Path(os.path.normpath(path)))


def _unknown(document: object, text: str, where: str) -> str | None:
    for key in document if isinstance(document, dict) else ():
        if key not in _FIELDS:
            return f"{where}:{_line(text, str(key))}: unknown field {key!r}{suggest(str(key), list(_FIELDS))}"
    return None


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
    if {".upstream", ".generated"} & set(target.parts):
        return f"{where}: {entry} is not made yet; `invoke deploy` or `invoke images` does it"
    siblings = [path.name for path in target.parent.iterdir()] if target.parent.is_dir() else []
    return f"{where}: {entry} does not exist{suggest(target.name, siblings)}"


def _problem(folder: Path, seen: set[Path]) -> str | None:
    kustomization = (folder / "kustomization.yaml").resolve()
    if kustomization in seen:
        return None
    seen.add(kustomization)
    if not kustomization.exists():
        return f"{_shown(folder)} has no kustomization.yaml"
    text, where = kustomization.read_text(), _shown(kustomization)
    documents = yamls.parse(text, where)
    if unknown := next(filter(None, (_unknown(document, text, where) for document in documents)), None):
        return unknown
    for entry in (entry for document in documents for entry in _entries(document)):
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
    short = (complaint.partition("failed with exit code 1: ")[2] or complaint).replace(f"{paths.ROOT}/", "")
    innermost = _INNERMOST.match(short)
    if innermost:
        return f"{innermost[1]}: {innermost[2]}"[:_CHARACTERS]
    short = short.replace("error: ", "")
    return f"{_shown(overlay)} does not build: {short[:_CHARACTERS]}"
