"""What a check is: data with one function that looks at the machine and says what it found."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from betelgeuse.doctor.probe import Probe
from betelgeuse.errors import BetelgeuseError
from betelgeuse.profiles import Budget, Profile
from betelgeuse.servers import Server
from betelgeuse.settings import Settings


class Status(StrEnum):
    """How a check ended. Only FAIL makes the command fail."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


class Shape(StrEnum):
    """Where an environment's nodes are, which decides what this machine must have."""

    EMBEDDED = "embedded"
    DOCKER = "docker"
    SERVERS = "servers"
    SERVER = "server"
    """One of the servers, looked at over SSH."""


EVERYWHERE: Final = frozenset({Shape.EMBEDDED, Shape.DOCKER, Shape.SERVERS})
"""Any machine that a deploy is started on."""


def _nowhere(server: Server) -> Probe:
    message = f"{server.name} is not within reach"
    raise BetelgeuseError(message)


def shape(env: str) -> Shape:
    """Return an environment's shape: servers, unless it is one of the two that need none."""
    return {"local": Shape.EMBEDDED, "kind": Shape.DOCKER}.get(env, Shape.SERVERS)


@dataclass(frozen=True)
class Context:
    """All a check may look at."""

    settings: Settings
    probe: Probe
    profile: Profile
    smaller: tuple[Profile, ...] = ()
    """Profiles with a part of its areas, largest first: what to advise where the machine is too small."""
    servers: tuple[Server, ...] = ()
    """What the environment's servers.yaml lists."""
    reach: Callable[[Server], Probe] = _nowhere
    """Give the probe of a server; BetelgeuseError with the reason where it is out of reach."""
    server: Server | None = None
    """Whose probe this is, where it is a server's."""
    here: Probe | None = None
    """This machine's probe, beside a server's."""

    @property
    def budget(self) -> Budget:
        """What the profile asks of the machine."""
        return self.profile.budget


@dataclass(frozen=True)
class Finding:
    """What a check found; an own `fix` replaces the check's general one."""

    status: Status
    text: str
    fix: str = ""


def ok(text: str) -> Finding:
    """Find that all is well."""
    return Finding(Status.OK, text)


def warn(text: str, fix: str = "") -> Finding:
    """Find something that works, but that the user should know."""
    return Finding(Status.WARN, text, fix)


def fail(text: str, fix: str = "") -> Finding:
    """Find something that will not work."""
    return Finding(Status.FAIL, text, fix)


def skip(text: str) -> Finding:
    """Leave open what cannot be told from here."""
    return Finding(Status.SKIP, text)


@dataclass(frozen=True)
class Check:
    """One thing that must hold before a deploy can work."""

    name: str
    why: str
    fix: str
    look: Callable[[Context], Finding]
    shapes: frozenset[Shape] = EVERYWHERE
    quick: bool = True
    """Answers in milliseconds and without a network: deploy runs it before it starts."""


@dataclass(frozen=True)
class Report:
    """A check with what it found."""

    check: Check
    finding: Finding

    @property
    def fix(self) -> str:
        """What to do, or nothing when all is well."""
        wanted = self.finding.status in {Status.FAIL, Status.WARN}
        return (self.finding.fix or self.check.fix) if wanted else ""

    def as_dict(self) -> dict[str, str]:
        """Return it for --json."""
        return {
            "name": self.check.name,
            "status": str(self.finding.status),
            "found": self.finding.text,
            "why": self.check.why,
            "fix": self.fix,
        }
