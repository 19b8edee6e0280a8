"""Load on the model APIs of an environment: Locust on this machine, or as pods of the cluster."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from betelgeuse import paths, settings, shell
from betelgeuse.errors import BetelgeuseError, UsageError
from betelgeuse.progress import step
from betelgeuse.settings import suggest
from loadtests import plan, progress, report
from loadtests.plan import Order
from loadtests.scenario import FOLDER, InputError
from loadtests.workflows import loadpods
from loadtests.workflows.reach import fresh_log, show, surroundings

_LOADTEST: Final = (sys.executable, "-m", "nox", "--session", "loadtest", "--")
_FAR: Final = 1e6
"""No load or length is larger: eleven days, a million users."""
_LEAST_LOAD: Final = 0.01
"""A request in 100 s."""
_SPARE: Final = 300.0
"""Seconds around a run: Locust's environment is made, users start, the report is written."""


def number(name: str, text: str, least: float = 0.0) -> float:
    """Return a number of a command line, 0 where it is not said."""
    if not text:
        return 0.0
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not least <= found < _FAR:
        message = f"{name}: expected a number from {least:g} to {_FAR:,.0f}, got {text[:60]!r}"
        raise UsageError(message)
    return found


def _found(scenario: str) -> str:
    """Return a file of one's own by its full path: Locust runs in another folder than its user."""
    if not scenario.endswith(".json"):
        return scenario
    path = Path(scenario).absolute()
    if not path.is_file():
        message = f"--scenario: there is no file {path}"
        raise UsageError(message)
    return str(path)


def arguments(target: str, profile: str, *, scenario: str = "", load: float = 0.0, seconds: float = 0.0) -> list[str]:
    """Return Locust's command line for a run; an unknown target, profile or scenario is a UsageError."""
    choices: list[tuple[str, str, Sequence[str]]] = [
        ("target", target, plan.TARGETS),
        ("profile", profile, plan.PROFILES),
    ]
    choices += (
        [("scenario", scenario, sorted(path.stem for path in FOLDER.glob("*.json")))]
        if scenario[-5:] not in {"", ".json"}
        else []
    )
    for what, name, known in choices:
        if name not in known:
            message = f"no {what} {name!r}{suggest(name, list(known))}; there are {', '.join(known)}"
            raise UsageError(message)
    given = {"--profile-name": profile, "--scenario": scenario, "--load": load, "--seconds": seconds}
    said = [f"{name}={value}" for name, value in given.items() if value]
    return ["-f", f"loadtests/{target}.py", "--headless", "--only-summary", "--progress=json", *said]


def _order(target: str, profile: str, scenario: str, load: float, seconds: float) -> Order:
    """Return the run that Locust will make of this; what it would refuse is a UsageError."""
    try:
        return plan.order(target, profile, scenario_name=scenario, load=load, seconds=seconds)
    except InputError as error:
        raise UsageError(str(error)) from None


def _so_far(log: Path) -> str:
    return progress.newest(log.read_text("utf-8", errors="replace")) if log.is_file() else ""


def carry_out(argv: Sequence[str], surroundings: Mapping[str, str], order: Order, limit: float) -> dict[str, Any]:
    """Make a run by this command, in at most `limit` seconds, print what it showed, and return its report.

    A run that wrote no report is a BetelgeuseError with its last words.
    """
    name = f"loadtest-{order.label}"
    log, path = fresh_log(name), paths.REPORTS / f"{name}.json"
    before = path.stat().st_mtime_ns if path.is_file() else 0
    failure = BetelgeuseError(f"the run wrote no report; see {paths.shown(log)}")
    try:
        with step(f"load on the {order.target}, profile {order.profile.name}", lambda: _so_far(log)):
            shell.run(argv, cwd=paths.ROOT, env=surroundings, timeout=limit, log=log)
    except BetelgeuseError as error:
        # Broken promises end it with an exit code too: then there is a report.
        failure = error
    if not path.is_file() or path.stat().st_mtime_ns == before:
        raise failure
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    show(found, path.with_suffix(".html"))
    return found


def calibrate() -> None:
    """Measure the generator itself, unless this machine has been: each report says how far its times may be off."""
    if report.calibration(paths.REPORTS):
        return
    result = paths.REPORTS / report.CALIBRATION
    log = fresh_log("loadtest-calibration")
    result.unlink(missing_ok=True)
    with step("the load generator's own error, once on this machine"):
        try:
            shell.run([*_LOADTEST, "--calibrate"], cwd=paths.ROOT, timeout=_SPARE, log=log)
        except BetelgeuseError:
            # Missed goals end it with an exit code too: the report tells them.
            if not result.is_file():
                raise


def sweep(chosen: settings.Settings, target: str, seconds: float) -> dict[str, Any]:
    """Sweep a target, at most so many seconds, and return the report."""
    order = _order(target, "sweep", "", 0.0, seconds)
    return _measure(chosen, order, arguments(target, "sweep", seconds=seconds))


def _measure(chosen: settings.Settings, order: Order, said: Sequence[str]) -> dict[str, Any]:
    way = surroundings(chosen, f"{order.target}.{chosen.domain}")
    calibrate()
    return carry_out([*_LOADTEST, *said, *_host(chosen, order.target)], way, order, order.seconds + _SPARE)


def _host(chosen: settings.Settings, target: str) -> list[str]:
    return ["--host", f"https://{target}.{chosen.domain}"]


def loadtest(  # noqa: PLR0913 - what the verb may say, by keyword
    env: str, target: str, profile: str, *, scenario: str = "", load: str = "", seconds: str = "", workers: str = ""
) -> int:
    """Run a profile against an environment and print what it showed; 0 when every promise held, else 1.

    `workers`: how many pods of the cluster make the load, empty for this machine alone.
    """
    chosen = settings.load(env)
    length, size = number("--seconds", seconds, 1.0), number("--load", load, _LEAST_LOAD)
    scenario = _found(scenario)
    said = arguments(target, profile, scenario=scenario, load=size, seconds=length)
    pods = loadpods.count(workers) if workers else 0
    order = _order(target, profile, scenario, size, length)
    if pods:
        found = loadpods.loadtest(chosen, order, [*said, *_host(chosen, target)], pods, scenario)
    else:
        found = _measure(chosen, order, said)
    return 1 if found["broken"] else 0
