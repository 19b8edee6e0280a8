"""The node's cgroups, v1 or v2: made before its init, emptied and removed after it."""

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from betelgeuse.clusters.local import cgroup1, cgroup2
from betelgeuse.clusters.local.layout import CGROUP_ROOT, CONTROLLERS, Node
from betelgeuse.errors import BetelgeuseError

_EMPTY_SECONDS: Final = 10.0
"""How long killed processes may take to leave their cgroup."""
_SCOPE_SECONDS: Final = 30.0
"""How long systemd may take to notice that a scope is empty."""
_THAWED: Final = {"freezer.state": "THAWED", "cgroup.freeze": "0"}


def unified() -> bool:
    """Tell whether this machine has cgroup v2 alone."""
    return cgroup2.alone(Path("/proc/mounts").read_text())


def create(node: Node) -> None:
    """Make the node's cgroup, in every hierarchy where there are several."""
    (cgroup2 if unified() else cgroup1).create(node)


def join(node: Node) -> None:
    """Move this process, a node's init, into the node's cgroup."""
    (cgroup2 if unified() else cgroup1).join(node)


def launcher() -> list[str]:
    """Return what to put before the command of a guard; nothing where a guard needs no place of its own."""
    return cgroup2.launcher() if unified() else []


def settle() -> None:
    """Move this process, a guard, to where it and the nodes it boots are left alone."""
    if unified():
        cgroup2.settle()


def places() -> list[Path]:
    """Return the folders that nodes' cgroups are in, whether or not they exist."""
    # runc adds one in the unified hierarchy of a machine that has both.
    return [*(CGROUP_ROOT / controller for controller in (*CONTROLLERS, "unified")), *cgroup2.PLACES]


def _left(node: Node, folders: Iterable[Path]) -> list[Path]:
    """Return the cgroups of a node that exist."""
    return [folder / node.scope for folder in folders if (folder / node.scope).is_dir()]


def _members(group: Path) -> set[int]:
    pids: set[int] = set()
    # Cgroups vanish while one looks: os.walk takes that, where Path.rglob would not.
    for folder, _, _ in os.walk(group):
        with contextlib.suppress(OSError):
            pids.update(int(line) for line in Path(folder, "cgroup.procs").read_text().split())
    return pids


def kill_all(node: Node) -> None:
    """Kill every process of the node, thawing what is frozen, until none is left."""
    _kill(node.name, _left(node, places()))


def _kill(name: str, groups: Sequence[Path]) -> None:
    deadline = time.monotonic() + _EMPTY_SECONDS
    while pids := set().union(*(_members(group) for group in groups)) - {0}:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for group in groups:
            _thaw(group)
        if time.monotonic() > deadline:
            message = f"{name}: processes {sorted(pids)} do not die after SIGKILL; look at /proc/<pid>/stack"
            raise BetelgeuseError(message)
        time.sleep(0.05)


def _thaw(group: Path) -> None:
    for folder, _, files in os.walk(group):
        for name in _THAWED.keys() & set(files):
            with contextlib.suppress(OSError):
                Path(folder, name).write_text(_THAWED[name])


def remove(node: Node) -> None:
    """Remove the node's cgroups, deepest first; their absence is fine."""
    for group in _left(node, places()):
        _remove_tree(group)


def _remove_tree(group: Path) -> None:
    # systemd removes a scope when its last process has ended, perhaps while we look: os.walk takes that.
    for folder, _, _ in os.walk(group, topdown=False):
        _remove_empty(Path(folder))


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


def close() -> None:
    """Remove what all nodes had in common, after the last of them and the guards have ended."""
    scope, folder = cgroup2.PLACES
    _kill(cgroup2.NAME, cgroup2.PLACES)
    deadline = time.monotonic() + _SCOPE_SECONDS
    # systemd ends a scope, and removes its cgroup, when its last process has ended.
    while scope.is_dir():
        if time.monotonic() > deadline:
            message = f"systemd does not end {cgroup2.UNIT}, in which nothing runs: systemctl status {cgroup2.UNIT}"
            raise BetelgeuseError(message)
        time.sleep(0.05)
    if folder.is_dir():
        _remove_tree(folder)
