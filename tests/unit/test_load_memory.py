"""The server's memory: asked of a command, judged without the time in which contexts fill."""

import itertools
import sys
import threading

import pytest

from loadtests.limits import broken
from loadtests.memory import AT_LAST, GROWTH, Memory
from loadtests.plan import profile


def watched(*mib: float) -> Memory:
    """A memory that has had these samples."""
    said = iter(mib)
    memory = Memory("ask", lambda _: f"Name:\tserver\nVmHWM:\t9 kB\nVmRSS:\t {round(next(said) * 1024)} kB\n")
    for _ in mib:
        memory.sample()
    return memory


@pytest.mark.parametrize(
    ("mib", "growth"),
    [
        ([100, 200, 300, 300, 300, 300], 1.0),  # what fills at the beginning is no leak
        ([100, 100, 100, 110, 120, 130, 140, 150, 160], 1.25),
        ([300, 300, 300, 900, 300, 300, 300, 300, 300], 1.0),  # nor is a moment
    ],
)
def test_growth_is_of_what_follows_the_first_third(mib: list[float], growth: float) -> None:
    """Medians of the last and of the middle third."""
    found = watched(*mib).figures()

    assert found[GROWTH] == pytest.approx(growth)
    assert found[AT_LAST] in mib
    assert bool(broken(profile("soak").limits["llm"][-1:], found)) is (growth > 1.05)


def test_too_few_samples_say_nothing() -> None:
    """A limit on what is missing is broken: whoever watches hears of it."""
    assert watched(100, 100).figures() == {}
    assert broken(profile("soak").limits["llm"][-1:], {})


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise SystemExit('gone')", ": gone"),
        ("pass", "printed nothing"),
        ("print('VmHWM: 1 kB')", "printed no VmRSS in kB"),
        ("print('VmRSS: many kB')", "printed no VmRSS in kB"),
    ],
)
def test_what_cannot_be_read_is_told(code: str, words: str) -> None:
    """A sample is missing, and the report says why."""
    memory = Memory(f'{sys.executable} -c "{code}"')
    memory.sample()

    assert memory.samples == []
    assert words in memory.trouble


def test_a_command_that_is_not_there_is_told() -> None:
    """As any other trouble."""
    memory = Memory("/nowhere/kubectl exec")
    memory.sample()

    assert "/nowhere/kubectl" in memory.trouble


def test_samples_come_until_the_end() -> None:
    """In the background; without a command nobody is asked."""
    numbers, third, before = itertools.count(1), threading.Event(), set(threading.enumerate())

    def ask(_: str) -> str:
        if (number := next(numbers)) >= 3:
            third.set()
        return f"VmRSS: {number} kB"

    Memory("", ask).watch(0.001)
    assert set(threading.enumerate()) == before
    memory = Memory("ask", ask)
    memory.watch(0.001)
    (sampling,) = set(threading.enumerate()) - before
    assert third.wait(10)
    memory.end()
    sampling.join(10)

    assert not sampling.is_alive()
    assert memory.figures()
