"""Histograms and spans: exact enough, and they add up in any order."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.histogram import Histogram
from loadtests.limits import Limit, broken
from loadtests.measure import END_TO_END, FIRST_TOKEN, Answer, Batch, Slo
from loadtests.recorder import Recorder, figures, latency, throughput

SECONDS = st.floats(0, 1e5)
LISTS = st.lists(SECONDS, min_size=1, max_size=60)
ANSWER = Answer(intended=0.0, asked=0.0, pieces=[0.5, 0.6, 1.0], ended=1.1, tokens=6, prompt_tokens=40)


def filled(values: list[float]) -> Histogram:
    """A histogram of values."""
    found = Histogram()
    found.add_all(values)
    return found


@given(LISTS, st.floats(0.001, 1))
def test_percentile_is_the_nearest_rank(values: list[float], share: float) -> None:
    """Within 0.025 %, or 0.1 µs, of the value that nearest rank picks from all values."""
    exact = sorted(values)[max(0, math.ceil(share * len(values) - 1e-9) - 1)]

    assert filled(values).percentile(share) == pytest.approx(exact, rel=0.00025, abs=1e-7)


@given(LISTS)
def test_mean_and_ends_are_exact(values: list[float]) -> None:
    """They are not taken from classes."""
    found = filled(values)

    assert (found.least, found.most, found.count) == (min(values), max(values), len(values))
    assert found.mean == pytest.approx(sum(values) / len(values))
    assert found.percentile(1.0) == pytest.approx(max(values), rel=0.00025, abs=1e-7)


@given(LISTS, LISTS)
def test_merged_is_what_one_would_have_counted(left: list[float], right: list[float]) -> None:
    """Also by way of JSON, as workers send it."""
    merged = filled(left)
    merged.merge(Histogram.of(json.loads(json.dumps(filled(right).plain()))))
    together = Histogram()
    for value in left + right:
        together.add(value)

    assert merged.counts == together.counts
    assert list(merged.percentiles([0.5, 0.9, 1.0])) == list(together.percentiles([0.5, 0.9, 1.0]))


def test_nothing_has_no_percentile() -> None:
    """Not 0: that would be a fine latency."""
    assert math.isnan(Histogram().percentile(0.5))
    assert math.isnan(Histogram().mean)


def test_a_run_adds_up() -> None:
    """Tokens, failures, dropped starts and rates; goodput counts all that were wanted."""
    recorder = Recorder(Slo({FIRST_TOKEN: 0.6}, 0.9), began=0.0)
    late = Answer(intended=0.0, asked=0.0, pieces=[0.9], ended=1.5, tokens=1)
    recorder.at(0.0).started += 4
    recorder.add_answer(ANSWER)
    recorder.add_answer(late)
    recorder.add_failure(1.7, "HTTP 500")
    recorder.at(1.9).dropped += 1

    span = recorder.between(0, 10)
    found = figures(span, 2.0, "tokens")

    assert span.causes == {"HTTP 500": 1}
    assert found["requests"] == 3
    assert found["unfinished"] == 1
    assert found["failure ratio"] == pytest.approx(1 / 3)
    assert found["dropped ratio"] == 1 / 4
    assert found["goodput ratio"] == 1 / 4
    assert found["goodput per second"] == 0.5
    assert found["requests per second"] == 1
    assert found["tokens per second"] == 3.5
    assert found["prompt tokens per second"] == 20
    assert found[f"{FIRST_TOKEN} p50"] == pytest.approx(0.5, rel=0.00025)
    assert found[f"{FIRST_TOKEN} max"] == 0.9
    assert latency(span) == pytest.approx((1.1 + 1.5) / 2)


def test_what_is_outside_does_not_count() -> None:
    """A warm-up leaves no trace in the figures."""
    recorder = Recorder(Slo({END_TO_END: 1}, 0.9), began=100.0)
    for ended in (100.5, 103.2, 104.0):
        recorder.add_batch(Batch(intended=ended - 0.5, asked=ended, ended=ended, texts=2))

    assert recorder.between(3, 4).answered == 1
    assert recorder.between(3, 5).units == 4


def test_workers_add_up_to_what_one_would_have_seen() -> None:
    """Drained twice, merged in another order: the same figures."""
    slo = Slo({FIRST_TOKEN: 1}, 0.9)
    alone, master = Recorder(slo, 0.0), Recorder(slo, 0.0)
    workers = [Recorder(slo, 0.0), Recorder(slo, 0.0)]
    drained = []
    for number in range(20):
        answer = Answer(0.0, 0.0, [0.1 * number, 0.1 * number + 0.05], 0.1 * number + 0.05, 2)
        for recorder in (alone, workers[number % 2]):
            recorder.came(answer.ended, 2)
            recorder.add_answer(answer)
            recorder.add_failure(answer.ended, "timeout")
        if number in {7, 19}:
            drained += [json.loads(json.dumps(worker.drain())) for worker in workers]
    for told in reversed(drained):
        master.merge(told)

    assert figures(master.between(0, 9), 2.0, "tokens") == pytest.approx(figures(alone.between(0, 9), 2.0, "tokens"))
    assert master.between(0, 9).causes == {"timeout": 20}
    assert workers[0].drain() == {}


def test_throughput_sees_what_is_not_finished() -> None:
    """Pieces count when they come, scaled to the tokens that pieces had where answers ended."""
    recorder = Recorder(Slo({}, 0.9), 0.0)
    recorder.came(0.5, 3)
    recorder.add_answer(ANSWER)
    recorder.came(1.5, 5)

    assert throughput(recorder.between(0, 2), 2.0) == pytest.approx((3 + 5) * (6 / 3) / 2)


def test_the_timeline_covers_the_run() -> None:
    """Equal parts, and what is left belongs to the last."""
    recorder = Recorder(Slo({}, 0.9), 0.0)
    for second in range(10):
        recorder.add_failure(second + 0.5, "x")

    for seconds, widths in ((9.6, [4, 5.6]), (10.0, [4, 6]), (10.4, [4, 4, 2.4])):
        parts = recorder.timeline(seconds, points=3)

        assert [width for _, width, _ in parts] == pytest.approx(widths)
        assert [begin for begin, _, _ in parts] == [0, 4, 8][: len(widths)]
        assert sum(span.failed for _, _, span in parts) == 10


def test_an_empty_run_breaks_its_limits() -> None:
    """A run that observed nothing proves nothing."""
    found = figures(Recorder(Slo({}, 1), 0.0).between(0, 30), 30.0, "tokens")

    limits = [Limit("failure ratio", most=0), Limit("goodput ratio", least=0.9), Limit(f"{FIRST_TOKEN} p95", most=9)]
    assert len(broken(limits, found)) == 3
