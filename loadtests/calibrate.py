"""How far the generator's own times are off, and how much one core of it can carry: nox -s loadtest -- --calibrate.

Times are compared with the schedule of a scripted server, and with what really happened: when the request had left, by
the generator's word or the server's, and when the server says that it sent each event. What differs from the latter is
the generator's own (with the loopback's share).
Capacity is that of Locust with everything it does for a request, per second of its processor time; the server's does
not count. Nothing else should run on the machine.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import gevent

# Importing it makes sockets those of gevent, as in a real run.
import locust as _locust  # noqa: F401

from loadtests import report
from loadtests.connection import Connection
from loadtests.events import Events
from loadtests.histogram import Histogram
from loadtests.measure import Answer, Slo
from loadtests.recorder import Recorder
from loadtests.run import be_punctual

_FIRST: Final = 0.05
_GAP: Final = 0.01
_TOKENS: Final = 100
_USERS: Final = 10
_BUSY: Final = (100, 250)
"""Users at 100 tokens per second each."""
_EMBEDDERS: Final = 20
_GOAL: Final = 0.001
"""Seconds that a time may be off in 99 of 100 cases."""
_CARRIED: Final = 20_000
"""Tokens per second and core, at least."""


@contextmanager
def _server(*flags: str) -> Iterator[str]:
    """Run a scripted server in a process of its own; yield its address."""
    command = [sys.executable, "-m", "loadtests.scripted_server", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=report.ROOT) as process:  # noqa: S603 - our own
        try:
            yield process.stdout.readline().strip() if process.stdout else ""
        finally:
            process.terminate()


class _Sent(Events):
    """Keeps when the server had the request, and when it sent each piece of text."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0.0
        self.sent: list[float] = []

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        for event in super().feed(data):
            if "sent" in event:
                self.asked = event["asked"]
                self.sent.append(event["sent"])
            yield event


def _answers(url: str, seconds: float) -> list[tuple[Answer, _Sent]]:
    """Return the answers of some seconds of a few users, each with what really happened."""
    be_punctual()
    found, end = list[tuple[Answer, _Sent]](), time.perf_counter() + seconds
    recorder = Recorder(Slo({}, 1.0), time.perf_counter())
    body = json.dumps({"messages": [], "max_tokens": _TOKENS}).encode()

    def user(number: int) -> None:
        connection = Connection(url)
        connection.connect()
        # Spread over an answer's time and, by one gap more, over a gap's: in step each would wait for the others.
        gevent.sleep(number * (_TOKENS + 1) * _GAP / _USERS)
        while time.perf_counter() < end:
            seen = _Sent()
            connection.events = lambda: seen  # noqa: B023 - called before the next turn
            now = time.perf_counter()
            answer = Answer(now, now)
            connection.chat(body, {}, answer, recorder.came)
            # Neither is early: who sends may be interrupted by who reads, and who reads may be busy.
            seen.asked = min(seen.asked, connection.sent)
            recorder.add_answer(answer)
            found.append((answer, seen))
        connection.close()

    gevent.joinall([gevent.spawn(user, number) for number in range(_USERS)], raise_error=True)
    return found


def accuracy(url: str, seconds: float) -> dict[str, Histogram]:
    """Return how far times are off, in seconds: from the schedule, and (own) from what really happened."""
    found = {name: Histogram() for name in ("first token", "gap", "own, first token", "own, gap")}
    for answer, said in _answers(url, seconds):
        first = answer.pieces[0] - answer.asked
        found["first token"].add(abs(first - _FIRST))
        found["own, first token"].add(abs(first - (said.sent[0] - said.asked)))
        for (early, late), (before, after) in zip(pairwise(answer.pieces), pairwise(said.sent), strict=True):
            found["gap"].add(abs(late - early - _GAP))
            found["own, gap"].add(abs(late - early - (after - before)))
    return found


def capacity(target: str, users: int, seconds: float, *flags: str) -> dict[str, float]:
    """Return what Locust carries with so many users of a closed loop, per second of its processor time."""
    with _server(*flags) as url, tempfile.TemporaryDirectory() as folder:
        load = [
            "--profile-name=steady",
            "--loop=closed",
            f"--load={users}",
            f"--seconds={seconds}",
            f"--reports={folder}",
        ]
        script = f"loadtests/{target}.py"
        command = [sys.executable, "-m", "locust", "-f", script, "--headless", "--only-summary", f"--host={url}", *load]
        done = subprocess.run(command, cwd=report.ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - our own
        files = list(Path(folder).glob("*.json"))
        if not files:
            message = f"Locust did not run: {done.stderr.strip().splitlines()[-1:]}"
            raise RuntimeError(message)
        known = json.loads(files[0].read_text("utf-8"))
    figures, cores = known["figures"], known["generator"]["cores used"][0]
    made = {name: figures[name] for name in ("requests per second", f"{known['unit']} per second", "failure ratio")}
    per_core = {f"{name} and core": made[name] / cores for name in list(made)[:2]}
    gaps = {"gap p99": figures["inter-token latency p99"]} if target == "llm" else {}
    return {"users": float(users), "cores used": cores, **made, **per_core, **gaps}


def _words(off: dict[str, Any], carried: float, requests: dict[str, float], load: float) -> str:
    def three(name: str) -> str:
        return ", ".join(f"{off[name][each]:.2f}" for each in ("p50", "p99", "max"))

    return (
        f"off by (p50, p99, max, in ms): first token {three('own, first token')}; gap {three('own, gap')}; with the "
        f"scripted server's own lateness {three('first token')} and {three('gap')}; one core carries {carried:,.0f} "
        f"tokens/s or {requests['requests per second and core']:,.0f} requests/s; other load on the machine at the "
        f"time: {load:.1f}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Calibrate, print the result and keep it for reports; 0 when it is within its goals, else 1."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.calibrate", description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0, help="of a part; times take two")
    seconds = parser.parse_args(argv).seconds
    load = os.getloadavg()[0]
    with _server(f"--first={_FIRST}", f"--gap={_GAP}") as url:
        # Longer than the others: of a hundred first tokens, the 99th is still one moment of the machine's.
        measured = accuracy(url, 2 * seconds)
    off = {
        name: {"p50": each.percentile(0.5) * 1000, "p99": each.percentile(0.99) * 1000, "max": each.most * 1000}
        for name, each in measured.items()
    }
    script = (f"--first={_FIRST}", f"--gap={_GAP}", f"--tokens={_TOKENS}")
    tokens = [capacity("llm", users, seconds, *script) for users in _BUSY]
    carried = max(step["tokens per second and core"] for step in tokens)
    requests = capacity("embeddings", _EMBEDDERS, seconds, "--service=0")
    found = {
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": report.machine(),
        "load average before": load,
        "off by ms": off,
        "tokens": tokens,
        "requests": requests,
        "words": _words(off, carried, requests, load),
    }
    report.REPORTS.mkdir(exist_ok=True)
    (report.REPORTS / report.CALIBRATION).write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    worst = max(off[name]["p99"] for name in ("own, first token", "own, gap"))
    return 0 if worst <= _GOAL * 1000 and carried >= _CARRIED else 1


if __name__ == "__main__":
    sys.exit(main())
