"""Collects a run in Locust's process, prints its figures, writes them down and turns broken limits into exit code 1."""

import importlib
import json
import os
import time
from pathlib import Path
from typing import Any, Final

from locust import events
from locust.env import Environment

from loadtests.measure import Run

REPORTS: Final = Path(__file__).resolve().parents[1] / "reports"

run = Run()
_clock: dict[str, float] = {}


def note_failure(environment: Environment, name: str, error: Exception, began: float) -> None:
    """Count a failed request here and in Locust's own table."""
    run.asked += 1
    run.failures += 1
    fire(environment, name, time.perf_counter() - began, error)


def fire(environment: Environment, name: str, seconds: float, error: Exception | None = None) -> None:
    """Show a duration in Locust's table and charts."""
    environment.events.request.fire(
        request_type="", name=name, response_time=seconds * 1000, response_length=0, exception=error, context={}
    )


def judge(target: str, profile: str, seconds: float) -> tuple[dict[str, float], list[str]]:
    """Return the figures of the run and the limits of its profile that they break."""
    figures = run.figures(seconds)
    limits = importlib.import_module(f"loadtests.profiles.{profile}").LIMITS[target]
    return figures, [words for limit in limits if (words := limit.broken_by(figures))]


def report_for(target: str) -> None:
    """Arrange for the report of a target at the end of the run."""
    profile = os.environ.get("BETELGEUSE_LOAD_PROFILE", "smoke")

    @events.test_start.add_listener
    def _begin(**_: Any) -> None:  # noqa: ANN401 - Locust passes its environment and more
        _clock["began"] = time.perf_counter()

    @events.test_stop.add_listener
    def _end(**_: Any) -> None:  # noqa: ANN401
        _clock["ended"] = time.perf_counter()

    @events.quitting.add_listener
    def _report(environment: Environment, **_: Any) -> None:  # noqa: ANN401
        seconds = _clock.get("ended", time.perf_counter()) - _clock.get("began", time.perf_counter())
        figures, broken = judge(target, profile, seconds)
        lines = [f"{target} {profile}, closed loop, {seconds:.0f} s"]
        lines += [f"  {name:32} {value:10.3f}" for name, value in figures.items()]
        lines += [f"FAILED  {words}" for words in broken]
        print("\n".join(lines), flush=True)  # noqa: T201 - the report is for people
        REPORTS.mkdir(exist_ok=True)
        result = {"target": target, "profile": profile, "loop": "closed", "seconds": seconds, "figures": figures}
        (REPORTS / f"loadtest-{target}-{profile}.json").write_text(json.dumps({**result, "broken": broken}, indent=1))
        environment.process_exit_code = 1 if broken else 0
