"""How far the generator's own times are off, and how much one core of it can carry: nox -s loadtest -- --calibrate.

Times are compared with the schedule of a scripted server, which also says when it really sent each event: what is left
is the generator's own (network of the loopback included). Capacity is that of Locust with everything it does for a
request, per second of its processor time; the server's does not count. Nothing else should run on the machine.
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
from loadtests.histogram import Histogram
from loadtests.measure import Answer, Events, Slo
from loadtests.recorder import Recorder

_FIRST: Final = 0.05
_GAP: Final = 0.01
_TOKENS: Final = 100
_USERS: Final = 10
_BUSY: Final = (100, 250)
"""Users at 100 tokens per second each."""
_EMBEDDERS: Final = 20
_GOAL: Final = 0.001
"""Seconds that a time may be off in 99 of 100 cases."""


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
    """Keeps when the server sent each piece of text."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[float] = []

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        for event in super().feed(data):
            if "sent" in event:
                self.sent.append(event["sent"])
            yield event


def _answers(url: str, seconds: float) -> list[tuple[Answer, list[float]]]:
    """Return the answers of some seconds of a few users, each with the times at which the server sent its pieces."""
    found, end = list[tuple[Answer, list[float]]](), time.perf_counter() + seconds
    recorder = Recorder(Slo({}, 1.0), time.perf_counter())
    body = json.dumps({"messages": [], "max_tokens": _TOKENS}).encode()

    def user(number: int) -> None:
        connection = Connection(url)
        connection.connect()
        # Not in step: that would make each wait for the others.
        gevent.sleep((number + 0.5) * (_FIRST + _GAP * _TOKENS) / _USERS)
        while time.perf_counter() < end:
            seen = _Sent()
            connection.events = lambda: seen  # noqa: B023 - called before the next turn
            now = time.perf_counter()
            answer = Answer(now, now)
            connection.chat(body, {}, answer, recorder.came)
            recorder.add_answer(answer)
            found.append((answer, seen.sent))
        connection.close()

    gevent.joinall([gevent.spawn(user, number) for number in range(_USERS)], raise_error=True)
    return found


def accuracy(url: str, seconds: float) -> dict[str, Histogram]:
    """Return how far times are off the schedule, in seconds: as measured, and as the server sent."""
    found = {name: Histogram() for name in ("first token", "gap", "server, first token", "server, gap", "own, reading")}
    for answer, sent in _answers(url, seconds):
        for name, times in (("", answer.pieces), ("server, ", sent)):
            found[f"{name}first token"].add(abs(times[0] - answer.asked - _FIRST))
            for early, late in pairwise(times):
                found[f"{name}gap"].add(abs(late - early - _GAP))
        for came, at in zip(answer.pieces, sent, strict=True):
            found["own, reading"].add(came - at)
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


def _words(off: dict[str, Any], tokens: Sequence[dict[str, float]], requests: dict[str, float], load: float) -> str:
    first, gap, own = off["first token"], off["gap"], off["own, reading"]
    best = max(step["tokens per second and core"] for step in tokens)
    return (
        f"off by (p50, p99, max, in ms): first token {first['p50']:.2f}, {first['p99']:.2f}, {first['max']:.2f}; "
        f"gap {gap['p50']:.2f}, {gap['p99']:.2f}, {gap['max']:.2f}; of it reading "
        f"{own['p50']:.2f}, {own['p99']:.2f}, {own['max']:.2f}; one core carries {best:,.0f} tokens/s or "
        f"{requests['requests per second and core']:,.0f} requests/s; other load on the machine at the time: {load:.1f}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Calibrate, print the result and keep it for reports; 0 when times are within the goal, else 1."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.calibrate", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each of the four parts")
    seconds = parser.parse_args(argv).seconds
    load = os.getloadavg()[0]
    with _server(f"--first={_FIRST}", f"--gap={_GAP}") as url:
        measured = accuracy(url, seconds)
    off = {
        name: {"p50": each.percentile(0.5) * 1000, "p99": each.percentile(0.99) * 1000, "max": each.most * 1000}
        for name, each in measured.items()
    }
    script = (f"--first={_FIRST}", f"--gap={_GAP}", f"--tokens={_TOKENS}")
    tokens = [capacity("llm", users, seconds, *script) for users in _BUSY]
    requests = capacity("embeddings", _EMBEDDERS, seconds, "--service=0")
    found = {
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": report.machine(),
        "load average before": load,
        "off by ms": off,
        "tokens": tokens,
        "requests": requests,
        "words": _words(off, tokens, requests, load),
    }
    report.REPORTS.mkdir(exist_ok=True)
    (report.REPORTS / report.CALIBRATION).write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    return 0 if max(off["first token"]["p99"], off["gap"]["p99"]) <= _GOAL * 1000 else 1


if __name__ == "__main__":
    sys.exit(main())
