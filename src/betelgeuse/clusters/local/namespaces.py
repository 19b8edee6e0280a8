"""The two system calls Python 3.11 lacks: entering and creating Linux namespaces."""

import ctypes
import os
from pathlib import Path
from typing import Final

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWCGROUP: Final = 0x02000000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def enter_network(netns: Path) -> None:
    """Move the calling thread into a pinned network namespace."""
    descriptor = os.open(netns, os.O_RDONLY)
    try:
        _check(_LIBC.setns(descriptor, CLONE_NEWNET), f"setns {netns}")
    finally:
        os.close(descriptor)


def unshare(flags: int) -> None:
    """Leave the calling thread's namespaces for new ones (a new PID namespace begins with the next child)."""
    _check(_LIBC.unshare(flags), f"unshare {flags:#x}")
