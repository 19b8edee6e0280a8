"""Kernel settings that kubelet changes for the whole machine: remembered before the first boot, put back at the end."""

import contextlib
import json
from pathlib import Path
from typing import Final

from betelgeuse.clusters.local.layout import CLUSTER_DIR

NAMES: Final = (
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)
ROOT: Final = Path("/proc/sys")
FILE: Final = CLUSTER_DIR / "sysctls.json"


def remember(file: Path = FILE, root: Path = ROOT) -> None:
    """Write down the machine's values, unless an earlier run did: later ones are kubelet's."""
    if file.is_file():
        return
    values = {name: (root / name).read_text().strip() for name in NAMES if (root / name).is_file()}
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".new")
    draft.write_text(json.dumps(values))
    draft.rename(file)


def restore(file: Path = FILE, root: Path = ROOT) -> None:
    """Put the remembered values back; without a memory there is nothing to do."""
    with contextlib.suppress(FileNotFoundError):
        for name, value in json.loads(file.read_text()).items():
            (root / name).write_text(value)
