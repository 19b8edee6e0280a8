"""Connections kept open between requests: a sweep of hundreds spends its time on the questions, not on handshakes."""

import socket
import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import Final

from conformance.probes.http import Answer, Endpoint, Request, read

_NO_BODY: Final = frozenset({204, 304})
Key = tuple[object, ...]


def _stays_open(request: Request, answer: Answer) -> bool:
    """Whether the next answer on this connection begins where this one ended."""
    framed = answer.header("content-length") is not None or (answer.header("transfer-encoding") or "") == "chunked"
    whole = not answer.error and (framed or answer.status in _NO_BODY or request.method == "HEAD")
    return whole and (answer.header("connection") or "").lower() != "close"


class Pool:
    """Idle connections, by address, name, host and whether they may carry a secret."""

    def __init__(self) -> None:
        """Start with none."""
        self._idle: dict[Key, list[socket.socket]] = {}
        self._lock = threading.Lock()

    def _take(self, key: Key) -> socket.socket | None:
        with self._lock:
            waiting = self._idle.get(key)
            return waiting.pop() if waiting else None

    def _keep(self, key: Key, connection: socket.socket) -> None:
        with self._lock:
            self._idle.setdefault(key, []).append(connection)

    def close(self) -> None:
        """Close what is idle."""
        with self._lock:
            connections = [each for waiting in self._idle.values() for each in waiting]
            self._idle.clear()
        for connection in connections:
            connection.close()

    def send(self, endpoint: Endpoint, request: Request, timeout: float) -> Answer:
        """Send a request on a connection of an earlier one where there is one."""
        if any(name.lower() == "connection" for name, _ in request.headers):
            return endpoint.send(request, timeout)
        key = (endpoint.address, request.server_name, request.host, request.tls, request.secret)
        kept = replace(request, headers=(*request.headers, ("Connection", "keep-alive")))
        waiting = self._take(key)
        # The peer may have closed it meanwhile; then nothing was answered, and a new one is opened.
        answer = self._try(waiting, kept, key, timeout) if waiting is not None else Answer()
        return answer if answer.status else self._fresh(endpoint, kept, key, timeout)

    def _fresh(self, endpoint: Endpoint, request: Request, key: Key, timeout: float) -> Answer:
        begin = time.monotonic()
        try:
            connection = endpoint.connect(request, timeout)
        except OSError as error:
            return Answer(error=f"{type(error).__name__}: {error}", seconds=time.monotonic() - begin)
        return self._try(connection, request, key, timeout)

    def _try(self, connection: socket.socket, request: Request, key: Key, timeout: float) -> Answer:
        begin = time.monotonic()
        try:
            connection.settimeout(timeout)
            # A server may refuse a large request before it has all of it: its answer is still worth reading.
            with suppress(ConnectionError):
                connection.sendall(request.wire())
            answer = read(connection, request.method, begin)
        except (OSError, ValueError) as error:
            connection.close()
            return Answer(error=f"{type(error).__name__}: {error}", seconds=time.monotonic() - begin)
        if _stays_open(request, answer):
            self._keep(key, connection)
        else:
            connection.close()
        return answer
