"""A check that cannot fail is none: each mutation makes its check go red."""

from collections.abc import Callable

import pytest

from tests.render import layout
from tests.render.changes import Mutation, Objects
from tests.render.checks import CHECKS
from tests.render.mutations import EDITS, MUTATIONS, Edit
from tests.render.trees import Tree


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_broken_tree_is_noticed(trees: Callable[[str], Tree], mutation: Mutation) -> None:
    """The change makes exactly what the check says it would."""
    tree = trees("local")
    objects = Objects(tree.objects)
    mutation.change(objects)

    assert list(CHECKS[mutation.check](Tree(tree.settings, objects.all)))


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.name)
def test_a_broken_file_is_noticed(edit: Edit) -> None:
    """The same for the files."""
    files = layout.read()
    files[edit.file] = edit.change(files[edit.file])

    assert list(layout.CHECKS[edit.check](files))


def test_a_growing_overlay_is_noticed() -> None:
    """The tenth file is one too many."""
    files = layout.read() | {f"overlays/local/{number}.yaml": "" for number in range(10)}

    assert list(layout.overlays_are_short(files))


def test_every_check_is_proven() -> None:
    """A new check comes with a change it must notice."""
    assert {mutation.check for mutation in MUTATIONS} == set(CHECKS)
    assert {edit.check for edit in EDITS} | {"overlays_are_short"} == set(layout.CHECKS)
