"""One run in one process: when requests begin, and where what they showed is kept. Knows no Locust."""

import gc
import math
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from loadtests.arrivals import Arrivals
from loadtests.plan import Order
from loadtests.recorder import Recorder, Span

# Seconds: no wait is longer, and one that is too long for the platform's timers would raise.
_NAP: Final = 60.0


def be_punctual() -> None:
    """Keep this process from being late by what is not its own work.

    The garbage collector passes over what is there now: to look at a framework stops every user for 5 ms. Timers are
    exact, also in a pod of a node whose programs share wakeups (systemd's TimerSlackNSec, the local environment).
    """
    gc.collect()
    gc.freeze()
    # Linux has it, other systems of those who make load need not.
    with suppress(OSError):
        Path("/proc/self/timerslack_ns").write_text("1")


class Run:
    """What the users of one process share."""

    def __init__(self, order: Order, worker: int = 0, number: int = 0) -> None:
        """`worker`: the number of this process among those that make the load; `number`: that of the run."""
        self.order, self.worker, self.number = order, worker, number
        self.began, self.ended = time.perf_counter(), 0.0
        self.recorder = Recorder(order.scenario.slo, self.began)
        self._arrivals = Arrivals(order.arrival, f"{order.seed}/{worker}", order.start_bound)
        self._turn = threading.Lock()
        self._changed = threading.Event()
        self._cpu = time.process_time()

    def elapsed(self) -> float:
        """Return the seconds since the run began, up to its end."""
        return (self.ended or time.perf_counter()) - self.began

    def set_rate(self, rate: float) -> None:
        """Open loop: let this process begin so many requests per second from now on."""
        self._arrivals.set_rate(rate, time.perf_counter())
        # Who waits for an arrival of the old rate must look again.
        self._changed.set()

    def begin(self) -> float:
        """Return when the next request is meant to begin: now in a closed loop, else the arrival that was waited for.

        Of the users that are free, one waits for the next arrival and the others for their turn.
        """
        if self.order.loop == "closed":
            now = time.perf_counter()
            self.recorder.at(now).started += 1
            return now
        with self._turn:
            while True:
                now = time.perf_counter()
                intended, dropped = self._arrivals.take(now)
                span = self.recorder.at(now)
                span.dropped += dropped
                if intended is not None:
                    span.started += 1
                    return intended
                self._changed.wait(min(max(self._arrivals.due() - now, 0.0), _NAP))
                self._changed.clear()

    def end(self) -> None:
        """Take the end's time, and count the starts that were due and nobody made."""
        if not self.ended:
            self.ended = time.perf_counter()
            if dropped := self._arrivals.close(self.ended):
                self.recorder.at(self.ended).dropped += dropped

    def cpu(self) -> float:
        """Return the share of one core that this process used since the run began."""
        return (time.process_time() - self._cpu) / max(self.elapsed(), 1e-9)

    def measured(self) -> tuple[Span, float]:
        """Return what happened after the warm-up, and the seconds that took."""
        seconds, warm_up = self.elapsed(), self.order.warm_up
        return self.recorder.between(warm_up, math.ceil(seconds)), max(seconds - warm_up, 0.0)

    def shared(self) -> dict[str, Any]:
        """Return what a worker tells the master: what is new since the last time."""
        return {"run": self.number, "spans": self.recorder.drain(), "cpu": self.cpu(), "ended": bool(self.ended)}
