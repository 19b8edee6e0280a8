"""One process of a run: when its users begin, and what is left at the end. Threads stand for users."""

import sys
import threading
import time

import pytest

from betelgeuse import paths
from betelgeuse.shell import run
from loadtests.plan import order
from loadtests.run import Run


def opened(rate: float, bound: float = 5.0) -> Run:
    """An open loop with equal gaps."""
    run = Run(order("llm", "steady", arrival="constant", start_bound=bound))
    run.set_rate(rate)
    return run


def test_a_closed_loop_begins_at_once() -> None:
    """Its intended start is now."""
    run = Run(order("llm", "smoke"))
    before = time.perf_counter()

    assert before <= run.begin() <= time.perf_counter()
    assert run.recorder.between(0, 1e9).started == 1


def test_an_open_loop_begins_when_it_should() -> None:
    """Never early, at equal gaps however many users are free."""
    run = opened(200.0)
    begun: list[tuple[float, float]] = []

    def user() -> None:
        for _ in range(5):
            intended = run.begin()
            begun.append((intended, time.perf_counter()))

    threads = [threading.Thread(target=user) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    intended = sorted(start for start, _ in begun)

    assert all(real >= start for start, real in begun)
    assert [round(late - intended[0], 6) for late in intended] == pytest.approx([0.005 * at for at in range(20)])


def test_a_higher_rate_wakes_who_waits() -> None:
    """Not at the arrival that the old rate would have had."""
    run = opened(0.001)
    begun: list[float] = []
    user = threading.Thread(target=lambda: begun.append(run.begin()))
    user.start()
    run.set_rate(1000.0)
    user.join(10)

    assert len(begun) == 1
    assert time.perf_counter() - begun[0] < 5


def test_what_nobody_began_is_dropped() -> None:
    """Late starts when somebody is free again, and at the end what was due."""
    run = opened(1000.0, bound=0.01)
    threading.Event().wait(0.05)
    run.begin()
    dropped = run.recorder.between(0, 1e9).dropped
    threading.Event().wait(0.02)
    run.end()
    run.end()

    assert dropped >= 30
    assert run.recorder.between(0, 1e9).dropped >= dropped + 15
    assert run.elapsed() == run.ended - run.began


def test_workers_have_arrivals_of_their_own() -> None:
    """The same for both would be bursts of two."""
    starts = []
    for worker in range(2):
        run = Run(order("llm", "steady"), worker)
        run.set_rate(1000.0)
        begin = run.begin()
        starts.append([run.begin() - begin for _ in range(5)])

    assert starts[0] != pytest.approx(starts[1])


@pytest.mark.skipif(sys.platform != "linux", reason="no other system lets timers be late by a process's own choice")
def test_a_generator_is_punctual_where_programs_share_wakeups() -> None:
    """As in a pod of the local environment: its timers are exact whatever it was started with."""
    slack = "pathlib.Path('/proc/self/timerslack_ns')"
    late = f"import pathlib; {slack}.write_text('5000000')"
    code = f"{late}; from loadtests.run import be_punctual; be_punctual(); print({slack}.read_text())"

    assert int(run([sys.executable, "-c", code], cwd=paths.ROOT)) == 1
