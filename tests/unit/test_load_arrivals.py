"""Open loop: starts come when they should, late ones are counted, none is skipped in silence."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.arrivals import Arrivals


def taken(arrivals: Arrivals, until: float) -> list[float]:
    """Every start up to a moment, each taken when it is due."""
    found = []
    while arrivals.due() <= until:
        due, dropped = arrivals.take(arrivals.due())
        assert due is not None
        assert dropped == 0
        found.append(due)
    return found


@pytest.mark.parametrize("process", ["poisson", "constant"])
def test_a_seed_gives_the_same_starts(process: str) -> None:
    """Another seed others."""

    def starts(seed: str) -> list[float]:
        arrivals = Arrivals(process, seed, bound=1.0)
        arrivals.set_rate(10.0, 0.0)
        return taken(arrivals, 20.0)

    assert starts("1/0") == starts("1/0") != starts("2/0")


def test_poisson_has_its_rate_and_spread() -> None:
    """Mean and standard deviation of the gaps are 1 / rate; 10,000 of them are within 3 % of it."""
    arrivals = Arrivals("poisson", "7", bound=1.0)
    arrivals.set_rate(50.0, 0.0)
    starts = taken(arrivals, 200.0)
    gaps = [late - early for early, late in pairwise(starts)]
    mean = sum(gaps) / len(gaps)

    assert len(starts) == pytest.approx(10_000, rel=0.03)
    assert sum((gap - mean) ** 2 for gap in gaps) / len(gaps) == pytest.approx(0.02**2, rel=0.1)


def test_constant_is_constant() -> None:
    """Equal gaps, from somewhere within the first."""
    arrivals = Arrivals("constant", "7", bound=1.0)
    arrivals.set_rate(4.0, 10.0)
    starts = taken(arrivals, 20.0)

    assert 10.0 <= starts[0] <= 10.25
    assert [late - early for early, late in pairwise(starts)] == pytest.approx([0.25] * 39)


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=6), st.floats(0.0, 2.0))
def test_every_start_is_taken_or_dropped(rates: list[float], step: float) -> None:
    """However the rate changes and however rarely somebody is free: taken + dropped + left is what was due."""
    arrivals, twin = (Arrivals("poisson", "1", bound=0.5) for _ in range(2))
    due = got = lost = 0
    for at, rate in enumerate(rates):
        now = float(at)
        due += len(taken(twin, now))
        twin.set_rate(rate, now)
        arrivals.set_rate(rate, now)
        start, dropped = arrivals.take(now + step / 2)
        got, lost = got + (start is not None), lost + dropped
    end = len(rates) + step
    due += len(taken(twin, end))
    lost += arrivals.close(end)

    assert got + lost == due
    assert arrivals.take(end + 10) == (None, 0)


def test_a_late_start_is_dropped_and_the_next_one_taken() -> None:
    """Latency counts from the intended start of the one that is taken."""
    arrivals = Arrivals("constant", "1", bound=0.5)
    arrivals.set_rate(1.0, 0.0)
    first = arrivals.due()

    start, dropped = arrivals.take(first + 3.2)

    assert start == pytest.approx(first + 3)
    assert dropped == 3


def test_a_lower_rate_makes_nobody_later() -> None:
    """What was due before a change of the rate stays due when it was."""
    arrivals = Arrivals("constant", "1", bound=5.0)
    arrivals.set_rate(100.0, 0.0)
    first = arrivals.due()
    arrivals.set_rate(0.01, 1.0)

    assert arrivals.take(1.0) == (first, 0)
    assert arrivals.take(1.0)[0] == pytest.approx(first + 0.01)


def test_at_rate_zero_nobody_begins() -> None:
    """Nor is anything dropped."""
    arrivals = Arrivals("poisson", "1", bound=0.5)

    assert arrivals.take(1e9) == (None, 0)
    assert arrivals.close(1e9) == 0
