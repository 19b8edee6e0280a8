"""TCP ports: which accept a connection, which refuse, which stay silent.

Only the standard library: the file also runs by itself inside a prober pod (conformance/probes/mimic.py), where it
reads what to try from a file and prints one line of JSON.
"""

import errno
import json
import selectors
import socket
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ALL_PORTS: Final = range(1, 65536)
_WINDOW: Final = 512
"""Connections under way at once: far below the usual limit of 1024 open files."""

_PATIENCE: Final = 3

Place = tuple[str, int]
"""An address and a port."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What a scan saw; `complete` is False when the time ran out before the last port."""

    address: str
    open: frozenset[int]
    asked: int
    complete: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of connecting to places: accepted, refused (somebody said no), or silence (nobody said anything)."""

    open: frozenset[Place]
    refused: frozenset[Place]
    silent: frozenset[Place]
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

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self.selector = selector
        self.pending: dict[socket.socket, tuple[Place, float]] = {}
        self.open: set[Place] = set()
        self.refused: set[Place] = set()
        self.silent: list[Place] = []
        self.asked = 0

    def start(self, place: Place) -> None:
        self.asked += 1
        connection = socket.socket(socket.AF_INET6 if ":" in place[0] else socket.AF_INET, socket.SOCK_STREAM)
        connection.settimeout(0)
        code = connection.connect_ex(place)
        if code == errno.EINPROGRESS:
            self.pending[connection] = (place, time.monotonic())
            self.selector.register(connection, selectors.EVENT_WRITE)
            return
        self._note(place, code)
        connection.close()

    def _note(self, place: Place, code: int) -> None:
        (self.refused if code else self.open).add(place)

    def settle(self) -> None:
        """Take the connections that have an outcome."""
        for key, _ in self.selector.select(0.05):
            connection = key.fileobj
            assert isinstance(connection, socket.socket)  # noqa: S101 - for the type checker: we registered nothing else
            self._note(self.pending[connection][0], connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
            self.drop(connection)

    def expire(self, before: float) -> None:
        """Give up on those begun earlier: filtered."""
        # Begun in order: when the oldest is young enough, all are.
        while self.pending:
            connection, (place, since) = next(iter(self.pending.items()))
            if since >= before:
                return
            self.silent.append(place)
            self.drop(connection)

    def drop(self, connection: socket.socket) -> None:
        self.selector.unregister(connection)
        connection.close()
        del self.pending[connection]


def attempt(places: Iterable[Place], timeout: float, budget: float, *, again: bool = True) -> Tried:
    """Connect to every place, a window of them at a time, until done or over budget (seconds)."""
    begin = time.monotonic()
    waiting = iter(places)
    place = next(waiting, None)
    with selectors.DefaultSelector() as selector:
        scanner = _Scanner(selector)
        while (place is not None or scanner.pending) and time.monotonic() - begin < budget:
            while place is not None and len(scanner.pending) < _WINDOW:
                scanner.start(place)
                place = next(waiting, None)
                if scanner.asked % _WINDOW == 0:
                    break  # immediate refusals never fill the window; look at the clock in between
            if scanner.pending:
                scanner.settle()
                scanner.expire(time.monotonic() - timeout)
        complete = place is None and not scanner.pending
        for connection in list(scanner.pending):
            scanner.drop(connection)
    silent = frozenset(scanner.silent)
    if complete and again and silent:
        # A busy machine answers late: who said nothing is asked once more, with more patience.
        left = max(budget - (time.monotonic() - begin), timeout)
        second = attempt(scanner.silent, _PATIENCE * timeout, left, again=False)
        scanner.open |= second.open
        scanner.refused |= second.refused
        silent -= second.open | second.refused
    seconds = time.monotonic() - begin
    return Tried(frozenset(scanner.open), frozenset(scanner.refused), silent, scanner.asked, complete, seconds)


def scan(address: str, ports: Iterable[int], port_timeout: float, budget: float) -> Scan:
    """Try every port of an address."""
    tried = attempt(((address, port) for port in ports), port_timeout, budget)
    found = frozenset(port for _, port in tried.open)
    return Scan(address, found, tried.asked, tried.complete, tried.seconds)


def main(path: Path) -> None:
    """Try what a file asks for (`places` one by one, `scan` whole addresses) and print what came of it."""
    asked = json.loads(path.read_text("utf-8"))
    tried = attempt([(address, port) for address, port in asked["places"]], asked["timeout"], asked["budget"])
    scans = [scan(address, ALL_PORTS, asked["timeout"], asked["budget"]) for address in asked["scan"]]
    answer = {
        "reached": sorted(tried.open | tried.refused),
        "silent": sorted(tried.silent),
        "complete": tried.complete and all(each.complete for each in scans),
        "open": {each.address: sorted(each.open) for each in scans},
        "seconds": round(tried.seconds + sum(each.seconds for each in scans), 2),
    }
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
