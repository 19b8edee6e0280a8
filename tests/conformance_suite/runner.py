"""Runs promises on any site without pytest: every function with every combination of what it is parametrised by."""

import importlib
import inspect
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from conformance.coverage import HERE
from conformance.inside import Inside, running
from conformance.matrix import observe
from conformance.site import Site
from conformance.subjects import SUBJECTS
from conformance.verdict import PromiseBrokenError


@dataclass(frozen=True)
class Outcome:
    """One check: which promise, of what, and how it failed (empty when it holds)."""

    promise: str
    subject: str
    fault: str


def _modules(families: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for family in families:
        folder, _, file = family.partition("/")
        for path in sorted((HERE / folder).glob(f"test_{file or '*'}.py")):
            yield f"{folder}/{path.name}", importlib.import_module(f"conformance.{folder}.{path.stem}")


def _choices(function: Callable[..., None], site: Site, inside: Inside) -> Iterator[list[tuple[str, Any]]]:
    """Yield, per argument, the pairs (argument, value) it goes through."""
    marks = [mark for mark in getattr(function, "pytestmark", []) if mark.name == "parametrize"]
    given: dict[str, list[Any]] = {mark.args[0]: list(mark.args[1]) for mark in marks}
    for name in inspect.signature(function).parameters:
        if name == "site":
            yield [(name, site)]
        elif name == "inside":
            yield [(name, inside)]
        elif name == "matrix":
            yield [(name, site.once(("matrix", inside.namespace), lambda: observe(site, inside)))]
        elif name in {"llm", "embeddings"}:
            yield [(name, site.host(name))]
        else:
            values = given[name] if name in given else SUBJECTS[name](site)
            yield [(name, value) for value in values]


def run(site: Site, *families: str) -> Iterator[Outcome]:
    """Run every promise of the families."""
    with running(site) as inside:
        for file, module in _modules(families):
            for name, function in vars(module).items():
                if name.startswith("test_") and _wanted(module, function, site):
                    for chosen in itertools.product(*_choices(function, site, inside)):
                        values = (
                            _label(value) for argument, value in chosen if argument not in {"site", "inside", "matrix"}
                        )
                        yield Outcome(f"{file}::{name}", "-".join(values), _fault(function, dict(chosen)))


def _label(value: object) -> str:
    """Return the id pytest shows: a case's own, else the value's text."""
    return str(value[0]) if isinstance(value, tuple) else str(getattr(value, "id", value))


def _wanted(module: object, function: object, site: Site) -> bool:
    own = getattr(module, "pytestmark", [])
    marks = [*(own if isinstance(own, list) else [own]), *getattr(function, "pytestmark", [])]
    return all(site.features[mark.args[0]] for mark in marks if mark.name == "feature")


def _fault(function: Callable[..., None], arguments: dict[str, Any]) -> str:
    try:
        function(**arguments)
    except PromiseBrokenError as broken:
        return str(broken)
    except pytest.skip.Exception as skipped:
        return f"skipped: {skipped}"
    return ""
