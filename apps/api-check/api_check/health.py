"""Whether a model server is loading its model: asked of every pod of it, ready or not."""

import socket
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from typing import Final
from urllib.parse import urlsplit

KEEP: Final = 0.5
"""Seconds for which what was seen is not looked at again."""
PATIENCE: Final = 2.0
"""Seconds for a pod's answer; one whose every core computes is late, and not loading."""
_LOADING: Final = 503

Ask = Callable[[], list[int]]
"""The status with which each pod that answers tells its health."""


class Health:
    """What was last seen of one model server; safe for threads."""

    def __init__(self, ask: Ask, clock: Callable[[], float] = time.monotonic) -> None:
        """`ask` is called by one thread at a time."""
        self._ask, self._clock = ask, clock
        self._lock = threading.Lock()
        self._until = 0.0
        self._loading = False

    def loading(self) -> bool:
        """Whether the pods that answer are all loading; False also where none answers: the gateway tells that."""
        with self._lock:
            if self._clock() >= self._until:
                found = self._ask()
                self._loading = bool(found) and set(found) == {_LOADING}
                self._until = self._clock() + KEEP
            return self._loading


def pods(server: str) -> Ask:
    """Return how to ask the pods behind a headless Service, `http://HOST:PORT`."""
    parts = urlsplit(server)
    if parts.scheme != "http" or not parts.hostname:
        message = f"server {server}: expected http://HOST:PORT"
        raise ValueError(message)
    host, port = parts.hostname, parts.port or 80

    def ask() -> list[int]:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError:
            return []
        addresses = sorted({str(entry[4][0]) for entry in found})
        return [status for address in addresses if (status := _health(address, port))]

    return ask


def _health(address: str, port: int) -> int:
    """Return the status of a pod's health; 0 when it does not answer."""
    connection = HTTPConnection(address, port, timeout=PATIENCE)
    try:
        connection.request("GET", "/health")
        response = connection.getresponse()
        response.read()
    except (OSError, HTTPException):
        return 0
    else:
        return response.status
    finally:
        connection.close()
