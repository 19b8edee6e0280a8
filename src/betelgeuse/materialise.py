"""Other projects' manifests: from pinned Go modules into .upstream/, rendered once, verified against the lock.

What comes out must hash to what upstream/lock.yaml says, so an edited lock, a changed value or a different chart engine
shows itself here and not in a cluster.
"""

import argparse
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Final

from betelgeuse import paths, shell
from betelgeuse.builds import golang
from betelgeuse.bundles import charts, lock
from betelgeuse.bundles.lock import Bundle, Lock, read_lock, wrong
from betelgeuse.errors import BetelgeuseError, BuildError

Tools = Callable[[str], Path]
"""Returns the path of a program by its name; `helm` is the one asked for, and only when a chart must be rendered."""

# Part of the stamp: raise it when the way a bundle is produced changes.
_RECIPE: Final = 1
_KUSTOMIZATION: Final = b"# Generated from upstream/lock.yaml: edits are lost.\nresources: [manifests.yaml]\n"
_SHOWN: Final = 12


def _digest(*chunks: bytes) -> str:
    return hashlib.sha256(b"\0".join(chunks)).hexdigest()


def _inputs(locked: Lock, bundle: Bundle) -> str:
    """Return a digest of all that decides a bundle's content, and of the hash it must have."""
    values = bundle.values.read_bytes() if bundle.chart and bundle.values.is_file() else b""
    entry = {each.name: getattr(bundle, each.name) for each in fields(bundle)}
    facts = [_RECIPE, locked.kubernetes, locked.modules[bundle.module], entry]
    return _digest(json.dumps(facts, sort_keys=True).encode(), values)


def _is_current(locked: Lock, bundle: Bundle) -> bool:
    folder = paths.UPSTREAM / bundle.name
    try:
        stamped = (folder / ".inputs").read_text(encoding="utf-8") == _inputs(locked, bundle)
        kustomized = (folder / "kustomization.yaml").read_bytes() == _KUSTOMIZATION
        return stamped and kustomized and _digest((folder / "manifests.yaml").read_bytes()) == bundle.sha256
    except FileNotFoundError:
        return False


def _download(module: str) -> tuple[Path, str]:
    """Return a module's folder in the module cache and its checksum; the go command verifies what it downloads."""
    try:
        with tempfile.TemporaryDirectory() as outside_any_module:
            argv = [str(golang.toolchain()), "mod", "download", "-json", module]
            environment = {**golang.environment(), "GOFLAGS": "-mod=mod"}
            answer = json.loads(shell.run(argv, cwd=Path(outside_any_module), env=environment))
    except BetelgeuseError as error:
        reason = "refuses it (403)" if "403" in str(error) else f"does not give it: {error}"
        message = f"{module}: the Go module proxy {reason}; try later, or set GOPROXY to a mirror that has this version"
        raise BuildError(message) from None
    return Path(answer["Dir"]), answer["Sum"]


def _fetch(locked: Lock, module: str) -> Path:
    folder, checksum = _download(module)
    if checksum != locked.modules[module]:
        message = (
            f"module {module} has checksum {checksum}, the lock says {locked.modules[module]}: "
            f"undo the edit, or run `{lock.UPDATE}` and review what changes"
        )
        raise wrong(message)
    return folder


def _contents(locked: Lock, bundles: Iterable[Bundle], tools: Tools, fetch: Callable[[str], Path]) -> dict[str, bytes]:
    wanted = list(bundles)
    folders = {module: fetch(module) for module in sorted({bundle.module for bundle in wanted})}
    # Once, before the threads: it may have to be built.
    helm = tools("helm") if any(bundle.chart for bundle in wanted) else Path()

    def produce(bundle: Bundle) -> bytes:
        if bundle.files:
            return charts.concatenated(folders[bundle.module], bundle)
        return charts.rendered(folders[bundle.module], bundle, locked.kubernetes, helm)

    with ThreadPoolExecutor() as pool:
        return dict(zip((bundle.name for bundle in wanted), pool.map(produce, wanted), strict=True))


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)


def _settle(locked: Lock, bundle: Bundle, content: bytes) -> None:
    actual = _digest(content)
    if actual != bundle.sha256:
        edited = f"the lock or of {paths.shown(bundle.values)}" if bundle.chart else "the lock"
        message = (
            f"bundle {bundle.name} comes out as sha256 {actual[:_SHOWN]}…, the lock says {bundle.sha256[:_SHOWN]}…: "
            f"undo the edit of {edited}, or run `{lock.UPDATE}` and review what changes"
        )
        raise wrong(message)
    folder = paths.UPSTREAM / bundle.name
    _write(folder / "manifests.yaml", content)
    _write(folder / "kustomization.yaml", _KUSTOMIZATION)
    # Last: a run that was killed leaves no stamp, and the next one writes all of it again.
    _write(folder / ".inputs", _inputs(locked, bundle).encode())


def materialise(tools: Tools) -> list[str]:
    """Bring .upstream/ to what the lock says and return the names of the bundles written."""
    locked = read_lock()
    stale = [bundle for bundle in locked.bundles if not _is_current(locked, bundle)]
    if not stale:
        return []
    contents = _contents(locked, stale, tools, lambda module: _fetch(locked, module))
    for bundle in stale:
        _settle(locked, bundle, contents[bundle.name])
    return [bundle.name for bundle in stale]


def lock_update(tools: Tools) -> list[str]:
    """Write the hashes that the lock's versions and our values give now; return the names that changed."""
    locked = read_lock()
    text = lock.LOCK.read_text(encoding="utf-8")
    changed: list[str] = []
    folders: dict[str, Path] = {}
    for module, checksum in locked.modules.items():
        folders[module], actual = _download(module)
        if actual != checksum:
            text = lock.with_checksum(text, module, actual)
            changed.append(module)
    contents = _contents(locked, locked.bundles, tools, folders.__getitem__)
    for bundle in locked.bundles:
        digest = _digest(contents[bundle.name])
        if digest != bundle.sha256:
            text = lock.with_hash(text, bundle.name, digest)
            changed.append(bundle.name)
    _write(lock.LOCK, text.encode())
    return changed


def main(arguments: list[str] | None = None) -> int:
    """Materialise, or with --update accept what the lock's versions and our values give now."""
    parser = argparse.ArgumentParser(prog="python -m betelgeuse.materialise", description=main.__doc__)
    parser.add_argument("--update", action="store_true", help="write new checksums and hashes into the lock first")
    parser.add_argument("--helm", type=Path, help="a helm binary (default: built from modules/helm)")
    options = parser.parse_args(arguments)

    def tools(name: str) -> Path:
        return options.helm or golang.commands(name) / name

    try:
        results = {"locked": lock_update(tools)} if options.update else {}
        results["written"] = materialise(tools)
    except BetelgeuseError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    for what, names in results.items():
        sys.stdout.write(f"{what}: {', '.join(names) or 'nothing, all is current'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
