"""docs/runbooks/ says what the tree's rules say."""

from collections.abc import Callable

from betelgeuse import paths, runbooks
from betelgeuse.tree.alerts import alerts
from tests.render.trees import Tree


def test_pages_are_those_of_the_tree(trees: Callable[[str], Tree]) -> None:
    """Written by `nox -s docs`, after every change of a rule, also of what `local` has not."""
    folder = paths.ROOT / "docs" / "runbooks"
    found = {path.name: path.read_text("utf-8") for path in folder.iterdir()}

    declared = alerts([*trees("local:full").objects, *trees("single-node").objects])

    assert found == dict(runbooks.pages(declared))
