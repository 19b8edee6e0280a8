"""What is measured of a request is what its definition says."""

import pytest

from loadtests.events import Events, text_of
from loadtests.limits import Limit
from loadtests.measure import (
    END_TO_END,
    FIRST_TOKEN,
    NORMALIZED,
    PER_TOKEN,
    START_DELAY,
    Answer,
    Batch,
    Slo,
)

ANSWER = Answer(intended=9.9, asked=10.0, pieces=[10.5, 10.6, 11.0], ended=11.1, tokens=6)


def test_answer_is_measured_by_definition() -> None:
    """All from the intended start; per token both ways; gaps between pieces."""
    assert ANSWER.durations == pytest.approx(
        {START_DELAY: 0.1, FIRST_TOKEN: 0.6, END_TO_END: 1.2, PER_TOKEN: 0.6 / 5, NORMALIZED: 0.2}
    )
    assert ANSWER.gaps == pytest.approx([0.1, 0.4])


def test_pieces_of_a_message_have_no_gap() -> None:
    """A message of several tokens comes at one moment."""
    assert Answer(0.0, 0.0, pieces=[1.0, 1.5, 1.5, 1.5, 2.5]).gaps == [0.5, 1.0]


def test_one_token_has_no_rate() -> None:
    """Nothing is divided by zero, and no rate is invented."""
    assert PER_TOKEN not in Answer(intended=0, asked=0, pieces=[1], ended=1, tokens=1).durations


def test_batch_is_measured_from_its_intended_start() -> None:
    """A wait for a free user is latency too: no coordinated omission."""
    batch = Batch(intended=1.0, asked=3.0, ended=4.0, texts=2)

    assert batch.durations == {START_DELAY: 2.0, END_TO_END: 3.0}


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_stream_is_read_to_its_end_however_it_is_cut(size: int) -> None:
    """Pings and empty lines are passed over, [DONE] ends, what follows is not read."""
    stream = b': ping\n\ndata: {"a": 1}\r\n\r\nevent: x\ndata:{"b": 2}\n\ndata: [DONE]\n\ndata: {"c": 3}\n\n'
    events = Events()

    found = [event for at in range(0, len(stream), size) for event in events.feed(stream[at : at + size])]

    assert found == [{"a": 1}, {"b": 2}]
    assert events.done


def test_a_stream_without_its_end_is_not_done() -> None:
    """What was cut off is told from what ended."""
    events = Events()

    assert list(events.feed(b'data: {"a": 1}\n\ndata: {"b')) == [{"a": 1}]
    assert not events.done


@pytest.mark.parametrize("line", [b"data: {\n", b"data: 3\n"])
def test_an_event_that_is_no_object_is_an_error(line: bytes) -> None:
    """Nobody guesses what it meant."""
    with pytest.raises(ValueError, match=r"unexpected end|no object"):
        list(Events().feed(line))


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ({"choices": [{"delta": {"content": "x"}}]}, "x"),
        ({"choices": [{"delta": {"role": "assistant", "content": None}}]}, ""),
        ({"choices": [{"delta": {}, "finish_reason": "stop"}]}, ""),
        ({"choices": [], "usage": {"completion_tokens": 3}}, ""),
        ({"choices": [{"delta": {"content": 5}}]}, ""),
        ({"choices": ["x"]}, ""),
        ({"error": "busy"}, ""),
    ],
)
def test_only_text_counts(event: dict[str, object], text: str) -> None:
    """The role, the end and the usage are no text: the first token is not timed by them."""
    assert text_of(event) == text


@pytest.mark.parametrize(
    ("limits", "good"),
    [({}, True), ({FIRST_TOKEN: 0.6001}, True), ({FIRST_TOKEN: 0.5}, False), ({FIRST_TOKEN: 1, END_TO_END: 1}, False)],
)
def test_a_good_request_holds_every_limit(limits: dict[str, float], *, good: bool) -> None:
    """One broken limit is enough."""
    assert Slo(limits, 0.9).holds(ANSWER.durations) is good


@pytest.mark.parametrize(("got", "holds"), [(1.0, True), (2.0, True), (2.1, False)])
def test_limit_includes_its_bound(got: float, *, holds: bool) -> None:
    """At most means at most."""
    assert (Limit("f", most=2).broken_by({"f": got}) == "") is holds


def test_a_limit_says_what_it_wanted_and_got() -> None:
    """A figure that is missing breaks its limit."""
    assert Limit("f", least=3).broken_by({"f": 1.0}) == "f: expected at least 3, got 1"
    assert Limit("f", most=0).broken_by({}) == "f: expected at most 0, got nan"
