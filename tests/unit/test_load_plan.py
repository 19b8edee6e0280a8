"""Profiles: what is asked for is what is run, and what cannot be is told."""

from typing import Any

import pytest

from loadtests.arrivals import PROCESSES
from loadtests.measure import END_TO_END, FIRST_TOKEN, GAPS, NORMALIZED, PER_TOKEN, START_DELAY
from loadtests.memory import GROWTH
from loadtests.pacing import Sweep
from loadtests.plan import PROFILES, TARGETS, UNITS, Order, order, profile
from loadtests.recorder import Recorder, figures
from loadtests.scenario import InputError


def loads(found: Order) -> list[float | None]:
    """The load at every second up to the end."""
    return [found.load_at(second + 0.5) for second in range(int(found.seconds) + 1)]


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("target", TARGETS)
def test_every_profile_promises_figures_that_exist(name: str, target: str) -> None:
    """A limit on a misspelled figure would always be broken."""
    found = profile(name)
    slo = order(target, name).scenario.slo
    known = set(figures(Recorder(slo, 0).between(0, 1), 1.0, UNITS[target]))
    series = (START_DELAY, FIRST_TOKEN, GAPS, PER_TOKEN, NORMALIZED, END_TO_END)
    known |= {f"{one} {label}" for one in series for label in ("p50", "p90", "p95", "p99", "p99.9", "mean", "max")}
    if found.sweeps:
        known |= set(Sweep(1, 2, True, 10, slo, 1, 0).figures())  # noqa: FBT003 - of users

    assert {limit.figure for limit in found.limits[target]} <= known | {GROWTH}
    assert found.name == name
    assert found.arrival in PROCESSES
    assert max(stage.share for stage in found.stages) == 1 or found.sweeps


def test_smoke_is_one_user_and_then_four() -> None:
    """For ten and twenty seconds."""
    assert loads(order("llm", "smoke")) == [1.0] * 10 + [4.0] * 20 + [None]


def test_a_ramp_rises_and_a_spike_falls_again() -> None:
    """As rates of an open loop."""
    ramp, spike = loads(order("llm", "ramp"))[:-1], loads(order("llm", "spike"))[:-1]

    assert ramp == sorted(ramp, key=lambda rate: rate or 0)
    assert (ramp[0], ramp[-1]) == pytest.approx((0.05, 0.5))
    assert (spike[0], max(rate or 0 for rate in spike), spike[-1]) == pytest.approx((0.1, 1.0, 0.1))


def test_seconds_stretch_the_stages() -> None:
    """Their proportions stay."""
    assert loads(order("llm", "smoke", seconds=6)) == [1.0] * 2 + [4.0] * 4 + [None]


def test_a_soak_takes_a_quarter_of_an_hour() -> None:
    """Longer than tokens live."""
    assert order("llm", "soak").seconds == 900


@pytest.mark.parametrize(("seconds", "warm_up"), [(0, 10), (20, 4), (4, 0)])
def test_a_short_run_has_a_short_warm_up(seconds: float, warm_up: float) -> None:
    """At most a fifth, in whole seconds."""
    assert order("llm", "steady", seconds=seconds).warm_up == warm_up


def test_the_loop_is_part_of_the_label() -> None:
    """Figures of open and closed loops are not to be compared."""
    assert order("llm", "steady").label == "llm-steady-open"
    assert order("llm", "steady", loop="closed", load=3).label == "llm-steady-closed"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"profile_name": "stedy"}, "no profile 'stedy'; did you mean 'steady'?"),
        ({"load": -1.0}, "--load: expected a number from 0, got -1"),
        ({"seconds": float("nan")}, "--seconds: expected a number from 0, got nan"),
        ({"loop": "half"}, "--loop: expected open or closed, got 'half'"),
        ({"arrival": "bursts"}, "--arrival: expected poisson or constant, got 'bursts'"),
        ({"load": 1.5}, "--load: a closed loop has whole users, got 1.5"),
        ({"loop": "open"}, "--loop=open: profile smoke states its load for a closed loop; say --load too"),
        ({"scenario_name": "none"}, "no scenario 'none'"),
    ],
)
def test_what_cannot_be_is_told(wrong: dict[str, Any], words: str) -> None:
    """Which argument, and what it may be."""
    with pytest.raises(InputError) as caught:
        order("llm", **{"profile_name": "smoke", **wrong})

    assert str(caught.value).startswith(words)
