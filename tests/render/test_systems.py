"""docs/systems.md says what the tree says."""

from collections.abc import Callable

from betelgeuse import paths
from betelgeuse.programs import overview, table
from tests.render.trees import Tree

PAGE = paths.ROOT / "docs" / "systems.md"


def test_page_is_that_of_the_tree(trees: Callable[[str], Tree]) -> None:
    """Written by `nox -s docs`, after every change of a program or of what runs it."""
    assert PAGE.read_text("utf-8") == overview.page(table.table(), trees("single-node").objects)


def test_every_workload_is_in_it(trees: Callable[[str], Tree]) -> None:
    """A workload whose image no program declares would be missing."""
    text = PAGE.read_text("utf-8")
    workloads = [obj for obj in trees("single-node").objects if obj["kind"] in {"Deployment", "StatefulSet"}]

    assert workloads
    assert [obj["metadata"]["name"] for obj in workloads if f"/{obj['metadata']['name']}" not in text] == []
