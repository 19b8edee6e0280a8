"""Collects a run in Locust's process, prints its figures, writes them down and turns broken limits into exit code 1."""

import importlib
import json
import math
import time
from pathlib import Path
from typing import Any, Final

from locust import events
from locust.env import Environment

from loadtests.measure import Run

REPORTS: Final = Path(__file__).resolve().parents[1] / "reports"


def report_for(target: str, profile: str) -> Run:
    """Return where the users of a target note what they see; its report comes when Locust quits."""
    run = Run()
    began = ended = time.perf_counter()

    @events.test_start.add_listener
    def _begin(**_: Any) -> None:  # noqa: ANN401 - Locust passes its environment and more
        nonlocal began
        began = time.perf_counter()

    @events.test_stop.add_listener
    def _end(**_: Any) -> None:  # noqa: ANN401
        nonlocal ended
        ended = time.perf_counter()

    @events.quitting.add_listener
    def _report(environment: Environment, **_: Any) -> None:  # noqa: ANN401
        seconds = ended - began
        figures = run.figures(seconds)
        limits = importlib.import_module(f"loadtests.profiles.{profile}").LIMITS[target]
        broken = [words for limit in limits if (words := limit.broken_by(figures))]
        lines = [f"{target} {profile}, closed loop, {seconds:.0f} s (times in seconds)"]
        lines += [f"  {name:32} {value:10.4g}" for name, value in figures.items()]
        lines += [f"FAILED  {words}" for words in broken] or ["all limits hold"]
        print("\n".join(lines), flush=True)  # noqa: T201 - the report is for people
        REPORTS.mkdir(exist_ok=True)
        # JSON has no NaN: what was not observed is null.
        known = {name: value if math.isfinite(value) else None for name, value in figures.items()}
        result = {"target": target, "profile": profile, "loop": "closed", "seconds": seconds, "figures": known}
        (REPORTS / f"loadtest-{target}-{profile}.json").write_text(json.dumps({**result, "broken": broken}, indent=1))
        environment.process_exit_code = 1 if broken else 0

    return run
