"""The node's cgroups (v1): made before its init, emptied and removed after it."""

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Final

from betelgeuse.clusters.local.layout import CGROUP_ROOT, CONTROLLERS, Node
from betelgeuse.errors import BetelgeuseError, RefusedError
from betelgeuse.shell import run

_SHARES: Final = 8192
"""A node's weight; every session of this machine has 1,024. With no more, a cluster that forms beside builds misses
its own time limits."""
_EMPTY_SECONDS: Final = 10.0
"""How long killed processes may take to leave their cgroup."""


def ensure_hierarchies() -> None:
    """Mount what is missing of the v1 hierarchies; refuse where the kernel has none."""
    for controller in CONTROLLERS:
        folder = CGROUP_ROOT / controller
        if os.path.ismount(folder) or folder.is_symlink():
            continue
        options = "none,name=systemd" if controller == "systemd" else controller
        try:
            folder.mkdir(parents=True, exist_ok=True)
            run(["mount", "-t", "cgroup", "-o", options, "cgroup", str(folder)])
        except (OSError, BetelgeuseError) as error:
            message = f"cgroup controller {controller} cannot be mounted at {folder}: {error}; see `invoke doctor`"
            raise RefusedError(message) from None


def create(node: Node) -> None:
    """Make the node's cgroup in every hierarchy, and `init` below it for the node's own programs."""
    ensure_hierarchies()
    for group in node.cgroups:
        group.mkdir(exist_ok=True)
        if group.parent.name == "cpuset":
            _copy_cpuset(group)
        if group.parent.name == "cpu":
            (group / "cpu.shares").write_text(str(_SHARES))
        (group / "init").mkdir(exist_ok=True)
        if group.parent.name == "cpuset":
            _copy_cpuset(group / "init")


def _copy_cpuset(group: Path) -> None:
    # A new cpuset is empty, and an empty one takes no process.
    for name in ("cpuset.cpus", "cpuset.mems"):
        (group / name).write_text((group.parent / name).read_text())


def enter(node: Node, pid: int) -> None:
    """Move a process into the node's `init` cgroups."""
    for group in node.cgroups:
        (group / "init" / "cgroup.procs").write_text(str(pid))


def _members(group: Path) -> set[int]:
    pids: set[int] = set()
    for folder in (group, *(path for path in group.rglob("*") if path.is_dir())):
        with contextlib.suppress(OSError):
            pids.update(int(line) for line in (folder / "cgroup.procs").read_text().split())
    return pids


def _left(node: Node) -> list[Path]:
    """Return the cgroups of a node that exist: ours, and the one runc adds in the unified hierarchy."""
    return [group for group in (*node.cgroups, CGROUP_ROOT / "unified" / node.scope) if group.is_dir()]


def kill_all(node: Node) -> None:
    """Kill every process of the node, thawing what is frozen, until none is left."""
    deadline = time.monotonic() + _EMPTY_SECONDS
    groups = _left(node)
    while pids := set().union(*(_members(group) for group in groups)) - {0}:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        freezer = CGROUP_ROOT / "freezer" / node.scope
        for state in freezer.rglob("freezer.state") if freezer.is_dir() else ():
            with contextlib.suppress(OSError):
                state.write_text("THAWED")
        if time.monotonic() > deadline:
            message = f"{node.name}: processes {sorted(pids)} do not die after SIGKILL; look at /proc/<pid>/stack"
            raise BetelgeuseError(message)
        time.sleep(0.05)


def remove(node: Node) -> None:
    """Remove the node's cgroups, deepest first; their absence is fine."""
    for group in _left(node):
        for folder in [*sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True), group]:
            _remove_empty(folder)


def _remove_empty(folder: Path) -> None:
    """Remove one cgroup; the kernel calls it busy for a moment after its last process died."""
    deadline = time.monotonic() + _EMPTY_SECONDS
    while True:
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return
