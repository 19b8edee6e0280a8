"""The direction of imports: tasks -> workflows -> steps -> kernel, and nothing upwards."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from betelgeuse.paths import ROOT

PACKAGE = ROOT / "src" / "betelgeuse"
KERNEL = frozenset({"errors", "paths", "settings", "shell", "progress", "lock", "kube", "yamls"})
MODULES = sorted(PACKAGE.rglob("*.py"))
MAX_LINES = 300


def part(module: str) -> str:
    """Return the part of the package a dotted name belongs to: betelgeuse.kube.api -> kube."""
    names = module.split(".")
    return names[1] if len(names) > 1 else ""


def imported(path: Path) -> Iterator[str]:
    """Yield every module of ours that a file imports."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            # `from betelgeuse import inventory` names its module only in the alias.
            yield from (
                f"{node.module}.{alias.name}" if node.module == "betelgeuse" else node.module for alias in node.names
            )


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_downwards(path: Path) -> None:
    """The kernel knows no step, and a step knows no workflow."""
    here = path.relative_to(PACKAGE).with_suffix("").parts[0]
    used = {part(name) for name in imported(path) if name.startswith("betelgeuse.")}

    if here in KERNEL:
        assert used <= KERNEL, f"{path.name} is kernel and imports {sorted(used - KERNEL)}"
    if here != "workflows":
        assert "workflows" not in used, f"{path.name} is a step and imports a workflow"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_stay_small(path: Path) -> None:
    """A module that outgrows 300 lines is split by noun."""
    assert len(path.read_text("utf-8").splitlines()) <= MAX_LINES


def test_outsiders_use_the_kernel_only() -> None:
    """The conformance suite and the load tests judge the platform from outside: they never import a workflow."""
    outside = [path for name in ("conformance", "loadtests") for path in (ROOT / name).rglob("*.py")]
    wrong = [path for path in outside if any(name.startswith("betelgeuse.workflows") for name in imported(path))]

    assert wrong == []
