"""Where things live: the tree, the content-addressed cache, and the state of each environment."""

import os
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
"""The checkout: base/, components/, overlays/, programs/ and this package."""

OVERLAYS: Final = ROOT / "overlays"

UPSTREAM: Final = ROOT / ".upstream"
"""Other projects' manifests, materialised from the bundles of programs/; ignored by git."""

GENERATED: Final = ROOT / ".generated"
"""Parts of the tree that are made from programs/ and apps/: the images' tags; ignored by git."""

REPORTS: Final = ROOT / "reports"
"""What test runs write for people; ignored by git."""

CACHE: Final = Path(os.environ.get("BETELGEUSE_CACHE") or "/var/cache/betelgeuse")
"""Content-addressed results, downloads and logs: losing it costs time, never data."""

STATE: Final = Path(os.environ.get("BETELGEUSE_STATE") or "/var/lib/betelgeuse")
"""What belongs to a living environment: its kubeconfig, lock, node directories."""


def write(file: Path, text: str, *, private: bool = False) -> None:
    """Write a file whole or not at all, its folder too: others read it at any moment, and a kill may come at any.

    A private one is its owner's alone from its first byte on.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".new")
    if private:
        # One that a killed run left may be anybody's to read.
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600)
    draft.write_text(text, "utf-8")
    draft.replace(file)


def settle(file: Path, text: str) -> None:
    """Write a file unless it says the same already."""
    if not file.is_file() or file.read_text("utf-8") != text:
        write(file, text)


def shown(path: Path) -> str:
    """Return a path as a person in the checkout would name it."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def state_dir(env: str) -> Path:
    """Return the state folder of one environment (it may not exist yet)."""
    return STATE / env


def kubeconfig_path(env: str) -> Path:
    """Return where the deploy of an environment leaves its administrator's kubeconfig."""
    return state_dir(env) / "kubeconfig"


def environment_file(env: str) -> Path:
    """Return the one configuration file of an environment."""
    return OVERLAYS / env / "environment.env"
