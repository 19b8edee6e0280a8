"""Keep programs that manage networks away from the nodes' cables: they may take addresses off what they do not know."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from betelgeuse.shell import run

_OURS: Final = "btg*"
"""The bridge, and the machine's ends of the nodes' cables."""


@dataclass(frozen=True)
class Manager:
    """A program that manages networks, and how it is told what is not its own."""

    name: str
    running: str
    """What is there while it runs, and not when it is merely installed."""
    file: str
    """Below /run: a reboot forgets it, as it forgets the bridge."""
    text: str
    reload: tuple[str, ...]


MANAGERS: Final = (
    Manager(
        "systemd-networkd",
        "run/systemd/netif/state",
        "run/systemd/network/00-betelgeuse.network",
        f"[Match]\nName={_OURS}\n\n[Link]\nUnmanaged=yes\n",
        ("networkctl", "reload"),
    ),
    Manager(
        "NetworkManager",
        "run/NetworkManager",
        "run/NetworkManager/conf.d/00-betelgeuse.conf",
        f"[device-betelgeuse]\nmatch-device=interface-name:{_OURS}\nmanaged=0\n",
        ("nmcli", "general", "reload", "conf"),
    ),
)


def claim(root: Path = Path("/"), managers: Sequence[Manager] = MANAGERS) -> None:
    """Tell every manager that runs; one that knows already is not asked to read again."""
    for manager in managers:
        file = root / manager.file
        if not (root / manager.running).exists() or (file.is_file() and file.read_text() == manager.text):
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(manager.text)
        run(manager.reload)


def release(root: Path = Path("/"), managers: Sequence[Manager] = MANAGERS) -> None:
    """Take back what was told."""
    for manager in managers:
        file = root / manager.file
        if file.is_file():
            file.unlink()
            if (root / manager.running).exists():
                run(manager.reload)
