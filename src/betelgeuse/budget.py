"""What a profile needs of the machine, checked before a deploy starts."""

import os
import shutil
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final, cast

import yaml

from betelgeuse import paths
from betelgeuse.errors import RefusedError, UsageError

_GIB: Final = 1 << 30


@dataclass(frozen=True)
class Budget:
    """A profile's needs: cores, GiB of memory, GiB of disk for a cold start, minutes of compiling when cold."""

    cpu: float
    memory_gib: float
    disk_gib: float
    build_minutes: float


@dataclass(frozen=True)
class Machine:
    """What this machine has: cores, GiB of memory in all, free GiB where the cache and the state live."""

    cpu: int
    memory_gib: float
    disk_gib: float


def profile_of(env: str) -> str:
    """Return the profile an overlay deploys: the one folder of profiles/ among its resources."""
    file = paths.OVERLAYS / env / "kustomization.yaml"
    try:
        resources = yaml.safe_load(file.read_text())["resources"]
        names = [Path(entry).name for entry in resources if Path(entry).parent.name == "profiles"]
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        names = []
    if len(names) != 1:
        got = ", ".join(names) or "none"
        message = f"overlays/{env}/kustomization.yaml: expected one resource ../../profiles/<name>, got {got}"
        raise UsageError(message)
    return names[0]


def load(profile: str) -> Budget:
    """Read profiles/<profile>/profile.yaml; a wrong one is a UsageError."""
    file = paths.ROOT / "profiles" / profile / "profile.yaml"
    try:
        budget = cast("dict[str, float]", yaml.safe_load(file.read_text())["budget"])
        return Budget(**{field.name: float(budget.pop(field.name)) for field in fields(Budget)}, **budget)
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        names = ", ".join(field.name for field in fields(Budget))
        message = f"{file.relative_to(paths.ROOT)}: `budget` needs exactly the numbers {names} ({error})"
        raise UsageError(message) from None


def this_machine() -> Machine:
    """Measure this machine."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    free = min(shutil.disk_usage(_existing(folder)).free for folder in (paths.CACHE, paths.STATE))
    return Machine(os.cpu_count() or 1, pages * size / _GIB, free / _GIB)


def _existing(folder: Path) -> Path:
    return next(parent for parent in (folder, *folder.parents) if parent.exists())


def shortfalls(budget: Budget, machine: Machine, *, warm: bool) -> list[str]:
    """Return what the machine lacks, a clause each; a warm cache has taken its share of the disk already."""
    disk = budget.disk_gib / 4 if warm else budget.disk_gib
    rows = (
        ("cores", budget.cpu, machine.cpu, "use a machine with more, or lower the sizes in environment.env"),
        ("GiB of memory", budget.memory_gib, machine.memory_gib, "use a machine with more"),
        ("GiB of free disk", disk, machine.disk_gib, f"free space below {paths.CACHE}, or set BETELGEUSE_CACHE"),
    )
    return [f"{want:g} {what} needed, {have:.1f} there: {fix}" for what, want, have, fix in rows if have < want]


def check(env: str, *, warm: bool) -> Budget:
    """Refuse a deploy that this machine cannot carry; return the budget otherwise."""
    profile = profile_of(env)
    budget = load(profile)
    if lacking := shortfalls(budget, this_machine(), warm=warm):
        message = f"profile {profile}: {'; '.join(lacking)}"
        raise RefusedError(message)
    return budget
