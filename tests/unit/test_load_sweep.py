"""A sweep finds the knee and the end of the SLO of systems whose answers are known."""

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.histogram import Histogram
from loadtests.measure import END_TO_END, Slo
from loadtests.pacing import Sweep
from loadtests.recorder import Span
from loadtests.sweep import Step, knee, next_load, within_slo

System = Callable[[float], tuple[float, float]]
"""Load -> (throughput, latency)."""


def slots(number: float) -> System:
    """A server that works on so many requests at once, 0.1 s each: the knee is at that number."""
    return lambda users: (min(users, number) / 0.1, 0.1 * max(1.0, users / number))


def saturating(half: float) -> System:
    """X = C n / (n + h), so that the power C^2 n / (n + h)^2 is greatest at h."""
    return lambda users: (100 * users / (users + half), (users + half) / 100)


def queue(rate: float) -> System:
    """An M/M/1 queue: latency 1 / (mu - lambda), and the greatest power at half of its capacity."""
    capacity = 2 * rate
    # Beyond its capacity a queue only grows.
    return lambda load: (min(load, capacity), 1 / (capacity - load) if load < 0.99 * capacity else 100 / capacity)


def swept(system: System, holds: float, seed: int, *, whole: bool, noise: float = 0.02) -> list[Step]:
    """Every step of a sweep from load 1, each figure off by up to the noise."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    steps, load = list[Step](), 1.0
    following: float | None = load
    while following is not None:
        load = following
        throughput, latency = (value * draw.uniform(1 - noise, 1 + noise) for value in system(load))
        steps.append(Step(load, throughput, latency, good=load <= holds))
        assert len(steps) <= 30, "it must come to an end"
        following = next_load(steps, 512, whole=whole)
    return steps


@given(st.integers(2, 100), st.integers(0, 1000))
def test_the_knee_of_a_server_with_slots_is_found(number: int, seed: int) -> None:
    """Within 10 % where every figure is up to 2 % off."""
    steps = swept(slots(number), number * 2, seed, whole=True)

    assert knee(steps, whole=True) == pytest.approx(number, rel=0.1)


@given(st.floats(2, 60), st.integers(0, 1000))
def test_the_knee_of_a_smooth_curve_is_found(half: float, seed: int) -> None:
    """Also where the top is flat."""
    steps = swept(saturating(half), half * 2, seed, whole=True)

    assert knee(steps, whole=True) == pytest.approx(half, rel=0.1)


@given(st.floats(0.5, 100), st.integers(0, 1000))
def test_the_knee_of_a_queue_is_found(rate: float, seed: int) -> None:
    """In an open loop, whose loads are rates."""
    steps = swept(queue(rate), rate * 1.5, seed, whole=False)

    assert knee(steps, whole=False) == pytest.approx(rate, rel=0.1)


@given(st.integers(1, 400), st.integers(0, 1000))
def test_the_end_of_the_slo_is_found(holds: int, seed: int) -> None:
    """The largest load that holds it is at most 15 % away, and never beyond."""
    found = within_slo(swept(slots(8), holds, seed, whole=True))

    assert found <= holds
    assert holds <= max(found * 1.15, found + 1)


def test_a_good_load_above_a_broken_one_does_not_count() -> None:
    """Luck is no proof."""
    steps = [Step(1, 1, 1, good=True), Step(2, 1, 1, good=False), Step(4, 1, 1, good=True)]

    assert within_slo(steps) == 1
    assert within_slo(steps[1:2]) == 0


def test_nothing_answered_has_no_knee() -> None:
    """And power 0, not a division by zero."""
    assert math.isnan(knee([Step(1, 0, math.nan, good=False)], whole=True))
    assert math.isnan(knee([], whole=True))


def test_a_sweep_goes_no_further_than_it_may() -> None:
    """Where nothing breaks, the largest load is tried and that is all."""
    steps = swept(lambda users: (users, 1.0), 10_000, 1, whole=True)

    assert max(step.load for step in steps) == 512
    assert within_slo(steps) == 512


class Machine:
    """A server with slots, seen by a sweep second by second: a clock that jumps, no waiting."""

    def __init__(self, number: int, *, shaky: bool = False) -> None:
        """`shaky`: its speed never settles."""
        self.number, self.shaky = number, shaky
        self.seen: list[tuple[float, float]] = []

    def run(self, sweep: Sweep) -> float:
        """Sweep it; return when that ended."""
        now, began = 0.0, 0.0
        loads: list[float] = []

        def read(begin: float, end: float) -> Span:
            assert begin >= began + sweep.warm_up, "figures of the warm-up are not read"
            assert end + sweep.lag <= now, "nor what workers have not told yet"
            return self.span(loads[-1], begin, end)

        while (load := sweep.load(now, read)) is not None:
            if not loads or load != loads[-1]:
                began = now
                loads.append(load)
            now += 1.0
        return now

    def span(self, load: float, begin: float, end: float) -> Span:
        """What happens at a load: 10 requests per second and slot, each of 3 units."""
        speed = 10 * min(load, self.number) * (1 + (begin % 2) * 0.5 if self.shaky else 1)
        latency, count = 0.1 * max(1.0, load / self.number), int(speed * (end - begin))
        span = Span(answered=count, units=3 * count, good=count if latency <= 0.2 else 0)
        span.series[END_TO_END] = Histogram()
        for _ in range(count):
            span.note(END_TO_END, [latency])
        return span


def sweep(seconds: float = 10_000, lag: float = 0.0) -> Sweep:
    """A sweep of up to 64 users with windows of 3 s."""
    return Sweep(1, 64, True, seconds, Slo({END_TO_END: 0.2}, 0.95), window=3, warm_up=2, lag=lag)  # noqa: FBT003


@pytest.mark.parametrize("lag", [0.0, 4.0])
def test_steps_follow_when_figures_have_settled(lag: float) -> None:
    """Three windows for each where they are steady from the start."""
    found = sweep(lag=lag)
    ended = Machine(4).run(found)

    assert found.complete
    assert all(step.steady for step in found.steps)
    assert ended == pytest.approx(len(found.steps) * (2 + 9 + lag), abs=len(found.steps))
    assert found.figures() == pytest.approx(
        {
            "largest load within the SLO": 8,
            "knee": pytest.approx(4, rel=0.1),
            "largest throughput": 120,
            "steps": len(found.steps),
        }
    )


def test_a_step_that_does_not_settle_ends_and_says_so() -> None:
    """After six windows."""
    found = sweep()
    Machine(4, shaky=True).run(found)

    assert found.complete
    assert not any(step.steady for step in found.steps)


def test_time_ends_a_sweep() -> None:
    """It keeps what it has and is not called complete."""
    found = sweep(seconds=30)

    assert Machine(4).run(found) == 30
    assert not found.complete
    assert 1 <= len(found.steps) <= 3


def test_a_load_that_gets_no_answer_is_a_step_too() -> None:
    """The SLO is broken there; the sweep goes on and ends."""
    found = sweep()
    now = 0.0
    while found.load(now, lambda _begin, _end: Span()) is not None:
        now += 1.0

    assert found.complete
    assert not any(step.good for step in found.steps)
    assert found.figures()["largest load within the SLO"] == 0
