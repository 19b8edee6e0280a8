"""Profiles: the areas an environment runs, what areas need of each other, and what they need of a machine."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

import yaml

from betelgeuse import paths
from betelgeuse.errors import UsageError
from betelgeuse.settings import known, suggest

_KUSTOMIZATION: Final = "kustomization.yaml"
_DIGITS: Final = 3
"""A thousandth of a core or of a GiB: sums of decimal fractions stay what a person would add up."""


LEAST_CPU: Final = 2.0
"""Cores without which the control plane starves the pods, however little they want."""


@dataclass(frozen=True)
class Budget:
    """Needs: cores, GiB of memory, GiB of disk for a cold start, minutes of compiling when cold."""

    cpu: float
    memory_gib: float
    disk_gib: float
    build_minutes: float

    def __add__(self, other: "Budget") -> "Budget":
        """Return what both need together."""
        names = [field.name for field in fields(self)]
        return Budget(*(round(getattr(self, name) + getattr(other, name), _DIGITS) for name in names))

    def __str__(self) -> str:
        """Return it for people."""
        machine = f"{self.cpu:g} cores, {self.memory_gib:g} GiB of memory, {self.disk_gib:g} GiB of disk"
        return f"{machine}, {self.build_minutes:g} minutes to build everything"


@dataclass(frozen=True)
class Area:
    """One folder of base/: the areas it does not run without, and its share of the machine."""

    name: str
    needs: tuple[str, ...]
    budget: Budget


@dataclass(frozen=True)
class Profile:
    """The areas that an environment runs."""

    name: str
    areas: tuple[Area, ...]

    @property
    def budget(self) -> Budget:
        """The sum of what the areas declare, on a machine that can carry a control plane at all."""
        needed = sum((area.budget for area in self.areas), Budget(0, 0, 0, 0))
        return replace(needed, cpu=max(needed.cpu, LEAST_CPU))

    def __str__(self) -> str:
        """Return the line that a deploy begins with."""
        return f"profile {self.name}: {', '.join(area.name for area in self.areas)}; needs {self.budget}"


def _read(file: Path) -> Any:  # noqa: ANN401 - any YAML
    try:
        return yaml.safe_load(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        message = f"{paths.shown(file)}: cannot be read: {' '.join(str(error).split())}"
        raise UsageError(message) from None


def _resources(folder: Path) -> list[str]:
    document = _read(folder / _KUSTOMIZATION)
    listed = document.get("resources") if isinstance(document, dict) else None
    return [str(entry) for entry in listed] if isinstance(listed, list) else []


def _areas(folder: Path, trail: tuple[Path, ...] = ()) -> Iterator[str]:
    """Yield the areas that a profile lists, its other profiles' included."""
    where = paths.shown(folder / _KUSTOMIZATION)
    if folder in trail:
        message = f"{where}: a profile that contains itself"
        raise UsageError(message)
    for entry in _resources(folder):
        target = Path(os.path.normpath(folder / entry))
        if target.parent == paths.ROOT / "base":
            yield target.name
        elif target == paths.ROOT / "base" or target.parent == paths.ROOT / "profiles":
            yield from _areas(target, (*trail, folder))
        else:
            message = f"{where}: {entry} is neither an area (../../base/<area>) nor another profile (../<profile>)"
            raise UsageError(message)


def _area(name: str) -> Area:
    file = paths.ROOT / "base" / name / "area.yaml"
    found = _read(file)
    wanted = {field.name for field in fields(Budget)}
    shaped = isinstance(found, dict) and found.keys() == {"needs", "budget"} and isinstance(found["needs"], list)
    budget = found["budget"] if shaped and isinstance(found["budget"], dict) else {}
    if budget.keys() != wanted or not all(type(value) in {int, float} and value >= 0 for value in budget.values()):
        order = ", ".join(field.name for field in fields(Budget))
        message = f"{paths.shown(file)}: expected a list `needs` and a `budget` of exactly the numbers {order}"
        raise UsageError(message)
    return Area(name, tuple(str(need) for need in found["needs"]), Budget(**budget))


def names() -> list[str]:
    """List the profiles the tree has."""
    return sorted(file.parent.name for file in (paths.ROOT / "profiles").glob(f"*/{_KUSTOMIZATION}"))


def areas() -> list[str]:
    """List the areas the tree has."""
    return sorted(file.parent.name for file in (paths.ROOT / "base").glob(f"*/{_KUSTOMIZATION}"))


def having(area: str) -> list[str]:
    """List the profiles that run an area."""
    return [name for name in names() if area in set(_areas(paths.ROOT / "profiles" / name))]


def serving(namespace: str) -> list[str]:
    """List the profiles that run the area of a namespace."""
    found = []
    for area in areas():
        folder = paths.ROOT / "base" / area
        own = (_read(folder / _KUSTOMIZATION) or {}).get("namespace")
        stated = [_read(file) for file in folder.glob("namespace*.yaml")]
        spaces = [own] if own else [each["metadata"]["name"] for each in stated if each]
        found += having(area) if namespace in spaces else []
    return found


def _check(name: str, members: list[str], found: list[Area]) -> None:
    where = f"profiles/{name}/{_KUSTOMIZATION}"
    if twice := [member for member in members if members.count(member) > 1]:
        message = f"{where}: area {twice[0]} comes twice; a profile that it builds on lists it already"
        raise UsageError(message)
    all_areas = areas()
    for area, need in ((each, need) for each in found for need in each.needs):
        if need not in all_areas:
            message = f"base/{area.name}/area.yaml: needs an area {need!r} that base/ lacks{suggest(need, all_areas)}"
            raise UsageError(message)
        if need not in members:
            others = ", ".join(having(need)) or "no profile"
            message = f"{where}: area {area.name} needs area {need}, which profile {name} lacks and {others} has"
            raise UsageError(message)


def load(name: str) -> Profile:
    """Return a profile, its areas' needs checked; an unknown or an incomplete one is a UsageError."""
    if name not in (all_names := names()):
        have = ", ".join(all_names) or "none"
        message = f"unknown profile {name!r}{suggest(name, all_names)} (profiles/ has: {have})"
        raise UsageError(message)
    members = list(_areas(paths.ROOT / "profiles" / name))
    found = [_area(member) for member in members]
    _check(name, members, found)
    return Profile(name, tuple(found))


def smaller(profile: Profile) -> tuple[Profile, ...]:
    """Return the profiles that run a part of a profile's areas and none beside them, largest first."""
    whole = {area.name for area in profile.areas}
    parts = [name for name in names() if set(_areas(paths.ROOT / "profiles" / name)) < whole]
    return tuple(sorted(map(load, parts), key=lambda part: (-len(part.areas), part.name)))


def default(env: str) -> str:
    """Return the profile that an overlay names: the one folder of profiles/ among its resources."""
    known(env)
    listed = [Path(entry) for entry in _resources(paths.OVERLAYS / env)]
    named = [entry.name for entry in listed if entry.parent.name == "profiles"]
    if len(named) != 1:
        got = ", ".join(named) or "none"
        message = f"overlays/{env}/{_KUSTOMIZATION}: expected one resource ../../profiles/<name>, got {got}"
        raise UsageError(message)
    return named[0]


def _belongs(component: str, members: set[str]) -> bool:
    """Tell whether a component of an overlay has anything to change: one of base/<area>/ goes with its area."""
    parts = Path(os.path.normpath(paths.OVERLAYS / "env" / component)).relative_to(paths.ROOT).parts
    return parts[0] != "base" or parts[1] in members


@contextmanager
def overlay(env: str, name: str) -> Iterator[Path]:
    """Yield the overlay of an environment that runs a profile.

    That is overlays/<env> itself where it names the profile; else a copy for the time of the block, in which one line
    differs, and which lists no component of an area (base/<area>/...) that the profile lacks. The copy lies as deep in
    the tree as the original, so every relative path in it leads to the same place.
    """
    own = paths.OVERLAYS / env
    if not name or name == default(env):
        yield own
        return
    place = paths.ROOT / ".build"
    place.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{env}-{name}-", dir=place) as folder:
        shutil.copytree(own, folder, dirs_exist_ok=True)
        file = Path(folder) / _KUSTOMIZATION
        content = _read(file)
        is_profile = [Path(entry).parent.name == "profiles" for entry in content["resources"]]
        content["resources"] = [
            str(Path(entry).with_name(name)) if chosen else entry
            for entry, chosen in zip(content["resources"], is_profile, strict=True)
        ]
        if "components" in content:
            members = {area.name for area in load(name).areas}
            content["components"] = [each for each in content["components"] if _belongs(str(each), members)]
        file.write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
        yield Path(folder)
