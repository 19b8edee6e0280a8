"""The figures of a load test are what their definitions say."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.measure import Answer, Limit, Run, events, percentile, text_of

ANSWER = Answer(asked=10.0, pieces=[10.5, 10.6, 11.0], ended=11.1, tokens=6)


def test_answer_is_measured_by_definition() -> None:
    """First token from asking; per token after the first; gaps between pieces."""
    assert ANSWER.time_to_first_token == pytest.approx(0.5)
    assert ANSWER.time_per_output_token == pytest.approx(0.1)
    assert ANSWER.gaps == pytest.approx([0.1, 0.4])


def test_one_token_has_no_rate() -> None:
    """Nothing is divided by zero, and no rate is invented."""
    assert Answer(asked=0, pieces=[1], ended=1, tokens=1).time_per_output_token == 0


def test_stream_is_read_to_its_end() -> None:
    """Pings and empty lines are passed over, [DONE] ends, what follows is not read."""
    lines = [b": ping", b'data: {"a": 1}', b"", b'data:{"b": 2}', b"data: [DONE]", b'data: {"c": 3}']

    assert list(events(lines)) == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ({"choices": [{"delta": {"content": "x"}}]}, "x"),
        ({"choices": [{"delta": {"role": "assistant", "content": None}}]}, ""),
        ({"choices": [{"delta": {}, "finish_reason": "stop"}]}, ""),
        ({"choices": [], "usage": {"completion_tokens": 3}}, ""),
    ],
)
def test_only_text_counts(event: dict[str, object], text: str) -> None:
    """The role, the end and the usage are no text: the first token is not timed by them."""
    assert text_of(event) == text


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_percentile_is_a_value_that_occurred(values: list[float], share: float) -> None:
    """At least that share of the values is at most the percentile."""
    found = percentile(values, share)

    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9


def test_run_adds_up() -> None:
    """Tokens, failures and rates of a run."""
    run = Run()
    run.add_answer(ANSWER)
    run.add_failure()

    figures = run.figures(seconds=2.0)

    assert figures["requests"] == 2
    assert figures["failure ratio"] == 0.5
    assert figures["per second"] == 3
    assert figures["time to first token p95"] == pytest.approx(0.5)


def test_empty_run_breaks_its_limits() -> None:
    """A run that observed nothing proves nothing."""
    figures = Run().figures(seconds=30.0)

    assert math.isnan(figures["failure ratio"])
    assert Limit("failure ratio", most=0).broken_by(figures) == "failure ratio: expected at most 0, got nan"
    assert Limit("time to first token p95", most=9).broken_by(figures)


@pytest.mark.parametrize(("got", "holds"), [(1.0, True), (2.0, True), (2.1, False)])
def test_limit_includes_its_bound(got: float, *, holds: bool) -> None:
    """At most means at most."""
    assert (Limit("f", most=2).broken_by({"f": got}) == "") is holds
