"""What runs the nodes: Docker or podman as the machine has it, else podman of Debian's packages."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from betelgeuse import paths, system
from betelgeuse.clusters.local import cgroup2
from betelgeuse.errors import BetelgeuseError
from betelgeuse.settings import KIND
from betelgeuse.shell import run

NETWORK: Final = "betelgeuse-kind"
"""Of our own: kind's usual one is every kind cluster's."""
_RECORD: Final = paths.state_dir(KIND) / "engine"
_PODMAN: Final = paths.state_dir(KIND) / "containers.conf"
_SETTINGS: Final = """\
# For a machine without systemd or with cgroup v1 hierarchies, where podman's defaults start no container.
[containers]
# Nobody may raise a limit of this machine.
default_ulimits = ["nofile=10000:10000", "nproc=30000:30000"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
"""
_ANSWER_SECONDS: Final = 60.0
_SECONDS: Final = 900.0
DOCKER: Final = "docker"
PODMAN: Final = "podman"


@dataclass(frozen=True)
class Engine:
    """A program that runs containers, and what it and kind are told by their environment."""

    name: str
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """What every call of the engine's, kind's included, is told."""
        network = f"KIND_EXPERIMENTAL_{self.name.upper()}_NETWORK"
        return {"KIND_EXPERIMENTAL_PROVIDER": self.name, network: NETWORK, **self.variables}

    def run(self, *arguments: str, timeout: float = _SECONDS) -> str:
        """Run the engine and return what it says."""
        return run([self.name, *arguments], env=self.environment, timeout=timeout)

    def has(self, what: str, name: str) -> bool:
        """Whether there is an image, a network or a container of that name."""
        try:
            self.run(what, "inspect", name)
        except BetelgeuseError:
            return False
        return True


def ordinary(mounts: str, *, systemd: bool) -> bool:
    """Tell whether podman's own settings fit a machine: systemd runs it, and cgroup v2 is all it has."""
    return systemd and cgroup2.alone(mounts)


def named(name: str) -> Engine:
    """Return an engine with what this machine asks of it."""
    if name != PODMAN or ordinary(Path("/proc/mounts").read_text("utf-8"), systemd=cgroup2.SYSTEMD.is_dir()):
        return Engine(name)
    if not _PODMAN.is_file():
        paths.write(_PODMAN, _SETTINGS)
    return Engine(name, {"CONTAINERS_CONF": str(_PODMAN)})


def recorded() -> Engine | None:
    """Return the engine that runs the cluster's nodes, None where no deploy has chosen one."""
    return named(_RECORD.read_text("utf-8").strip()) if _RECORD.is_file() else None


def chosen() -> Engine:
    """Return the engine of the cluster, chosen and installed on first use; it stays until `destroy`."""
    if (known := recorded()) is not None:
        return known
    found = named(DOCKER if _serves() else PODMAN)
    # What our settings name must be there too.
    if found.name == PODMAN and (found.variables or shutil.which(PODMAN) is None):
        system.install(system.PODMAN)
    paths.write(_RECORD, f"{found.name}\n")
    return found


def _serves() -> bool:
    """Whether a Docker answers; its command alone says nothing."""
    try:
        run([DOCKER, "version", "--format", "{{.Server.Version}}"], timeout=_ANSWER_SECONDS)
    except BetelgeuseError:
        return False
    return True
