"""Who gets the last place of a model server: among clients that want one, whoever got fewest lately.

Who calls is known here, and how many requests are with the server, but not whose ends. That is enough: while one client
alone asks, it may have every place. As soon as another one asks too, the last place is kept for who had less, so that a
client with many long streams gives way whenever one of them ends.
"""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from typing import Final
from urllib.parse import urlsplit

from .health import PATIENCE

WAITING: Final = 10.0
"""Seconds for which a client that asked counts as one that wants a place."""
WINDOW: Final = 60.0
"""Seconds for which it is remembered who got a place."""
_COUNTED: Final = ("llamacpp:requests_processing ", "llamacpp:requests_deferred ")
_OK: Final = 200

Active = Callable[[], int | None]
"""How many requests are with the server, those that wait there included; None where nobody can tell."""


class Places:
    """The places of one model server; safe for threads."""

    def __init__(self, places: int, active: Active, clock: Callable[[], float] = time.monotonic) -> None:
        """`places`: how many requests the gateway lets through at a time; 0: nothing is shared."""
        self._places, self._active, self._clock = places, active, clock
        self._lock = threading.Lock()
        self._asked: dict[str, float] = {}
        self._got: defaultdict[str, deque[float]] = defaultdict(deque)

    def admits(self, client: str) -> bool:
        """Whether a client may have a place now; False only where another one that had fewer lately wants it."""
        if not self._places:
            return True
        alone = self._noted(client)
        active = None if alone else self._active()
        if active is not None and active >= self._places:
            # The gateway says that all are taken, to anybody.
            return True
        with self._lock:
            fewest = min(len(self._got[each]) for each in self._asked)
            if active == self._places - 1 and len(self._got[client]) > fewest:
                return False
            self._got[client].append(self._clock())
            return True

    def _noted(self, client: str) -> bool:
        """Remember that a client asks, forget what is long ago; return whether no other wants a place."""
        with self._lock:
            now = self._clock()
            self._asked = {each: at for each, at in self._asked.items() if now - at < WAITING} | {client: now}
            for each in list(self._got):
                while self._got[each] and now - self._got[each][0] >= WINDOW:
                    self._got[each].popleft()
                if not self._got[each]:
                    del self._got[each]
            return len(self._asked) == 1


def active(server: str) -> Active:
    """Return how to ask a model server how much it has to do."""
    parts = urlsplit(server)

    def ask() -> int | None:
        connection = HTTPConnection(parts.hostname or "", parts.port or 80, timeout=PATIENCE)
        try:
            connection.request("GET", "/metrics")
            response = connection.getresponse()
            lines = response.read().decode("utf-8", "replace").splitlines()
        except (OSError, HTTPException):
            return None
        finally:
            connection.close()
        found = [float(line.split()[1]) for line in lines if line.startswith(_COUNTED)]
        return int(sum(found)) if response.status == _OK and len(found) == len(_COUNTED) else None

    return ask
