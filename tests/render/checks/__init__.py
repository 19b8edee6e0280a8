"""Checks over a rendered tree: each is a function from a tree to what is wrong with it, one line each."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from tests.render.checks import (
    dashboards,
    edge,
    gates,
    guard,
    isolation,
    objects,
    references,
    requests,
    watching,
    workloads,
)
from tests.render.trees import Tree

Check = Callable[[Tree], Iterator[str]]

CHECKS: Final[Mapping[str, Check]] = {
    check.__name__: check
    for module in (objects, references, isolation, guard, workloads, edge, gates, requests, dashboards, watching)
    for check in module.CHECKS
}
"""Every check by its name; tests/render/mutations.py proves that each can fail."""
