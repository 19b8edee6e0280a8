"""The token that all users of a run share: asked for by a command, and again before it expires."""

import os
import shlex
import subprocess
import threading
import time
from collections.abc import Callable

# Tokens live for 300 s, and a request may wait in a queue before the gateway looks at its token.
KEEP = 120.0
# Seconds for the command: it opens a connection to the cluster first.
PATIENCE = 60.0


def _ask(command: str) -> str:
    # The environment says the command, so that no token is in it and none in an argument.
    done = subprocess.run(shlex.split(command), capture_output=True, text=True, timeout=PATIENCE, check=False)  # noqa: S603
    if done.returncode != 0 or not done.stdout.strip():
        message = f"{command}: {done.stderr.strip() or 'printed no token'}"
        raise RuntimeError(message)
    return done.stdout.strip()


class Tokens:
    """What `BETELGEUSE_TOKEN_COMMAND` prints, kept for `KEEP` seconds; empty when there is no such command."""

    def __init__(
        self,
        command: str | None = None,
        ask: Callable[[str], str] = _ask,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`command`: a shell-like line; by default the environment's."""
        self._command = os.environ.get("BETELGEUSE_TOKEN_COMMAND", "") if command is None else command
        self._ask, self._clock = ask, clock
        self._lock = threading.Lock()
        self._token, self._until = "", 0.0

    def get(self) -> str:
        """Return a token that is good for some minutes; RuntimeError when the command gives none."""
        if not self._command:
            return ""
        with self._lock:
            if not self._token or self._clock() >= self._until:
                self._token = self._ask(self._command)
                self._until = self._clock() + KEEP
            return self._token
