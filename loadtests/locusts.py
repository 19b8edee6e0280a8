"""How runs meet Locust: its command line, its clock, its workers, and its end."""

import argparse
import math
import sys
from pathlib import Path
from typing import Any, ClassVar, Final, TextIO

from locust import LoadTestShape, events
from locust.env import Environment
from locust.runners import WORKER_REPORT_INTERVAL, MasterRunner, WorkerRunner

from loadtests import plan, progress, report
from loadtests.connection import connection
from loadtests.memory import EVERY, GROWTH, Memory
from loadtests.pacing import Sweep
from loadtests.plan import Order
from loadtests.run import Run, be_punctual
from loadtests.scenario import InputError

_RATE: Final = "load-rate"
_SHARED: Final = "load"
_USERS_PER_RATE: Final = 30.0
"""Seconds: users of an open loop for each request per second, enough for answers that take this long."""
_FEWEST, _MOST = 10, 200
_LATE: Final = 1.5
"""Seconds a run may miss at its end: the shape's clock ticks once a second."""


class _State:
    """The run of this process, and on the master what its workers said."""

    def __init__(self) -> None:
        self.target = ""
        self.run: Run | None = None
        self.sweep: Sweep | None = None
        self.memory = Memory()
        self.rate = 0.0
        self.load: float | None = 0.0
        self.cpu: dict[str, float] = {}
        self.last: set[str] = set()
        self.done = True
        self.exit_code = self.number = 0
        self.reports = ""


_STATE: Final = _State()


def _say(text: str, stream: TextIO = sys.stdout) -> None:
    """Write a line for people."""
    stream.write(f"{report.shown(text)}\n")
    stream.flush()


def current() -> Run:
    """Return the run that users of this process take part in."""
    if _STATE.run is None:
        message = "no run has begun"
        raise RuntimeError(message)
    return _STATE.run


def _order(options: argparse.Namespace) -> Order:
    return plan.order(
        _STATE.target,
        options.profile_name,
        scenario_name=options.scenario,
        loop=options.loop,
        load=options.load,
        seconds=options.seconds,
        seed=options.seed,
        arrival=options.arrival,
        start_bound=options.start_bound,
        window=options.window,
    )


def _pool(order: Order, options: argparse.Namespace) -> int:
    """Return the users of an open loop."""
    return int(options.pool or min(max(_FEWEST, math.ceil(order.load * _USERS_PER_RATE)), _MOST))


def _begin(environment: Environment, order: Order) -> None:
    """Begin a run where Locust decides: alone, or as the master."""
    _STATE.number += 1
    _STATE.run = Run(order, number=_STATE.number)
    # Goes to the workers with the users: what they still have to tell about an earlier run is not this one's.
    environment.parsed_options.load_run = _STATE.number
    _STATE.reports = environment.parsed_options.reports
    _STATE.cpu, _STATE.last, _STATE.load, _STATE.rate, _STATE.done = {}, set(), 0.0, 0.0, False
    lag = WORKER_REPORT_INTERVAL + 1.0 if isinstance(environment.runner, MasterRunner) else 0.0
    _STATE.memory = Memory()
    if any(limit.figure == GROWTH for limit in order.profile.limits[order.target]):
        # A short run gives some samples too.
        _STATE.memory.watch(min(EVERY, order.seconds / 10))
    _STATE.sweep = None
    if order.profile.sweeps:
        first = order.load * order.profile.stages[0].share
        _STATE.sweep = Sweep(
            first=first if order.loop == "open" else float(max(1, round(first))),
            largest=order.load,
            whole=order.loop == "closed",
            seconds=order.seconds,
            slo=order.scenario.slo,
            window=order.window,
            warm_up=order.profile.warm_up if order.window >= order.profile.window else order.window,
            lag=lag,
        )
    size = f"{order.load:g} {order.unit}, {order.seconds:g} s"
    _say(f"{order.label}: {size}, scenario {order.scenario.name}")


def _finish(environment: Environment) -> None:
    """Write the report of a run, once; the exit code of the process is that of its last run."""
    run = _STATE.run
    if run is None or _STATE.done:
        return
    _STATE.done = True
    run.end()
    _STATE.memory.end()
    problems = []
    if isinstance(environment.runner, MasterRunner):
        missing = len(_STATE.cpu.keys() - _STATE.last)
        if missing:
            problems.append(f"{missing} of {len(_STATE.cpu)} workers did not give their last figures")
    over = _STATE.sweep is not None and _STATE.sweep.complete
    if run.elapsed() < run.order.seconds - _LATE and not over:
        problems.append(f"the run was stopped after {run.elapsed():.0f} of {run.order.seconds:.0f} s")
    cpu = list(_STATE.cpu.values()) or [run.cpu()]
    folder = Path(_STATE.reports)
    result = report.result(run, environment.host or "", cpu, _STATE.sweep, problems, folder, _STATE.memory)
    _say(report.summary(result))
    page = report.write(result, folder)
    _say(f"report: {page}")
    _STATE.exit_code = 1 if result["broken"] else 0


class PlanShape(LoadTestShape):
    """The load that the run's profile, or its sweep, wants at each second."""

    abstract: ClassVar[bool] = False

    def tick(self) -> tuple[int, float] | None:
        """Return (users, users started per second) for this moment, None at the end."""
        environment = self.runner.environment
        options = environment.parsed_options
        if _STATE.run is None or _STATE.run.ended:
            # With the web UI, run after run: the last figures of workers have come by the time of the next.
            _finish(environment)
            try:
                _begin(environment, _order(options))
            except InputError as error:
                _say(str(error), sys.stderr)
                return None
        run = current()
        seconds = run.elapsed()
        load = _STATE.sweep.load(seconds, run.recorder.between) if _STATE.sweep else run.order.load_at(seconds)
        if load != _STATE.load:
            self._announce(run, load, seconds)
        _STATE.load = load
        if load is None:
            # Now, and not when Locust has stopped the last user: that may take seconds.
            run.end()
            return None
        users = _pool(run.order, options) if run.order.loop == "open" else round(load)
        return users, float(users)

    def _announce(self, run: Run, load: float | None, seconds: float) -> None:
        """Tell a new load to people and, in an open loop, to whoever makes it."""
        if load is not None:
            _say(progress.line(self.runner.environment.parsed_options.progress, seconds, load, run.order.unit))
        if run.order.loop == "closed":
            return
        if isinstance(self.runner, MasterRunner):
            self.runner.send_message(_RATE, {"rate": (load or 0.0) / max(1, self.runner.worker_count)})
        else:
            run.set_rate(load or 0.0)


def _arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("Betelgeuse", "What the run is; see loadtests/README.md")
    add = group.add_argument
    add("--profile-name", default="smoke", choices=plan.PROFILES, env_var="LOAD_PROFILE", help="a file of profiles/")
    add("--scenario", default="", env_var="LOAD_SCENARIO", help="a file of scenarios/; the target's own by default")
    add(
        "--loop", default="", choices=["", *plan.LOOPS], help="closed: users ask in turn; open: requests come at a rate"
    )
    add("--load", type=float, default=0.0, help="full load: users, or requests per second; 0: the profile's")
    add("--seconds", type=float, default=0.0, help="how long; 0: as the profile says")
    add("--seed", type=int, default=1, help="the same seed asks the same questions at the same times")
    add("--arrival", default="", choices=["", "poisson", "constant"], help="open loop: how starts are spread")
    add("--start-bound", type=float, default=1.0, help="open loop: seconds after which a late start is dropped")
    add("--pool", type=int, default=0, help="open loop: users at most; 0: for answers of 30 s")
    add("--reports", default=str(report.REPORTS), help="the folder for the report's two files")
    add("--progress", default="text", choices=progress.FORMATS, help="how each new load is told")
    add("--window", type=float, default=0.0, help="sweep: seconds of a window; 0: as the profile says")


def _init(environment: Environment, **_: Any) -> None:  # noqa: ANN401 - Locust passes more to each of these
    if isinstance(environment.runner, WorkerRunner):
        environment.runner.register_message(_RATE, _hear_rate)
        return
    try:
        _order(environment.parsed_options)
        if environment.host or environment.parsed_options.headless:
            # Opens nothing yet: wrong addresses and roots are told before users start.
            connection(environment.host or "")
    except InputError as error:
        # An exception would be logged with its traceback.
        _say(str(error), sys.stderr)
        sys.exit(2)


def _start(environment: Environment, **_: Any) -> None:  # noqa: ANN401
    be_punctual()
    if isinstance(environment.runner, WorkerRunner):
        # The master's command line has come with the first users.
        options = environment.parsed_options
        _STATE.run = Run(_order(options), max(0, environment.runner.worker_index), options.load_run)
        _STATE.run.set_rate(_STATE.rate)


def _stop(**_: Any) -> None:  # noqa: ANN401
    if _STATE.run is not None:
        _STATE.run.end()
    _STATE.rate = 0.0


def _tell(data: dict[str, Any], **_: Any) -> None:  # noqa: ANN401
    if _STATE.run is not None:
        data[_SHARED] = _STATE.run.shared()


def _hear(client_id: str, data: dict[str, Any], **_: Any) -> None:  # noqa: ANN401
    run, told = _STATE.run, data.get(_SHARED)
    if told and run is not None and told["run"] == run.number:
        run.recorder.merge(told["spans"])
        _STATE.cpu[client_id] = told["cpu"]
        (_STATE.last.add if told["ended"] else _STATE.last.discard)(client_id)


def _hear_rate(msg: Any, **_: Any) -> None:  # noqa: ANN401
    _STATE.rate = msg.data["rate"]
    if _STATE.run is not None and not _STATE.run.ended:
        _STATE.run.set_rate(_STATE.rate)


def _quit(environment: Environment, **_: Any) -> None:  # noqa: ANN401
    if not isinstance(environment.runner, WorkerRunner):
        _finish(environment)
        environment.process_exit_code = _STATE.exit_code


def attach(target: str) -> None:
    """Let Locust run loads on this target."""
    _STATE.target = target
    for hook, listener in (
        (events.init_command_line_parser, _arguments),
        (events.init, _init),
        (events.test_start, _start),
        (events.test_stop, _stop),
        (events.report_to_master, _tell),
        (events.worker_report, _hear),
        (events.quitting, _quit),
    ):
        hook.add_listener(listener)
