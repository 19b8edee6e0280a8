"""The token that all users of a run share: asked for by a command, and again in the background before it expires."""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

from loadtests import commands

# Tokens live for 300 s, and a request may wait in a queue before the gateway looks at its token.
KEEP = 120.0
"""Seconds after which another is asked for."""
LAST = 240.0
"""Seconds after which none is better than an old one: users wait for the command then."""
# Seconds for the command: it opens a connection to the cluster first.
PATIENCE = 60.0
_ASK: Final = partial(commands.ask, patience=PATIENCE)


def _in_background(work: Callable[[], None]) -> None:
    threading.Thread(target=work, daemon=True).start()


class Tokens:
    """What `BETELGEUSE_TOKEN_COMMAND` prints, renewed after `KEEP` seconds; empty when there is no such command."""

    def __init__(
        self,
        command: str | None = None,
        ask: Callable[[str], str] = _ASK,
        clock: Callable[[], float] = time.monotonic,
        spawn: Callable[[Callable[[], None]], None] = _in_background,
    ) -> None:
        """`command`: a shell-like line; by default the environment's."""
        self._command = os.environ.get("BETELGEUSE_TOKEN_COMMAND", "") if command is None else command
        self._ask, self._clock, self._spawn = ask, clock, spawn
        self._lock = threading.Lock()
        self._token, self._since, self._renewing = "", 0.0, False

    def get(self) -> str:
        """Return a token that is good for a minute at least; RuntimeError when the command gives none."""
        if not self._command:
            return ""
        age = self._clock() - self._since
        if not self._token or age >= LAST:
            with self._lock:
                # Somebody else may have asked while we waited.
                if not self._token or self._clock() - self._since >= LAST:
                    self._renew()
        elif age >= KEEP and not self._renewing:
            # A user who waited for the command would count it as latency of the server.
            self._renewing = True
            self._spawn(self._renew_aside)
        return self._token

    def _renew(self) -> None:
        self._token = self._ask(self._command)
        self._since = self._clock()

    def _renew_aside(self) -> None:
        try:
            # The old token is still good: who asks next tries again.
            with suppress(RuntimeError, OSError):
                self._renew()
        finally:
            self._renewing = False
