"""The Kubernetes that we form is a conformant one: the release's own tests say so. Run it with `nox -s kubernetes`."""

from pathlib import Path
from typing import Final

import pytest

from betelgeuse import paths, settings
from betelgeuse.progress import say
from tests.kubernetes import specs
from tests.kubernetes.left_out import LEFT_OUT

_ALONE: Final = ("[Serial]", "[Disruptive]")
_TOGETHER: Final = 4
"""Tests wait more than they work: four at a time keep two cores busy."""


@pytest.fixture(scope="module")
def kubeconfig() -> Path:
    """Return the way to the running cluster; its nodes have what the tests run."""
    specs.load()
    return paths.kubeconfig_path(settings.LOCAL)


@pytest.fixture(scope="module")
def wanted() -> frozenset[str]:
    """Return the tests to run."""
    return specs.everything() - LEFT_OUT.keys()


def test_what_is_left_out_exists() -> None:
    """Every name on the list of what is left out is a conformance test of this release."""
    assert LEFT_OUT.keys() <= specs.everything()


@pytest.mark.parametrize("alone", [False, True], ids=["together", "alone"])
def test_conformance(kubeconfig: Path, wanted: frozenset[str], *, alone: bool) -> None:
    """Every conformance test that is not left out with a reason is run and passes; those that must be alone, alone."""
    names = {name for name in wanted if any(mark in name for mark in _ALONE) is alone}
    part, processes = ("alone", 1) if alone else ("together", _TOGETHER)

    outcome = specs.go(part, names, processes=processes, kubeconfig=kubeconfig)

    say(f"{part}: {len(outcome.passed)} passed, {len(outcome.failed)} failed")
    assert outcome.failed == {}
    assert outcome.passed == names
