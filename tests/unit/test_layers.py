"""Imports go downward only, and modules stay small."""

import ast
from pathlib import Path

import pytest

from betelgeuse import paths

PACKAGE = paths.ROOT / "src" / "betelgeuse"
KERNEL = {"errors", "kube", "lock", "nodecount", "paths", "progress", "settings", "shell", "yamls"}
MODULES = sorted(PACKAGE.rglob("*.py"))
OUTSIDE = sorted(paths.ROOT.glob("conformance/**/*.py"))
MAX_LINES = 300


def _imports(path: Path) -> set[str]:
    """Return the parts of betelgeuse a module imports: `settings`, `workflows`, …."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "betelgeuse":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("betelgeuse."):
            found.add(str(node.module).split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("betelgeuse.")}
    return found


def _part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _name(path: Path) -> str:
    return str(path.relative_to(paths.ROOT))


@pytest.mark.parametrize("module", [path for path in MODULES if _part(path) in KERNEL], ids=_name)
def test_the_kernel_imports_the_kernel_only(module: Path) -> None:
    """What everything stands on stands on nothing."""
    assert _imports(module) <= KERNEL


@pytest.mark.parametrize("module", [path for path in MODULES if _part(path) != "workflows"], ids=_name)
def test_only_workflows_know_workflows(module: Path) -> None:
    """A step does not know what it is a step of."""
    assert "workflows" not in _imports(module)


@pytest.mark.parametrize("module", OUTSIDE, ids=_name)
def test_conformance_judges_from_outside(module: Path) -> None:
    """What is judged must not do the judging: no workflow, no apply engine."""
    assert _imports(module) & {"workflows", "apply", "prune", "wait", "readiness"} == set()


@pytest.mark.parametrize("module", MODULES, ids=_name)
def test_modules_are_short(module: Path) -> None:
    """One noun per module."""
    assert len(module.read_text("utf-8").splitlines()) <= MAX_LINES
