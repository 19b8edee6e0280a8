"""Imports go one way, between files as between packages, and modules stay small.

The graph is read from the syntax trees: imports inside functions and those for types alone count too.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from betelgeuse import paths

MAX_LINES = 300
KERNEL = frozenset(
    [
        "errors",
        "kube",
        "lock",
        "nodecount",
        "overlays",
        "paths",
        "printable",
        "progress",
        "servers",
        "settings",
        "shell",
        "sizes",
        "ssh",
        "surroundings",
        "tree",
        "yamls",
    ]
)
PACKAGES: Mapping[str, frozenset[str]] = {
    "betelgeuse": frozenset(),
    # Overload is judged by the load tests' own limits, and requests are made up by the schema of the check.
    "conformance": frozenset({"api_check", "betelgeuse", "loadtests"}),
    # Two modules of one image.
    "kafka_ui": frozenset({"kafka_lag"}),
    # What JupyterHub reads as its configuration, and two modules beside it.
    "jupyterhub_config": frozenset({"pod_template", "realm_login"}),
    "loadtests": frozenset({"betelgeuse"}),
    "tasks": frozenset({"betelgeuse", "loadtests"}),
}
"""Which of our packages each may import; any other is an application's, and may import `serving` alone."""
JUDGES = KERNEL | {"clusters", "identity", "policy", "render", "selection"}
"""Parts of betelgeuse that the conformance suite may import: what is judged must not do the judging."""


def _sources() -> Iterator[Path]:
    """Yield every Python file of ours: build products and environments are in folders with a dot."""
    for path in sorted(paths.ROOT.rglob("*.py")):
        if not any(part.startswith(".") for part in path.relative_to(paths.ROOT).parts):
            yield path


def _module(path: Path) -> str:
    """Return the name by which a file is imported: its packages are the folders above with an __init__.py."""
    parts = [] if path.stem == "__init__" else [path.stem]
    folder = path.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    return ".".join(parts)


FILES: Mapping[str, Path] = {_module(path): path for path in _sources()}
OURS = frozenset(name.partition(".")[0] for name in FILES)


def imports(module: str, path: Path) -> Iterator[str]:
    """Yield the modules of ours that a file imports, wherever in it."""
    package = module if path.stem == "__init__" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (_known(alias.name) for alias in node.names if alias.name.partition(".")[0] in OURS)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            if base.partition(".")[0] in OURS:
                # What is imported may be a module of the package, or a name in it.
                yield from (_known(f"{base}.{alias.name}") for alias in node.names)


def _known(name: str) -> str:
    """Return the longest beginning of a name that is a file."""
    while name not in FILES and "." in name:
        name = name.rpartition(".")[0]
    return name


GRAPH: Mapping[str, frozenset[str]] = {
    module: frozenset(imports(module, path)) - {module} for module, path in FILES.items()
}


def cycle(graph: Mapping[str, frozenset[str]]) -> list[str]:
    """Return the modules of one cycle in their order, none when there is no cycle."""
    done: set[str] = set()

    def walk(module: str, way: list[str]) -> list[str]:
        if module in way:
            return way[way.index(module) :]
        if module in done:
            return []
        for other in sorted(graph.get(module, ())):
            if found := walk(other, [*way, module]):
                return found
        done.add(module)
        return []

    return next((found for module in sorted(graph) if (found := walk(module, []))), [])


def _top(module: str) -> str:
    return module.partition(".")[0]


def _within(package: str) -> list[str]:
    return [module for module in GRAPH if _top(module) == package]


def _parts(module: str, package: str = "betelgeuse") -> set[str]:
    """Return the parts of a package that a module imports: `settings`, `workflows`, ...."""
    return {f"{other}.".split(".")[1] for other in GRAPH[module] if _top(other) == package} - {""}


def test_the_graph_sees_every_kind_of_import(tmp_path: Path) -> None:
    """At the top, inside a function, for types alone, relative, of a module and of a name in one."""
    source = tmp_path / "x.py"
    source.write_text(
        "from typing import TYPE_CHECKING\nimport loadtests.plan\nfrom .site import Site\nfrom . import timeouts\n"
        "if TYPE_CHECKING:\n    from betelgeuse.kube import Kube\n"
        "def f():\n    from betelgeuse.workflows import deploy\n    import json\n",
        "utf-8",
    )

    assert set(imports("conformance.x", source)) == {
        *("loadtests.plan", "conformance.site", "conformance.timeouts", "betelgeuse.kube"),
        "betelgeuse.workflows.deploy",
    }


def test_every_package_is_in_the_graph() -> None:
    """With edges inside and between: a graph that sees nothing would find no fault."""
    assert {*PACKAGES, "certificate_watch", "portal", "serving", "session_check"} <= OURS
    assert "betelgeuse.kube" in GRAPH["betelgeuse.apply"]
    assert "serving" in GRAPH["portal.__main__"] | GRAPH["portal.app"]
    assert "betelgeuse.workflows.deploy" in GRAPH["tasks"]


def test_a_cycle_is_found() -> None:
    """And shown as the way around."""
    graph = {name: frozenset(others) for name, others in {"a": "b", "b": "cd", "c": "", "d": "eb", "e": ""}.items()}

    assert cycle(graph) == ["b", "d"]
    assert cycle(graph | {"d": frozenset("e")}) == []


def test_no_files_import_each_other() -> None:
    """Whoever reads a file knows what stands below it."""
    found = cycle(GRAPH)

    assert not found, " -> ".join([*found, found[0]])


@pytest.mark.parametrize("package", sorted(OURS - {"tests"}))
def test_packages_import_one_way(package: str) -> None:
    """Load tests and the suite stand on betelgeuse, never the other way round; applications stand alone."""
    allowed = PACKAGES.get(package, frozenset({"serving"})) | {package}

    wrong = {(each, other) for each in _within(package) for other in GRAPH[each] if _top(other) not in allowed}

    assert wrong == set()


@pytest.mark.parametrize("part", sorted(KERNEL))
def test_the_kernel_imports_the_kernel_only(part: str) -> None:
    """What everything stands on stands on nothing."""
    modules = [each for each in _within("betelgeuse") if f"{each}.".startswith(f"betelgeuse.{part}.")]

    assert modules
    assert set().union(*map(_parts, modules)) <= KERNEL


@pytest.mark.parametrize("package", ["betelgeuse", "loadtests"])
def test_only_workflows_and_verbs_know_workflows(package: str) -> None:
    """A step does not know what it is a step of."""
    steps = [each for each in GRAPH if _top(each) not in {"tasks", "tests"} and f"{package}.workflows" not in each]

    assert [each for each in steps if "workflows" in _parts(each, package)] == []


@pytest.mark.parametrize("module", _within("conformance"))
def test_conformance_judges_from_outside(module: str) -> None:
    """What is judged must not do the judging: no workflow, no apply engine."""
    assert _parts(module) <= JUDGES


def test_the_generator_runs_without_betelgeuse() -> None:
    """Pods and the environment of Locust have loadtests alone, without its workflows."""
    generator = [each for each in _within("loadtests") if not each.startswith("loadtests.workflows")]

    assert [each for each in generator if any(_top(other) == "betelgeuse" for other in GRAPH[each])] == []


@pytest.mark.parametrize("module", [each for each in GRAPH if _top(each) != "tests" and ".test_" not in each])
def test_modules_are_short(module: str) -> None:
    """One noun per module."""
    assert len(FILES[module].read_text("utf-8").splitlines()) <= MAX_LINES
