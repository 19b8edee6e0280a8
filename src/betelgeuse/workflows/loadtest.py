"""Load on the model APIs of an environment: everything Locust must know is found out here."""

import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from betelgeuse import edge, paths, render, settings, shell, trust
from betelgeuse.errors import BetelgeuseError, UsageError
from betelgeuse.kube import Kube, Obj, connect
from betelgeuse.kube.command import in_namespace
from betelgeuse.progress import out, say, step
from betelgeuse.settings import suggest
from betelgeuse.workflows.reach import caller
from loadtests import plan, report
from loadtests.scenario import FOLDER, InputError

_LOADTEST: Final = (sys.executable, "-m", "nox", "--session", "loadtest", "--")
_FAR: Final = 1e6
"""No load or length is larger: eleven days, a million users."""
_LEAST_LOAD: Final = 0.01
"""A request in 100 s."""
_LONGEST: Final = 3600.0
"""Seconds for a run whose length is the profile's: none takes as long."""
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


def planned(target: str, profile: str, scenario: str, load: float, seconds: float) -> float:
    """Return how many seconds a run takes; what Locust would refuse is a UsageError before anything is made for it."""
    try:
        return plan.order(target, profile, scenario_name=scenario, load=load, seconds=seconds).seconds
    except InputError as error:
        raise UsageError(str(error)) from None


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
    return ["-f", f"loadtests/{target}.py", "--headless", "--only-summary", *said]


def newest(log: Path, shown: Callable[[str], bool]) -> str:
    """Return the last line of a log that is fit to be shown as progress, empty when there is none yet."""
    try:
        lines = log.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if shown(line)), "")


def fresh_log(name: str) -> Path:
    """Return the file for what a run says, without what an earlier one said."""
    log = paths.REPORTS / f"{name}.log"
    log.parent.mkdir(exist_ok=True)
    log.unlink(missing_ok=True)
    return log


def tells_load(line: str) -> bool:
    """Whether a line of a run's log says how far it is."""
    return line.startswith(" ") and " s  " in line


def _result(target: str, profile: str, before: Mapping[Path, int]) -> tuple[Path, dict[str, Any]] | None:
    """Return the report that a run has written, None when it wrote none."""
    for path, changed in _reports(target, profile).items():
        if changed != before.get(path):
            found: dict[str, Any] = json.loads(path.read_text("utf-8"))
            return path, found
    return None


def _reports(target: str, profile: str) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in paths.REPORTS.glob(f"loadtest-{target}-{profile}-*.json")}


def carry_out(
    argv: Sequence[str], surroundings: Mapping[str, str], target: str, profile: str, limit: float
) -> tuple[Path, bool]:
    """Run Locust, at most `limit` seconds, print what it showed, and return its report and whether every promise held.

    A run that wrote no report is a BetelgeuseError with its last words.
    """
    log, before = fresh_log(f"loadtest-{target}-{profile}"), _reports(target, profile)
    try:
        with step(f"load on the {target}, profile {profile}", lambda: newest(log, tells_load)):
            shell.run(argv, cwd=paths.ROOT, env=surroundings, timeout=limit, log=log)
    except BetelgeuseError:
        # Broken promises end it with an exit code too: then there is a report.
        if _result(target, profile, before) is None:
            raise
    found = _result(target, profile, before)
    if found is None:
        message = f"the run wrote no report; see {paths.shown(log)}"
        raise BetelgeuseError(message)
    path, result = found
    show(log, path.with_suffix(".html"))
    return path, not result["broken"]


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


def sweep(env: str, target: str, seconds: float) -> Path:
    """Sweep a target, at most so many seconds, and return the report."""
    return _measure(settings.load(env), target, "sweep", arguments(target, "sweep", seconds=seconds), seconds)[0]


def _measure(
    chosen: settings.Settings, target: str, profile: str, said: Sequence[str], length: float
) -> tuple[Path, bool]:
    way = surroundings(chosen, f"{target}.{chosen.domain}")
    calibrate()
    argv = [*_LOADTEST, *said, *_host(chosen, target)]
    return carry_out(argv, way, target, profile, (length or _LONGEST) + _SPARE)


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
    planned(target, profile, scenario, size, length)
    if not workers:
        return 0 if _measure(chosen, target, profile, said, length)[1] else 1
    # It stands on this module.
    from betelgeuse.workflows import loadpods  # noqa: PLC0415 - see above

    run = {"target": target, "profile": profile, "scenario": scenario}
    return loadpods.loadtest(chosen, [*said, *_host(chosen, target)], workers, **run, load=size, seconds=length)


def reached(chosen: settings.Settings, host: str) -> tuple[Kube, list[Obj], str, Path | None]:
    """Return the cluster, its tree, the client that may call a host, and the roots to trust, where there are any.

    UsageError where the tree has no such host.
    """
    objects = render.render(chosen.env)
    if host not in edge.hosts(objects):
        message = f"the tree of {chosen.env} serves no {host}: there is nothing to put load on"
        raise UsageError(message)
    client, kube = caller(objects, chosen, host), connect(chosen)
    return kube, objects, client, trust.refresh(chosen.env, kube, objects)


def surroundings(chosen: settings.Settings, host: str) -> dict[str, str]:
    """Return the environment variables by which a load test reaches a host and hears of its server's memory.

    UsageError where the tree has no such host.
    """
    _, _, client, roots = reached(chosen, host)
    app = host.partition(".")[0]
    memory = [*in_namespace(chosen, plan.NAMESPACE), "exec", f"deployment/{app}", "--", "cat", "/proc/1/status"]
    invoke = shlex.join([sys.executable, "-m", "invoke", "token", f"--client={client}", f"--env={chosen.env}"])
    return {
        "BETELGEUSE_TOKEN_COMMAND": invoke if client else "",
        "BETELGEUSE_MEMORY_COMMAND": shlex.join(memory),
        "BETELGEUSE_CA": str(roots or ""),
        "BETELGEUSE_ADDRESS": str(chosen.gateway_addresses[0]),
    }


def show(log: Path, page: Path) -> None:
    """Print what a run said for people, and where its report is."""
    out(_summary(log))
    say(f"report: {paths.shown(page)}")


def _summary(log: Path) -> str:
    """Return the part of a run's output that is for people: from its label to its last verdict."""
    lines = log.read_text("utf-8", errors="replace").splitlines()
    ends = [at for at, line in enumerate(lines) if line.startswith(("FAILED  ", "all limits hold"))]
    begins = [at for at, line in enumerate(lines) if line.endswith("(times in seconds)")]
    return "\n".join(lines[begins[-1] : ends[-1] + 1]) if begins and ends else ""
