"""Other projects' manifests: from pinned Go modules into .upstream/, rendered once, verified against the lock.

What comes out must hash to what a program's bundles.sha256 says, so an edited lock, a changed value or a different
chart engine shows itself here and not in a cluster.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Final

from betelgeuse import paths
from betelgeuse.builds import golang
from betelgeuse.bundles import charts
from betelgeuse.errors import BuildError
from betelgeuse.programs import locks, table
from betelgeuse.programs.model import Bundle

Tools = Callable[[str], Path]
"""Returns the path of a program by its name; `helm` is the one asked for, and only when a chart must be rendered."""

# Part of the stamp: raise it when the way a bundle is produced changes.
_RECIPE: Final = 2
_KUSTOMIZATION: Final = b"# Generated from programs/: edits are lost.\nresources: [manifests.yaml]\n"
_SHOWN: Final = 12


def digest(*chunks: bytes) -> str:
    """Return the sha256 of some bytes."""
    return hashlib.sha256(b"\0".join(chunks)).hexdigest()


def kubernetes() -> str:
    """Return the version that charts choose API versions by: the same everywhere, so that one hash holds everywhere."""
    return table.program("kubernetes").version


def _locked(bundle: Bundle) -> str:
    return locks.bundles(table.program(bundle.program))[bundle.name]


def _inputs(bundle: Bundle) -> str:
    """Return a digest of all that decides a bundle's content, and of the hash it must have."""
    values = bundle.values.read_bytes() if bundle.values else b""
    entry = {each.name: getattr(bundle, each.name) for each in fields(bundle) if each.name != "values"}
    module, checksum = locks.checksum(table.program(bundle.program))
    facts = [_RECIPE, kubernetes(), module, checksum, _locked(bundle), entry]
    return digest(json.dumps(facts, sort_keys=True).encode(), values)


def _is_current(bundle: Bundle) -> bool:
    folder = paths.UPSTREAM / bundle.name
    try:
        stamped = (folder / ".inputs").read_text(encoding="utf-8") == _inputs(bundle)
        kustomized = (folder / "kustomization.yaml").read_bytes() == _KUSTOMIZATION
        return stamped and kustomized and digest((folder / "manifests.yaml").read_bytes()) == _locked(bundle)
    except FileNotFoundError:
        return False


def contents(bundles: Iterable[Bundle], tools: Tools) -> dict[str, bytes]:
    """Return what bundles come out as, by their names."""
    wanted = list(bundles)
    names = sorted({bundle.program for bundle in wanted})
    folders = {name: golang.module_folder(table.program(name)) for name in names}
    # Once, before the threads: it may have to be built.
    helm = tools("helm") if any(bundle.chart for bundle in wanted) else Path()

    def produce(bundle: Bundle) -> bytes:
        if bundle.files:
            return charts.concatenated(folders[bundle.program], bundle)
        return charts.rendered(folders[bundle.program], bundle, kubernetes(), helm)

    with ThreadPoolExecutor() as pool:
        return dict(zip((bundle.name for bundle in wanted), pool.map(produce, wanted), strict=True))


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)


def _settle(bundle: Bundle, content: bytes) -> None:
    actual, expected = digest(content), _locked(bundle)
    if actual != expected:
        edited = f" of {paths.shown(bundle.values)}" if bundle.values else ""
        lock = paths.shown(table.program(bundle.program).folder / locks.BUNDLES)
        message = (
            f"{lock}: {bundle.name} comes out as sha256 {actual[:_SHOWN]}…, the lock says {expected[:_SHOWN]}…: undo "
            f"the edit{edited}, or run `invoke lock --program={bundle.program}` and review what changes"
        )
        raise BuildError(message)
    folder = paths.UPSTREAM / bundle.name
    _write(folder / "manifests.yaml", content)
    _write(folder / "kustomization.yaml", _KUSTOMIZATION)
    # Last: a run that was killed leaves no stamp, and the next one writes all of it again.
    _write(folder / ".inputs", _inputs(bundle).encode())


def materialise(tools: Tools) -> list[str]:
    """Bring .upstream/ to what the locks say and return the names of the bundles written."""
    stale = [bundle for bundle in table.bundles().values() if not _is_current(bundle)]
    if not stale:
        return []
    made = contents(stale, tools)
    for bundle in stale:
        _settle(bundle, made[bundle.name])
    return [bundle.name for bundle in stale]
