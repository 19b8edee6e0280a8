"""What a profile needs of the machine; the doctor compares it with what is there before a deploy starts."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import cast

import yaml

from betelgeuse import paths
from betelgeuse.errors import UsageError


@dataclass(frozen=True)
class Budget:
    """A profile's needs: cores, GiB of memory, GiB of disk for a cold start, minutes of compiling when cold."""

    cpu: float
    memory_gib: float
    disk_gib: float
    build_minutes: float


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
