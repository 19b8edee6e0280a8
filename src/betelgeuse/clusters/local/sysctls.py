"""Kernel settings that nodes change for the whole machine: remembered before the first boot, put back at the end."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, cast

from betelgeuse import paths
from betelgeuse.clusters.local.layout import CLUSTER_DIR

RAISED: Final[Mapping[str, int]] = {"fs/inotify/max_user_instances": 1024, "fs/inotify/max_user_watches": 524288}
"""The least with which kubelets and containerd watch all their files. Kernels begin with 128 instances, which all nodes
share, and with as many watches as go with the machine's memory."""
NAMES: Final = (
    *RAISED,
    # The kubelet's.
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)
ROOT: Final = Path("/proc/sys")
FILE: Final = CLUSTER_DIR / "sysctls.json"


def remember(file: Path = FILE, root: Path = ROOT, names: Sequence[str] = NAMES) -> None:
    """Write down the machine's values, unless an earlier run did: later ones are kubelet's."""
    if file.is_file():
        return
    values = {name: (root / name).read_text().strip() for name in names if (root / name).is_file()}
    paths.write(file, json.dumps(values))


def raise_limits(file: Path = FILE, root: Path = ROOT) -> None:
    """Raise what is too low for nodes, as far as its old value is remembered."""
    known = remembered(file)
    for name, least in RAISED.items():
        if name in known and int((root / name).read_text()) < least:
            (root / name).write_text(str(least))


def remembered(file: Path = FILE) -> dict[str, str]:
    """Return the remembered values by their names."""
    try:
        return cast("dict[str, str]", json.loads(file.read_text()))
    except FileNotFoundError:
        return {}


def restore(file: Path = FILE, root: Path = ROOT) -> None:
    """Put the remembered values back; without a memory there is nothing to do."""
    for name, value in remembered(file).items():
        (root / name).write_text(value)
