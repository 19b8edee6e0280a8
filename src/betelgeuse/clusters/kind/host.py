"""What the nodes change of the machine beside containers: remembered before the first, put back behind the last."""

import re
from contextlib import suppress
from pathlib import Path
from typing import Final

from betelgeuse import paths
from betelgeuse.clusters.local import cgroup1, cgroup2, sysctls
from betelgeuse.clusters.local.layout import CGROUP_ROOT
from betelgeuse.settings import KIND
from betelgeuse.shell import run

_BY_SYSTEMD: Final = (
    "fs/file-max",
    "fs/nr_open",
    "fs/protected_fifos",
    "fs/protected_hardlinks",
    "fs/protected_regular",
    "fs/protected_symlinks",
    "kernel/pid_max",
)
"""Of the node's own, which takes itself for the machine's."""
NAMES: Final = (*sysctls.NAMES, *_BY_SYSTEMD, "net/ipv4/ip_forward")
"""The last is the engine's, the first the nodes'."""
FILE: Final = paths.state_dir(KIND) / "sysctls.json"
_MODULES: Final = Path("/lib/modules")
_MADE: Final = paths.state_dir(KIND) / "modules"
"""There when the folder of kernel modules is ours: kind mounts it, and an engine refuses what does not exist."""

_PARENT: Final = "libpod_parent"
_SHARES: Final = {"cpu.shares": str(cgroup1.SHARES), "cpu.weight": str(cgroup2.WEIGHT)}
"""As the embedded cluster's nodes: all nodes together count as one process otherwise."""
_OF_A_NETWORK: Final = re.compile(r"(?m)^:NETAVARK-(DN-)?[0-9A-F]{13} ")


def prepare() -> None:
    """Remember kernel settings that nobody else remembers, and make the folder that kind mounts."""
    # What the embedded cluster has changed before is for it to put back.
    names = [name for name in NAMES if name not in sysctls.remembered()]
    sysctls.remember(FILE, names=names)
    sysctls.raise_limits(FILE)
    if not _MODULES.exists():
        _MADE.touch()
        _MODULES.mkdir()


def restore() -> None:
    """Put everything back."""
    sysctls.restore(FILE)
    if _MADE.exists():
        _MODULES.rmdir()
        _MADE.unlink()


def favour() -> None:
    """Give podman's nodes, made already or not, their share of a busy machine where no systemd divides it."""
    folder = (CGROUP_ROOT / "cpu" if (CGROUP_ROOT / "cpu").is_dir() else CGROUP_ROOT) / _PARENT
    folder.mkdir(exist_ok=True)
    for name, share in _SHARES.items():
        if (folder / name).is_file():
            (folder / name).write_text(share)


def leftovers(rules: str) -> str:
    """Return what takes podman's own chains out of the rules of iptables-save; nothing while a network uses them."""
    if _OF_A_NETWORK.search(rules):
        return ""
    lines: list[str] = []
    for table in re.findall(r"(?ms)^\*\w+$.*?^COMMIT$", rules):
        chains = re.findall(r"(?m)^:(NETAVARK\S+)", table)
        hooks = re.findall(r"(?m)^-A ((?!NETAVARK).*NETAVARK.*)$", table)
        steps = [f"-D {hook}" for hook in hooks] + [f"-{verb} {chain}" for verb in "FX" for chain in chains]
        lines += [table.partition("\n")[0], *steps, "COMMIT"] if steps else []
    return "".join(f"{line}\n" for line in lines)


def sweep() -> None:
    """Remove what podman leaves behind its last container: chains of its firewall, and empty cgroups."""
    if script := leftovers(run(["iptables-save"])):
        run(["iptables-restore", "--noflush"], input=script)
    for place in (CGROUP_ROOT, *CGROUP_ROOT.iterdir()):
        for name in (f"{_PARENT}/conmon", _PARENT):
            # Absent, or of another container's.
            with suppress(OSError):
                (place / name).rmdir()
