"""A node's cgroups where the machine has v1 hierarchies: one in each of them."""

import os
from pathlib import Path
from typing import Final

from betelgeuse.clusters.local.layout import CGROUP_ROOT, CONTROLLERS, Node
from betelgeuse.errors import BetelgeuseError, RefusedError
from betelgeuse.shell import run

SHARES: Final = 8192
"""A node's weight; every session of this machine has 1,024. With no more, a cluster that forms beside builds misses
its own time limits."""


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
            (group / "cpu.shares").write_text(str(SHARES))
        (group / "init").mkdir(exist_ok=True)
        if group.parent.name == "cpuset":
            _copy_cpuset(group / "init")


def _copy_cpuset(group: Path) -> None:
    # A new cpuset is empty, and an empty one takes no process.
    for name in ("cpuset.cpus", "cpuset.mems"):
        (group / name).write_text((group.parent / name).read_text())


def join(node: Node) -> None:
    """Move this process into the node's cgroups; 0 means the writer itself."""
    for group in node.cgroups:
        (group / "init" / "cgroup.procs").write_text("0")
