"""TCP ports: which of an address accept a connection."""

import errno
import selectors
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

ALL_PORTS: Final = range(1, 65536)
_WINDOW: Final = 512
"""Connections under way at once: far below the usual limit of 1024 open files."""

_PATIENCE: Final = 3


@dataclass(frozen=True, slots=True)
class Scan:
    """What a scan saw; `complete` is False when the time ran out before the last port."""

    address: str
    open: frozenset[int]
    asked: int
    complete: bool
    seconds: float


def is_open(address: str, port: int, timeout: float) -> bool:
    """Whether a TCP connection is accepted."""
    try:
        with socket.create_connection((address, port), timeout):
            return True
    except OSError:
        return False


class _Scanner:
    """Non-blocking connects and one selector: 65 535 refusals take seconds, a thread each would take minutes."""

    def __init__(self, address: str, selector: selectors.BaseSelector) -> None:
        self.address = address
        self.family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.selector = selector
        self.pending: dict[socket.socket, tuple[int, float]] = {}
        self.found: set[int] = set()
        self.silent: list[int] = []
        self.asked = 0

    def start(self, port: int) -> None:
        self.asked += 1
        connection = socket.socket(self.family, socket.SOCK_STREAM)
        connection.settimeout(0)
        code = connection.connect_ex((self.address, port))
        if code == errno.EINPROGRESS:
            self.pending[connection] = (port, time.monotonic())
            self.selector.register(connection, selectors.EVENT_WRITE)
            return
        if code == 0:
            self.found.add(port)
        connection.close()

    def settle(self) -> None:
        """Take the connections that have an outcome."""
        for key, _ in self.selector.select(0.05):
            connection = key.fileobj
            assert isinstance(connection, socket.socket)  # noqa: S101 - for the type checker: we registered nothing else
            if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                self.found.add(self.pending[connection][0])
            self.drop(connection)

    def expire(self, before: float) -> None:
        """Give up on those begun earlier: filtered."""
        for connection, (port, since) in list(self.pending.items()):
            if since >= before:
                break  # begun in order, so the rest is younger
            self.silent.append(port)
            self.drop(connection)

    def drop(self, connection: socket.socket) -> None:
        self.selector.unregister(connection)
        connection.close()
        del self.pending[connection]


def scan(address: str, ports: Iterable[int], port_timeout: float, budget: float, *, again: bool = True) -> Scan:
    """Try every port, a window of them at a time, until done or over budget."""
    begin = time.monotonic()
    waiting = iter(ports)
    port = next(waiting, None)
    with selectors.DefaultSelector() as selector:
        scanner = _Scanner(address, selector)
        while (port is not None or scanner.pending) and time.monotonic() - begin < budget:
            while port is not None and len(scanner.pending) < _WINDOW:
                scanner.start(port)
                port = next(waiting, None)
                if scanner.asked % _WINDOW == 0:
                    break  # immediate refusals never fill the window; look at the clock in between
            if scanner.pending:
                scanner.settle()
                scanner.expire(time.monotonic() - port_timeout)
        complete = port is None and not scanner.pending
        for connection in list(scanner.pending):
            scanner.drop(connection)
    found = frozenset(scanner.found)
    if complete and again and scanner.silent:
        # A busy machine answers late: who said nothing is asked once more, with more patience.
        left = max(budget - (time.monotonic() - begin), port_timeout)
        found |= scan(address, scanner.silent, _PATIENCE * port_timeout, left, again=False).open
    return Scan(address, found, scanner.asked, complete, time.monotonic() - begin)
