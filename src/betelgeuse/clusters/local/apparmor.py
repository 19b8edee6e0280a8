"""The AppArmor profile that containerd loads for containers: taken back at the end, unless it was there before."""

from pathlib import Path
from typing import Final

from betelgeuse.clusters.local.layout import CLUSTER_DIR

NAME: Final = "cri-containerd.apparmor.d"
ROOT: Final = Path("/sys/kernel/security/apparmor")
FILE: Final = CLUSTER_DIR / "apparmor"
"""Says whose the profile is."""
_OURS: Final = "loaded for the nodes\n"
_OTHERS: Final = "loaded before\n"


def _loaded(root: Path) -> bool:
    # One a line: its name, then its mode in parentheses.
    return any(line.split(" ")[0] == NAME for line in (root / "profiles").read_text().splitlines())


def remember(file: Path = FILE, root: Path = ROOT) -> None:
    """Write down whether another containerd loaded the profile; an earlier run's word counts."""
    if file.is_file() or not (root / "profiles").exists():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(_OTHERS if _loaded(root) else _OURS)


def restore(file: Path = FILE, root: Path = ROOT) -> None:
    """Unload the profile that is there for our nodes only."""
    if file.is_file() and file.read_text() == _OURS and _loaded(root):
        (root / ".remove").write_text(NAME)
