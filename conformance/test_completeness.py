"""The suite judged by itself; runs last."""

import pytest

from conformance.plugin import Suite
from conformance.verdict import require_none


def test_everything_declared_was_checked(suite: Suite) -> None:
    """Every promise was checked for everything the tree declares."""
    if not suite.run.complete:
        pytest.skip("only a part was asked for")

    require_none(
        suite.find_gaps(),
        where=f"conformance of {suite.run.env}",
        want="an executed check for every promise and every host, port, workload and object of the tree",
        reproduce=f"python -m pytest conformance --env={suite.run.env} --collect-only -q",
    )
