"""One kept HTTP/1.1 connection to a model API, and how its answers are read: bytes are stamped when they arrive.

Answers are read by the standard library's client: its `read1` hands over each chunk as it comes for a third of the cost
that urllib3's iterators have, and it knows neither proxies nor roots of the machine's own: what is measured is said.
"""

import http.client
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache, lru_cache
from typing import Any, Final, NoReturn, Self
from urllib.parse import SplitResult, urlsplit

import orjson

from loadtests.events import Events, text_of
from loadtests.measure import Answer, Batch
from loadtests.scenario import InputError

TIMEOUT: Final = 660.0
"""Seconds without a byte. Longer than the gateway lets a request run: whoever gives up first should be the platform."""
_BLOCK: Final = 1 << 16
_ENOUGH: Final = 1 << 20
"""Bytes, more than an answer has."""
_HEADERS: Final = {"Accept-Encoding": "identity", "Content-Type": "application/json"}
_LAST: Final = {"Connection": "close"}
_DETAIL: Final = 200
_OK: Final = 200
_ESTABLISHED: Final = 1
"""Linux' TCP_ESTABLISHED."""

Headers = Mapping[str, str]


class Failure(Exception):  # noqa: N818 - what a request ends with, not a mistake of this program
    """A request that failed: `cause` is a class to count by, the text what was said."""

    def __init__(self, cause: str, detail: str = "", retry_after: float = 0.0) -> None:
        """`retry_after`: seconds the server asks for."""
        super().__init__(f"{cause}: {detail}" if detail else cause)
        self.cause, self.retry_after = cause, retry_after


def _fail(cause: str, detail: str, retry_after: float = 0.0) -> NoReturn:
    raise Failure(cause, detail, retry_after)


@cache
def _trust(roots: str) -> ssl.SSLContext:
    """Return what to trust: these roots, or the system's where none are named. Reading them costs milliseconds."""
    return ssl.create_default_context(cafile=roots or None)


@lru_cache(maxsize=8)
def _head(name: str, path: str, headers: tuple[tuple[str, str], ...]) -> bytes:
    """Return a request as far as its length; ValueError where a value is none. Users share a few of them."""
    for field, value in headers:
        if not value.isprintable():
            message = f"unprintable characters in the value of {field}"
            raise ValueError(message)
    lines = "".join(f"{field}: {value}\r\n" for field, value in headers)
    return f"POST {path} HTTP/1.1\r\nHost: {name}\r\n{lines}Content-Length: ".encode("latin-1")


def _parts(url: str) -> tuple[SplitResult, int | None]:
    """Return an address' parts, without a user, and its port where it names one; InputError where it leads nowhere."""
    try:
        parts = urlsplit(url)
        # A name beyond ASCII goes by its other one (IDNA).
        parts = parts._replace(netloc=parts.netloc.rpartition("@")[2].encode("idna").decode())
        if parts.scheme in {"http", "https"} and parts.hostname:
            return parts, parts.port
    except ValueError:
        # A port, a name or what stands in brackets is none.
        pass
    message = f"--host: expected http(s)://NAME[:PORT], got {url!r}"
    raise InputError(message)


class Connection:
    """One connection, opened when it is needed and kept."""

    events: Callable[[], Events] = Events
    """What cuts streams: a calibration looks at the events too."""

    def __init__(self, url: str, roots: str = "", address: str = "") -> None:
        """`url`: scheme, host and port of the API; `roots`: a file; `address`: where to go instead of asking DNS."""
        parts, port = _parts(url)
        try:
            self._context = _trust(roots) if parts.scheme == "https" else None
        except OSError as error:
            message = f"BETELGEUSE_CA: cannot read roots from {roots}: {error.strerror or error}"
            raise InputError(message) from None
        self._host, self._name, self._base = parts.hostname or "", parts.netloc, parts.path.rstrip("/")
        self._address = address or self._host, port or (443 if self._context else 80)
        self.timeout = TIMEOUT
        self.sent = 0.0
        """When the last request was handed over. On the loopback its server has it then."""
        self.sock: socket.socket | None = None
        self._response: http.client.HTTPResponse | None = None

    def connect(self) -> socket.socket:
        """Open the connection; OSError where that fails."""
        plain = socket.create_connection(self._address, self.timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = self._context.wrap_socket(plain, server_hostname=self._host) if self._context else plain
        return self.sock

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        for each in (self._response, self.sock):
            if each is not None:
                each.close()
        self._response = self.sock = None

    def _open(self) -> socket.socket:
        """Return the kept connection, or another where there is none or the server has closed it.

        The kernel's word is asked for: to look whether it is readable would let other users run, after the request's
        time has been taken.
        """
        sock = self.sock
        ended = self._response is not None and self._response.will_close
        if sock and (ended or sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _ESTABLISHED):
            self.close()
        return self.sock or self.connect()

    def post(self, path: str, body: bytes, headers: Headers) -> http.client.HTTPResponse:
        """Post JSON and return the answer once its headers are there; Failure when it is not 200."""
        head = _head(self._name, self._base + path, tuple({**_HEADERS, **headers}.items()))
        sock = self._open()
        # At once, as one packet: putting a request together line by line takes a quarter of a millisecond.
        sock.sendall(b"%b%d\r\n\r\n%b" % (head, len(body), body))
        self.sent = time.perf_counter()
        self._response = response = http.client.HTTPResponse(sock, method="POST")
        response.begin()
        if response.status != _OK:
            detail = response.read(_BLOCK).decode(errors="replace").strip()[:_DETAIL]
            after = response.headers.get("Retry-After", "")
            self.close()
            _fail(f"HTTP {response.status}", detail, float(after) if after.isdigit() else 0.0)
        return response

    def chat(
        self,
        body: bytes,
        headers: Headers,
        answer: Answer,
        came: Callable[[float, int], None] | None = None,
        *,
        asleep: Callable[[], bool] | None = None,
    ) -> None:
        """Ask for a streamed answer and read it into `answer`; `came` hears of pieces at once (when, how many).

        With nobody to tell, the answer is taken apart after its end: less work beside a server on the same cores. Still
        less is to sleep from the first block after which `asleep` says so to the answer's end, which all pieces between
        are then stamped with; that ends the connection. Whatever a server or a network does wrong is a Failure.
        """
        with _Failures(self) as failures:
            response = self.post("/v1/chat/completions", body, {**headers, **(_LAST if asleep else {})})
            failures.begun = True
            events, pieces, now = self.events(), answer.pieces, 0.0
            blocks = self._asleep(_stamped(response), asleep) if asleep else _stamped(response)
            for now, data in blocks if came or asleep else list(blocks):
                before = len(pieces)
                for event in events.feed(data):
                    if text_of(event):
                        pieces.append(now)
                    elif "usage" in event or "error" in event:
                        _close(event, answer)
                if came and len(pieces) > before:
                    came(now, len(pieces) - before)
            answer.ended = now
            if not events.done:
                _fail("stream cut", "it ended without [DONE]")
            if not pieces or answer.tokens < 1:
                _fail("empty answer", "no text, or no usage")

    def _asleep(
        self, blocks: Iterator[tuple[float, bytes]], asleep: Callable[[], bool]
    ) -> Iterator[tuple[float, bytes]]:
        """Yield blocks until `asleep` says so; then sleep, and yield the rest once it is all there."""
        for block in blocks:
            yield block
            if asleep() and self.sock:
                # The kernel wakes nobody for less, but for the end of the connection.
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, _ENOUGH)
                yield from list(blocks)
                self.close()

    def embed(self, body: bytes, headers: Headers, batch: Batch) -> None:
        """Ask for the vectors of `batch.texts` texts; whatever a server or a network does wrong is a Failure."""
        with _Failures(self):
            answer = self.post("/v1/embeddings", body, headers).read()
            batch.ended = time.perf_counter()
            found = orjson.loads(answer)
            vectors = found.get("data") if isinstance(found, dict) else None
            if not isinstance(vectors, list) or len(vectors) != batch.texts:
                count = len(vectors) if isinstance(vectors, list) else "no"
                _fail("wrong answer", f"{count} vectors for {batch.texts} texts")
            batch.prompt_tokens = _count(found.get("usage"), "prompt_tokens")


def _stamped(response: http.client.HTTPResponse) -> Iterator[tuple[float, bytes]]:
    """Yield what arrives, and when."""
    while data := response.read1(_BLOCK):
        yield time.perf_counter(), data


def _close(event: dict[str, Any], answer: Answer) -> None:
    """Take the counts of tokens, or the error, that a stream ends with."""
    if error := event.get("error"):
        _fail("error in stream", str(error)[:_DETAIL])
    answer.tokens = _count(event.get("usage"), "completion_tokens") or answer.tokens
    answer.prompt_tokens = _count(event.get("usage"), "prompt_tokens") or answer.prompt_tokens


def connection(url: str) -> Connection:
    """Return a connection to trust `BETELGEUSE_CA` (a file of roots) and to go to `BETELGEUSE_ADDRESS`, where set."""
    return Connection(url, os.environ.get("BETELGEUSE_CA", ""), os.environ.get("BETELGEUSE_ADDRESS", ""))


def _count(usage: object, name: str) -> int:
    """Return a count of the server's, 0 where it says none."""
    found = usage.get(name) if isinstance(usage, dict) else None
    return found if isinstance(found, int) else 0


def _explained(error: BaseException, *, begun: bool) -> tuple[str, str] | None:
    """Return the cause and the words of what a broken server or network raises, None for anything else."""
    if isinstance(error, http.client.IncompleteRead):
        return "stream cut", "the connection ended within a chunk"
    if begun and isinstance(error, ConnectionError):
        return "stream cut", str(error)[:_DETAIL]
    if isinstance(error, TimeoutError):
        return "timeout", f"no byte for {TIMEOUT:.0f} s"
    if isinstance(error, ssl.SSLError):
        return "TLS", str(error)[:_DETAIL]
    if isinstance(error, http.client.HTTPException | OSError):
        number = error.errno if isinstance(error, OSError) else None
        return f"connection: {os.strerror(number) if number else type(error).__name__}", str(error)[:_DETAIL]
    return ("unreadable answer", str(error)[:_DETAIL]) if isinstance(error, ValueError) else None


class _Failures:
    """Turns what a broken server or network raises into a Failure, and closes the connection that saw it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.begun = False
        """Whether the answer has begun."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        # Also for a user that is stopped in the middle: the rest of the answer must not be the next one's.
        self._connection.close()
        if (known := _explained(error, begun=self.begun)) is not None:
            raise Failure(*known) from None
