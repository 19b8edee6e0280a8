"""The objects of a load test in pods keep what every tree keeps: they come and go, and are in none."""

from collections.abc import Callable

import pytest

from betelgeuse import paths, settings
from loadtests.workflows import loadjobs
from loadtests.workflows.loadjobs import Load
from tests.render.checks import CHECKS, isolation, objects, references, workloads
from tests.render.trees import Tree

LOAD = Load(
    image="betelgeuse.local/locust:0.1.0-0123abcd",
    arguments=["-f", "loadtests/llm.py"],
    workers=3,
    seconds=600,
    files=loadjobs.code(paths.ROOT),
    roots="-----BEGIN CERTIFICATE-----",
    token_url="https://auth.example.org/token",  # noqa: S106 - an address
    credentials={"client-id": "api-client", "client-secret": "x"},
)
OTHERWISE = {
    # It is not in git: it is made for the time of a run, from one that the cluster made.
    "secrets_hold_nothing",
    # Code explains itself with hosts such as llm.DOMAIN.
    "placeholders_are_filled",
}
CHECKED = [
    check.__name__
    for module in (objects, references, isolation, workloads)
    for check in module.CHECKS
    if check.__name__ not in OTHERWISE
]


@pytest.mark.parametrize("check", CHECKED)
def test_a_run_keeps_the_rules_of_the_tree(check: str, trees: Callable[[str], Tree]) -> None:
    """Valid, pinned, restricted, denied by default, and no policy that speaks of nobody: beside what is there."""
    tree = Tree(settings.load("local"), [*trees("local").objects, loadjobs.namespace(), *loadjobs.objects(LOAD)])

    assert list(CHECKS[check](tree)) == []
