"""What a run is: a profile (how much load, when, which promises) put together with a target, a scenario and a seed."""

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from loadtests import profiles, scenario
from loadtests.arrivals import PROCESSES
from loadtests.limits import Limit
from loadtests.scenario import InputError, Scenario, near

Loop = Literal["open", "closed"]
TARGETS: Final = ("llm", "embeddings")
NAMESPACE: Final = "ai"
"""Of the targets."""
UNITS: Final = {"llm": "tokens", "embeddings": "texts"}
PROFILES: Final = tuple(sorted(module.name for module in pkgutil.iter_modules(profiles.__path__)))
LOOPS: Final = ("open", "closed")

_WARM_UP_SHARE: Final = 0.2
"""Of a run at most: a short run must have something left to measure."""


@dataclass(frozen=True)
class Stage:
    """So much of the load for so many seconds."""

    share: float
    seconds: float


@dataclass(frozen=True)
class Profile:
    """How much load when, and what must hold."""

    name: str
    about: str
    loop: Loop
    """closed: a number of users, each asks again when answered. open: requests come at a rate whatever happens."""
    loads: Mapping[str, float]
    """The full load of each target, in users or in requests per second."""
    stages: Sequence[Stage]
    limits: Mapping[str, Sequence[Limit]]
    arrival: str = "poisson"
    warm_up: float = 0.0
    """Seconds at the beginning that count for no figure; of each step in a sweep."""
    sweeps: bool = False
    """The load goes where a sweep's decisions lead, from the first stage's share up to the full load."""
    window: float = 10.0
    """Seconds of a sweep's windows."""


@dataclass(frozen=True)
class Order:
    """Resolved settings of one load-test run."""

    target: str
    profile: Profile
    scenario: Scenario
    loop: Loop
    load: float
    seconds: float
    seed: int
    arrival: str
    start_bound: float
    """Open loop: a start that is late by more seconds is dropped and counted."""
    window: float

    @property
    def label(self) -> str:
        """Return the name of reports."""
        return f"{self.target}-{self.profile.name}-{self.loop}"

    @property
    def warm_up(self) -> float:
        """Return the whole seconds at the beginning that count for no figure; a sweep has its own."""
        return 0.0 if self.profile.sweeps else float(int(min(self.profile.warm_up, _WARM_UP_SHARE * self.seconds)))

    @property
    def unit(self) -> str:
        """Return the word for a load."""
        return "users" if self.loop == "closed" else "requests per second"

    def load_at(self, seconds: float) -> float | None:
        """Return the load at a moment of the run, None behind its end; closed loops have at least one user."""
        stages = self.profile.stages
        scale, end = self.seconds / sum(stage.seconds for stage in stages), 0.0
        for stage in stages:
            end += stage.seconds * scale
            if seconds < end:
                load = self.load * stage.share
                return load if self.loop == "open" else float(max(1, round(load)))
        return None


def profile(name: str) -> Profile:
    """Return a profile; InputError when there is none of that name."""
    if name not in PROFILES:
        message = f"no profile {name!r}{near(name, PROFILES)}"
        raise InputError(message)
    found: Profile = importlib.import_module(f"loadtests.profiles.{name}").PROFILE
    return found


def order(  # noqa: PLR0913 - what a command line may say, each by keyword
    target: str,
    profile_name: str,
    *,
    scenario_name: str = "",
    loop: str = "",
    load: float = 0.0,
    seconds: float = 0.0,
    seed: int = 1,
    arrival: str = "",
    start_bound: float = 1.0,
    window: float = 0.0,
) -> Order:
    """Return a run; what is empty or 0 is the profile's. InputError says what cannot be."""
    base = profile(profile_name)
    for name, value in {"load": load, "seconds": seconds, "start-bound": start_bound, "window": window}.items():
        if not 0 <= value < float("inf"):
            message = f"--{name}: expected a number from 0, got {value:g}"
            raise InputError(message)
    if loop not in {"", *LOOPS}:
        message = f"--loop: expected {' or '.join(LOOPS)}, got {loop!r}"
        raise InputError(message)
    if arrival not in {"", *PROCESSES}:
        message = f"--arrival: expected {' or '.join(PROCESSES)}, got {arrival!r}"
        raise InputError(message)
    chosen: Loop = "open" if (loop or base.loop) == "open" else "closed"
    if chosen != base.loop and not load:
        message = f"--loop={chosen}: profile {base.name} states its load for a {base.loop} loop; say --load too"
        raise InputError(message)
    if chosen == "closed" and load % 1:
        message = f"--load: a closed loop has whole users, got {load:g}"
        raise InputError(message)
    return Order(
        target=target,
        profile=base,
        scenario=scenario.load(target, scenario_name),
        loop=chosen,
        load=load or base.loads[target],
        seconds=seconds or sum(stage.seconds for stage in base.stages),
        seed=seed,
        arrival=arrival or base.arrival,
        start_bound=start_bound,
        window=window or base.window,
    )
