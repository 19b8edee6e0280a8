"""upstream/lock.yaml as data: bundles, each from a module whose checksum is pinned beside it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final

import yaml

from betelgeuse import paths
from betelgeuse.errors import BuildError

LOCK: Final = paths.ROOT / "upstream" / "lock.yaml"
VALUES: Final = LOCK.parent / "values"
UPDATE: Final = "python -m betelgeuse.materialise --update"


@dataclass(frozen=True, slots=True)
class Bundle:
    """One entry of the lock: `files` of a module as they are, or a `chart` of it rendered by helm."""

    name: str
    module: str
    sha256: str
    files: str = ""
    chart: str = ""
    version: str = ""
    release: str = ""
    namespace: str = ""
    templates: str = ""
    fill: Mapping[str, str] = field(default_factory=dict)

    @property
    def values(self) -> Path:
        """Return our values for the chart."""
        return VALUES / f"{self.name}.yaml"


@dataclass(frozen=True, slots=True)
class Lock:
    """The whole lock, checked: every bundle's module has a checksum."""

    kubernetes: str
    modules: Mapping[str, str]
    bundles: tuple[Bundle, ...]


def wrong(what: str) -> BuildError:
    """Return the error that something is wrong with the lock."""
    return BuildError(f"{paths.shown(LOCK)}: {what}")


def _bundle(name: str, entry: object, modules: Mapping[str, str]) -> Bundle:
    known = {each.name for each in fields(Bundle)} - {"name"}
    if not isinstance(entry, dict):
        message = f"bundle {name} must be a mapping with the keys {', '.join(sorted(known))}"
        raise wrong(message)
    if unknown := sorted(set(entry) - known):
        message = f"bundle {name}: unknown key {unknown[0]}; known are {', '.join(sorted(known))}"
        raise wrong(message)
    try:
        bundle = Bundle(name=name, **entry)
    except TypeError:
        message = f"bundle {name} needs module and sha256"
        raise wrong(message) from None
    if bundle.module not in modules:
        message = f"bundle {name}: module {bundle.module} has no checksum under `modules`"
        raise wrong(message)
    if bool(bundle.files) == bool(bundle.chart):
        message = f"bundle {name} needs either files or chart"
        raise wrong(message)
    return bundle


def read_lock() -> Lock:
    """Return the lock, or say what is wrong with it."""
    try:
        document = yaml.safe_load(LOCK.read_text(encoding="utf-8"))
        modules = {str(key): str(value) for key, value in document["modules"].items()}
        entries = document["bundles"].items()
        kubernetes = str(document["kubernetes"])
    except FileNotFoundError:
        message = "is missing: restore it from git"
        raise wrong(message) from None
    except yaml.YAMLError as error:
        message = f"is not YAML: {' '.join(str(error).split())}"
        raise wrong(message) from None
    except (KeyError, TypeError, AttributeError):
        message = "must have the mappings `modules` and `bundles` and the version `kubernetes`"
        raise wrong(message) from None
    return Lock(kubernetes, modules, tuple(_bundle(name, entry, modules) for name, entry in entries))


def with_checksum(text: str, module: str, checksum: str) -> str:
    """Return the lock's text with another checksum of a module; comments stay."""
    return re.sub(rf"(?m)^(  {re.escape(module)}: ).*$", lambda found: found[1] + checksum, text)


def with_hash(text: str, bundle: str, digest: str) -> str:
    """Return the lock's text with another hash of a bundle; comments stay."""
    entry = rf"(?m)^(  {re.escape(bundle)}:\n(?:(?:    .*)?\n)*?    sha256: ).*$"
    return re.sub(entry, lambda found: found[1] + digest, text)
