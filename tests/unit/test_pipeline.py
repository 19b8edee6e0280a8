"""Tasks run in the order they need each other, and a failure stops the rest."""

import threading
from functools import partial

import pytest

from betelgeuse.errors import BuildError, UsageError
from betelgeuse.pipeline import Task, check, run


def _fail() -> None:
    message = "no"
    raise BuildError(message)


def test_needs_are_done_first() -> None:
    """A task starts when everything it needs has ended."""
    order: list[str] = []
    tasks = [Task("c", partial(order.append, "c"), ("a", "b")), Task("a", partial(order.append, "a"))]
    run([*tasks, Task("b", partial(order.append, "b"), ("a",))])

    assert order == ["a", "b", "c"]


def test_independent_tasks_run_side_by_side() -> None:
    """Two tasks that meet at a barrier both end: neither waits for the other to be over."""
    meeting = threading.Barrier(2, timeout=5)

    run([Task("left", meeting.wait), Task("right", meeting.wait)])

    assert not meeting.broken


def test_failure_is_raised_and_stops_what_has_not_begun() -> None:
    """The first failure reaches the caller; what needed it never runs."""
    ran: list[str] = []

    with pytest.raises(BuildError, match="no"):
        run([Task("bad", _fail), Task("after", partial(ran.append, "after"), ("bad",))])

    assert ran == []


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([Task("a", print, ("missing",))], "missing"),
        ([Task("a", print, ("b",)), Task("b", print, ("a",))], "need each other"),
        ([Task("a", print), Task("a", print)], "twice"),
    ],
    ids=["unknown", "cycle", "double"],
)
def test_wrong_plans_are_refused(tasks: list[Task], message: str) -> None:
    """A plan that cannot end is refused before anything runs."""
    with pytest.raises(UsageError, match=message):
        check(tasks)
