"""The verbs of invoke as an operator types them."""

import shutil
import sys
import time
from pathlib import Path
from typing import Final

from betelgeuse import paths
from betelgeuse.shell import run
from conformance.site import Site

_SECONDS: Final = 1200.0
"""For one verb, on a busy machine."""
_LEFT: Final = shutil.ignore_patterns(".git", ".venv", ".nox", "__pycache__", "reports", ".*_cache")


def checkout(folder: Path) -> Path:
    """Return a copy of this tree, to be changed and deployed from."""
    tree = folder / "tree"
    shutil.copytree(paths.ROOT, tree, ignore=_LEFT, symlinks=True)
    return tree


def said(site: Site, verb: str) -> str:
    """Return what a verb prints; BetelgeuseError where it fails."""
    argv = [sys.executable, "-m", "invoke", verb, f"--env={site.settings.env}"]
    return run(argv, cwd=paths.ROOT, timeout=_SECONDS)


def invoke(site: Site, *arguments: str, tree: Path = paths.ROOT) -> float:
    """Run a verb in a checkout; return the seconds it took. BetelgeuseError where it fails, with its last lines."""
    begin = time.monotonic()
    argv = [sys.executable, "-m", "invoke", *arguments, f"--env={site.settings.env}"]
    env = {"PYTHONPATH": str(tree / "src")}
    run(argv, cwd=tree, env=env, timeout=_SECONDS, log=paths.REPORTS / f"drill-{arguments[0]}.log")
    return time.monotonic() - begin
