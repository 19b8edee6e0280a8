"""The steps of a sweep in time: warm up, repeat a window until its figures settle, go to the next load."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from loadtests.measure import Slo
from loadtests.recorder import Span, latency, throughput, waits, whole
from loadtests.sweep import Step, knee, next_load, within_slo

_KEPT: Final = 3
"""The last windows of a step make its figures."""
_MOST: Final = 6
_TOLERANCE: Final = 0.05
"""Settled: the throughput of each kept window is this close to their mean, as a share of it."""
_ENOUGH: Final = 10
"""Requests in the kept windows."""


@dataclass
class Sweep:
    """A sweep that runs; all times are whole or broken seconds since the run began."""

    first: float
    largest: float
    whole: bool
    """Loads are users; else they are rates."""
    seconds: float
    """The sweep ends after this, finished or not."""
    slo: Slo
    window: float
    warm_up: float
    lag: float = 0.0
    """How late figures of workers may come."""
    steps: list[Step] = field(default_factory=list)
    complete: bool = False
    """Whether it ended because nothing was left to try."""
    _load: float = 0.0
    _since: float = 0.0

    def load(self, now: float, read: Callable[[float, float], Span]) -> float | None:
        """Return the load for this moment, None at the end; `read` gives what happened between two moments."""
        if now >= self.seconds or self.complete:
            return None
        if not self._load:
            self._load, self._since = self.first, now
        # Spans are kept by whole seconds.
        begin, width = math.ceil(self._since + self.warm_up), max(1, round(self.window))
        done = math.floor((now - self.lag - begin) / width)
        if done < _KEPT:
            return self._load
        windows = [read(begin + at * width, begin + (at + 1) * width) for at in range(done - _KEPT, done)]
        speeds = [throughput(span, width) for span in windows]
        together, mean = whole(windows), sum(speeds) / _KEPT
        steady = together.answered >= _ENOUGH and max(abs(speed - mean) for speed in speeds) <= _TOLERANCE * mean
        if not steady and done < _MOST:
            return self._load
        good = bool(together.wanted) and together.good >= self.slo.share * together.wanted
        self.steps.append(Step(self._load, mean, latency(together), good, steady, waits(together)))
        following = next_load(self.steps, self.largest, whole=self.whole)
        self.complete = following is None
        self._load, self._since = following or 0.0, now
        return following

    def figures(self) -> dict[str, float]:
        """Return what the sweep found."""
        return {
            "largest load within the SLO": within_slo(self.steps),
            "knee": knee(self.steps, whole=self.whole),
            "largest throughput": max((step.throughput for step in self.steps), default=math.nan),
            "steps": float(len(self.steps)),
        }
