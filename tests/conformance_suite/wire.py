"""A strict little HTTP/1.1 reader for the model gateway: what is ambiguous is refused."""

import re
import socket
from dataclasses import dataclass, field

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_MAX_HEAD = 65536


class RefusedRequestError(Exception):
    """The request is not to be answered by an application."""

    def __init__(self, status: int) -> None:
        """Keep the status to answer with."""
        super().__init__(status)
        self.status = status


@dataclass
class Incoming:
    """One request as read."""

    method: str
    target: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def header(self, name: str) -> str:
        """Return a header, or an empty string."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")


class Reader:
    """Reads requests off one connection."""

    def __init__(self, connection: socket.socket, faults: set[str]) -> None:
        """Read from this connection."""
        self.connection = connection
        self.faults = faults
        self.buffer = bytearray()

    def _more(self) -> bool:
        piece = self.connection.recv(65536)
        self.buffer += piece
        return bool(piece)

    def _until(self, mark: bytes) -> bytes:
        while mark not in self.buffer:
            if len(self.buffer) > _MAX_HEAD:
                raise RefusedRequestError(431)
            if not self._more():
                raise ConnectionError
        if self.buffer.index(mark) > _MAX_HEAD:
            raise RefusedRequestError(431)
        at = self.buffer.index(mark)
        part = bytes(self.buffer[:at])
        del self.buffer[: at + len(mark)]
        return part

    def _exactly(self, count: int) -> bytes:
        while len(self.buffer) < count:
            if not self._more():
                raise ConnectionError
        part = bytes(self.buffer[:count])
        del self.buffer[:count]
        return part

    def next(self) -> Incoming:
        """Return the next request."""
        head = self._until(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        words = first.split(b" ")
        if len(words) != 3 or words[2] not in {b"HTTP/1.1", b"HTTP/1.0"}:
            raise RefusedRequestError(400)
        request = Incoming(words[0].decode("latin-1"), words[1].decode("latin-1"))
        for line in lines:
            name, colon, value = line.partition(b":")
            if b"\r" in value and "cr-passes" not in self.faults:
                value = value.replace(b"\r", b"")
            if not colon or not _NAME.fullmatch(name) or any(byte in value for byte in b"\0\n\x0b"):
                raise RefusedRequestError(400)
            request.headers.append((name.decode(), value.strip().decode("latin-1")))
        request.body = self._body(request)
        return request

    def _body(self, request: Incoming) -> bytes:
        lengths = [value for name, value in request.headers if name.lower() == "content-length"]
        codings = [value for name, value in request.headers if name.lower() == "transfer-encoding"]
        if "smuggling" in self.faults:
            # The classic mistake: with both present the length counts, the rest becomes a request of its own.
            return self._exactly(int(lengths[0])) if lengths and lengths[0].isdigit() else b""
        if len([name for name, _ in request.headers if name.lower() == "host"]) != 1:
            raise RefusedRequestError(400)
        if (lengths and codings) or len(lengths) > 1 or (lengths and not re.fullmatch(r"\d{1,18}", lengths[0])):
            raise RefusedRequestError(400)
        if codings:
            if codings != ["chunked"]:
                raise RefusedRequestError(501)
            return self._chunks()
        return self._exactly(int(lengths[0])) if lengths else b""

    def _chunks(self) -> bytes:
        body = b""
        while True:
            line = self._until(b"\r\n")
            if not re.fullmatch(rb"[0-9a-fA-F]{1,8}", line):
                raise RefusedRequestError(400)
            size = int(line, 16)
            body += self._exactly(size)
            self._until(b"\r\n")
            if size == 0:
                return body
