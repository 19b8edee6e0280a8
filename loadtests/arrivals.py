"""Open loop: when requests want to begin, whether or not earlier ones were answered.

Times of a process with rate 1 are drawn once, and stretched by the rate that holds: a seed gives the same arrivals
whatever the users do, and a change of rate needs no new draw.
"""

import math
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Final


def _poisson(seed: str) -> Iterator[float]:
    draw = random.Random(seed)  # noqa: S311 - no secret
    while True:
        yield draw.expovariate(1.0)


def _constant(seed: str) -> Iterator[float]:
    # Workers must not start in step: each begins somewhere in the first gap.
    yield random.Random(seed).random()  # noqa: S311 - no secret
    while True:
        yield 1.0


PROCESSES: Final[Mapping[str, Callable[[str], Iterator[float]]]] = {"poisson": _poisson, "constant": _constant}
"""Gaps between arrivals at rate 1, by name. Independent Poisson processes of workers add up to one."""


class Arrivals:
    """The intended starts of one process; all times are seconds of the caller's clock."""

    def __init__(self, process: str, seed: str, bound: float) -> None:
        """`bound`: a start that is late by more seconds is dropped. The rate is 0 until it is set."""
        self.bound = bound
        self._gaps = PROCESSES[process](seed)
        self._next = next(self._gaps)
        self._done = self._since = self._rate = 0.0
        self._waiting: deque[float] = deque()
        """Intended starts of before the last change of the rate that nobody took yet."""

    def _coming(self) -> float:
        """Return when the next request that is not waiting yet wants to begin."""
        return self._since + (self._next - self._done) / self._rate if self._rate > 0 else math.inf

    def due(self) -> float:
        """Return when the oldest request wants, or wanted, to begin; infinity at rate 0."""
        return self._waiting[0] if self._waiting else self._coming()

    def _pop(self) -> None:
        if self._waiting:
            self._waiting.popleft()
        else:
            self._next += next(self._gaps)

    def set_rate(self, rate: float, now: float) -> None:
        """Let arrivals come at so many per second from now on; what was due before stays due."""
        while (coming := self._coming()) <= now:
            self._waiting.append(coming)
            self._next += next(self._gaps)
        self._done += (now - self._since) * self._rate
        self._since, self._rate = now, rate

    def take(self, now: float) -> tuple[float | None, int]:
        """Return (intended start of the oldest request that can still begin, how many were too late and are dropped).

        None when no request wants to begin by now.
        """
        dropped = 0
        while (due := self.due()) <= now:
            self._pop()
            if now - due <= self.bound:
                return due, dropped
            dropped += 1
        return None, dropped

    def close(self, now: float) -> int:
        """End the process; return how many wanted to begin by now and were not taken."""
        self.set_rate(0.0, now)
        left = len(self._waiting)
        self._waiting.clear()
        return left
