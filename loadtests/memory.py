"""How much memory a server holds while a run lasts: a command is asked once in a while, no API says it."""

import os
import re
import statistics
import threading
from collections.abc import Callable
from functools import partial
from typing import Final

from loadtests import commands

GROWTH: Final = "memory growth ratio"
AT_LAST: Final = "memory at last, MiB"
EVERY: Final = 30.0
"""Seconds between two samples at most: each starts a process beside the server."""
# Seconds for the command.
PATIENCE: Final = 20.0
_RESIDENT: Final = re.compile(r"^VmRSS:\s*(\d+) kB$", re.MULTILINE)
_KIB: Final = 1024
_ASK: Final = partial(commands.ask, patience=PATIENCE)


class Memory:
    """Resident memory by what `BETELGEUSE_MEMORY_COMMAND` prints: the server's /proc/PID/status."""

    def __init__(self, command: str | None = None, ask: Callable[[str], str] = _ASK) -> None:
        """`command`: a shell-like line; by default the environment's, empty for none."""
        self.command = os.environ.get("BETELGEUSE_MEMORY_COMMAND", "") if command is None else command
        self.samples: list[float] = []
        """MiB, oldest first."""
        self.trouble = ""
        """Why a sample is missing, the last time that one was."""
        self._ask, self._over = ask, threading.Event()

    def watch(self, every: float) -> None:
        """Take samples in the background until `end`; without a command none."""
        if self.command:
            threading.Thread(target=self._watch, args=(every,), daemon=True).start()

    def _watch(self, every: float) -> None:
        while not self._over.wait(every):
            self.sample()

    def sample(self) -> None:
        """Take one."""
        try:
            found = _RESIDENT.search(self._ask(self.command))
        except (OSError, RuntimeError) as error:
            self.trouble = str(error)
            return
        if found:
            self.samples.append(int(found[1]) / _KIB)
        else:
            self.trouble = f"{self.command}: printed no VmRSS in kB"

    def end(self) -> None:
        """Take no more."""
        self._over.set()

    def figures(self) -> dict[str, float]:
        """Return the median of the last third, and that ÷ the middle third's; nothing with fewer than three samples.

        The first third does not count: contexts fill, which is no leak.
        """
        third = len(self.samples) // 3
        if not third:
            return {}
        middle, last = (
            statistics.median(part) for part in (self.samples[third : 2 * third], self.samples[2 * third :])
        )
        return {AT_LAST: last, GROWTH: last / middle}
