"""A node's cgroups where the machine has cgroup v2 alone: all nodes live in one subtree that nobody else touches.

systemd owns the tree where it runs, and leaves a scope with Delegate=yes to whoever asked for it. The scope belongs to
the system and not to a session, so the nodes outlive the logout of who deployed them. Elsewhere the subtree is a plain
folder of the tree.

    btg-local.scope/                the subtree; holds no process itself, as the kernel demands of a parent
        guard/                      both guards
        btg-local-node-1/           the root of the node's cgroup namespace
            init/                   the node's own programs
            btg-local-node-1/       the kubelet's root, at the same place inside the node as with v1
"""

import contextlib
from pathlib import Path
from typing import Final

from betelgeuse.clusters.local import namespaces
from betelgeuse.clusters.local.layout import CGROUP_ROOT, ENV, Node
from betelgeuse.errors import RefusedError

NEEDED: Final = ("cpu", "cpuset", "io", "memory", "pids")
"""Controllers without which the kubelet does not start, or limits what it should not."""
SYSTEMD: Final = Path("/run/systemd/system")
"""There when systemd is PID 1."""
NAME: Final = f"btg-{ENV}"
UNIT: Final = f"{NAME}.scope"
PLACES: Final = (CGROUP_ROOT / "system.slice" / UNIT, CGROUP_ROOT / NAME)
"""Where the subtree is: under systemd, and without."""

WEIGHT: Final = 800
"""Eight times what others have, as the v1 shares say."""
_SCOPE: Final = (
    "systemd-run",
    "--scope",
    "--quiet",
    "--collect",
    f"--unit={UNIT}",
    "--slice=system.slice",
    "--description=Nodes of the embedded cluster of Betelgeuse",
    "--property=Delegate=yes",
    f"--property=CPUWeight={WEIGHT}",
    # Pods are processes of one unit here, and the default is a share of the machine's.
    "--property=TasksMax=infinity",
    # At a shutdown; the default of 90 s would be waited for in whole if a container ignored SIGTERM.
    "--property=TimeoutStopSec=20",
    "--",
)


def alone(mounts: str) -> bool:
    """Tell by /proc/mounts whether cgroup v2 is all that the machine has; with v1 beside it, v2 is mounted below."""
    rows = (line.split() for line in mounts.splitlines())
    kinds = [fields[2] for fields in rows if len(fields) > 2 and fields[1] == str(CGROUP_ROOT)]  # noqa: PLR2004 - device, place, kind
    return kinds[-1:] == ["cgroup2"]


def subtree() -> Path:
    """Return the folder of all that is ours."""
    return PLACES[0] if SYSTEMD.is_dir() else PLACES[1]


def home(node: Node, base: Path | None = None) -> Path:
    """Return the cgroup of a node, which its cgroup namespace shows as the root."""
    return (base or subtree()) / node.scope


def enable(folder: Path) -> None:
    """Hand every controller that a cgroup has to its children; RefusedError where a needed one is missing or kept."""
    have = (folder / "cgroup.controllers").read_text().split()
    if lacking := [name for name in NEEDED if name not in have]:
        message = f"{folder} has no cgroup controller {', '.join(lacking)}; see `invoke doctor`"
        raise RefusedError(message)
    on = (folder / "cgroup.subtree_control").read_text().split()
    for name in have:
        if name in on:
            continue
        try:
            (folder / "cgroup.subtree_control").write_text(f"+{name}")
        except OSError as error:
            if name in NEEDED:
                message = f"cgroup controller {name} cannot be given on at {folder}: {error.strerror}"
                raise RefusedError(message) from None


def alive(base: Path) -> bool:
    """Tell whether a process runs in the subtree: a scope ends with its last one."""
    with contextlib.suppress(OSError):
        return "populated 1" in (base / "cgroup.events").read_text().splitlines()
    return False


def launcher() -> list[str]:
    """Return what to put before the command of a guard, so that systemd leaves it and the nodes alone."""
    return list(_SCOPE) if SYSTEMD.is_dir() and not alive(PLACES[0]) else []


def settle(base: Path | None = None) -> None:
    """Move this process, a guard, into the subtree and prepare it for nodes. A standby is there already."""
    base = base or subtree()
    if not SYSTEMD.is_dir():
        enable(base.parent)
    # Under systemd it is there: the guard was started in it, or finds it alive.
    (base / "guard").mkdir(parents=not SYSTEMD.is_dir(), exist_ok=True)
    (base / "guard" / "cgroup.procs").write_text("0")
    enable(base)
    if not SYSTEMD.is_dir():
        (base / "cpu.weight").write_text(str(WEIGHT))


def create(node: Node, base: Path | None = None) -> None:
    """Make the node's cgroup. What is below it, its init makes."""
    home(node, base).mkdir(exist_ok=True)


def join(node: Node, base: Path | None = None) -> None:
    """Make this process, a node's init, see the node's cgroup as the root of all; then step below it."""
    group = home(node, base)
    (group / "cgroup.procs").write_text("0")
    namespaces.unshare(namespaces.CLONE_NEWCGROUP)
    for name in ("init", node.scope):
        (group / name).mkdir(exist_ok=True)
    (group / "init" / "cgroup.procs").write_text("0")
    enable(group)
