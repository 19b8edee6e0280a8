"""HTTP/1.1 over sockets: any SNI with any Host, bytes as written, and the moment each piece of an answer arrived."""

import http.client
import json
import shlex
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from conformance.probes.tls import blind_context
from conformance.secrecy import Secret

Header = tuple[str, str | Secret]
_BLOCK: Final = 65536
_DEFAULT_HEADERS: Final = MappingProxyType({"User-Agent": "betelgeuse-conformance", "Accept": "*/*"})
_SHOWN_BODY: Final = 2000


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `sni` None means the host, "" means no SNI at all. `path` goes on the wire as it is."""

    host: str
    path: str = "/"
    method: str = "GET"
    headers: tuple[Header, ...] = ()
    body: bytes = b""
    sni: str | None = None
    tls: bool = True

    @classmethod
    def of_api(
        cls, host: str, path: str, method: str = "GET", headers: tuple[Header, ...] = (), body: object = None
    ) -> "Request":
        """Return a request to an API that speaks JSON; without a body where that is None.

        Whatever changes something says that it is JSON, also without a body: Argo CD takes nothing else.
        """
        said: tuple[Header, ...] = (("Accept", "application/json"),)
        if method != "GET" and all(name != "Content-Type" for name, _ in headers):
            said += (("Content-Type", "application/json"),)
        return cls(host, path, method, (*said, *headers), b"" if body is None else json.dumps(body).encode())

    @property
    def server_name(self) -> str | None:
        """The name in the ClientHello, or None for none."""
        return self.host if self.sni is None else (self.sni or None)

    @property
    def secret(self) -> bool:
        """Whether the request carries a credential."""
        return any(isinstance(value, Secret) for _, value in self.headers)

    def wire(self) -> bytes:
        """Return the bytes to send; the only place where a secret is revealed."""
        given = {name.lower() for name, _ in self.headers}
        headers = [("Host", self.host), *((k, v) for k, v in _DEFAULT_HEADERS.items() if k.lower() not in given)]
        headers += [(name, value.reveal() if isinstance(value, Secret) else value) for name, value in self.headers]
        if self.body or self.method in {"POST", "PUT", "PATCH"}:
            headers.append(("Content-Length", str(len(self.body))))
        if "connection" not in given:
            headers.append(("Connection", "close"))
        head = f"{self.method} {self.path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers)
        return head.encode("utf-8", "surrogateescape") + b"\r\n" + self.body


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; `status` 0 with `error` when nothing did. `arrivals` are seconds after sending, one per piece."""

    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    pieces: tuple[tuple[float, bytes], ...] = ()
    seconds: float = 0.0
    error: str = ""

    def header(self, name: str) -> str | None:
        """Return the first header of that name."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def text(self) -> str:
        """The body as text, whatever its bytes."""
        return self.body.decode("utf-8", "replace")

    def __str__(self) -> str:
        """Tell status and the beginning of the body, or why there is neither."""
        return f"{self.status} {self.text[:300]!r}" if self.status else f"no answer ({self.error})"


@dataclass(frozen=True)
class Endpoint:
    """The gateway's address and ports, and how its certificate is recognised before a secret is sent to it."""

    address: str
    https: int = 443
    http: int = 80
    ca: Path | None = None
    trusts: Callable[[str, bytes], bool] = field(default=lambda _host, _der: True)

    def connect(self, request: Request, timeout: float) -> socket.socket:
        """Open the connection a request wants; a secret goes only to a peer that shows the host's own certificate.

        The chain is not verified here: trust has checks of its own, and one broken promise should turn one check red.
        """
        port = self.https if request.tls else self.http
        raw = socket.create_connection((self.address, port), timeout)
        if not request.tls:
            if request.secret:
                raw.close()
                message = "a credential was to be sent without TLS"
                raise ConnectionError(message)
            return raw
        try:
            secured = blind_context("http/1.1").wrap_socket(raw, server_hostname=request.server_name)
        except BaseException:
            raw.close()
            raise
        if request.secret and not self.trusts(request.server_name or "", secured.getpeercert(binary_form=True) or b""):
            secured.close()
            message = f"{self.address} shows a certificate that is not {request.server_name}'s: credentials withheld"
            raise ConnectionError(message)
        return secured

    def send(self, request: Request, timeout: float) -> Answer:
        """Send one request on a connection of its own."""
        begin = time.monotonic()
        try:
            with self.connect(request, timeout) as connection:
                # A server may refuse a large body before it has all of it: its answer is still worth reading.
                with suppress(ConnectionError, ssl.SSLError):
                    connection.sendall(request.wire())
                return read(connection, request.method, begin)
        except (OSError, ValueError) as error:
            return Answer(error=f"{type(error).__name__}: {error}", seconds=time.monotonic() - begin)

    def leave(self, request: Request, timeout: float, stay: float) -> int:
        """Send a request and hang up after `stay` seconds, as a client does that lost interest; return bytes read."""
        with self.connect(request, timeout) as connection:
            connection.sendall(request.wire())
            deadline, read_so_far = time.monotonic() + stay, 0
            while (left := deadline - time.monotonic()) > 0:
                connection.settimeout(left)
                try:
                    piece = connection.recv(_BLOCK)
                except TimeoutError:
                    break
                if not piece:
                    break
                read_so_far += len(piece)
        return read_so_far

    def send_raw(self, request: Request, data: bytes, timeout: float, silence: float) -> list[Answer]:
        """Send bytes as they are where `request` would go; return every answer until the peer closes or is silent."""
        begin = time.monotonic()
        received = b""
        try:
            with self.connect(request, timeout) as connection:
                connection.sendall(data)
                received = _until_silent(connection, begin + timeout, silence)
        except OSError as error:
            # A reset is an answer too: the server hung up on what we sent.
            return [Answer(error=f"{type(error).__name__}: {error}", seconds=time.monotonic() - begin)]
        return split_answers(received)

    def curl(self, request: Request) -> str:
        """Return the command that repeats a request by hand, secrets by reference."""
        scheme, port = ("https", self.https) if request.tls else ("http", self.http)
        name = request.server_name or self.address
        shown_port = "" if port in {80, 443} else f":{port}"
        words = ["curl", "-sS", "-i", "--path-as-is"]
        if request.server_name is not None:
            words += ["--resolve", f"{name}:{port}:{self.address}"]
        if request.tls:
            words += ["--cacert", str(self.ca)] if self.ca is not None and request.server_name else []
            words += [] if request.server_name else ["--insecure"]
        words += ["-I"] if request.method == "HEAD" else (["-X", request.method] if request.method != "GET" else [])
        text = shlex.join(words)
        headers: list[Header] = [*request.headers]
        if name != request.host:
            headers.insert(0, ("Host", request.host))
        text += "".join(f" -H {_shell_header(key, value)}" for key, value in headers)
        if len(request.body) > _SHOWN_BODY:
            text += f" --data-binary @BODY_OF_{len(request.body)}_BYTES"
        elif request.body:
            text += f" --data-binary {shlex.quote(request.body.decode('utf-8', 'replace'))}"
        return f"{text} {shlex.quote(f'{scheme}://{name}{shown_port}{request.path}')}"


def _shell_header(key: str, value: str | Secret) -> str:
    """Quote a header; double quotes for secrets only: there the shell is to expand the command that reads the value."""
    return f'"{key}: {value.shell}"' if isinstance(value, Secret) else shlex.quote(f"{key}: {value}")


def read(connection: socket.socket, method: str, begin: float) -> Answer:
    """Read one answer off a connection; what is no HTTP raises ValueError."""
    response = http.client.HTTPResponse(connection, method=method)
    try:
        try:
            response.begin()
        except http.client.HTTPException as garbage:
            message = f"{type(garbage).__name__}: {garbage}"
            raise ValueError(message) from None
        pieces = []
        error = ""
        try:
            while piece := response.read1(_BLOCK):
                pieces.append((time.monotonic() - begin, piece))
        except (http.client.HTTPException, OSError) as fault:
            error = f"body cut short: {fault}"
        return Answer(
            status=response.status,
            headers=tuple(response.getheaders()),
            body=b"".join(piece for _, piece in pieces),
            pieces=tuple(pieces),
            seconds=time.monotonic() - begin,
            error=error,
        )
    finally:
        response.close()


def _until_silent(connection: socket.socket, deadline: float, silence: float) -> bytes:
    """Read until the peer closes; once it has answered, silence ends the reading too."""
    data = b""
    while (left := deadline - time.monotonic()) > 0:
        connection.settimeout(min(silence, left) if data else left)
        try:
            piece = connection.recv(_BLOCK)
        except TimeoutError:
            break
        except ConnectionResetError:
            if data:
                break  # it answered, then hung up
            raise
        if not piece:
            break
        data += piece
    return data


def split_answers(data: bytes) -> list[Answer]:
    """Read every HTTP answer out of what one connection received; trailing garbage counts as an answer of status 0."""
    answers: list[Answer] = []
    rest = data
    while rest:
        head, separator, tail = rest.partition(b"\r\n\r\n")
        if not separator or not head.startswith(b"HTTP/"):
            return [*answers, Answer(error=f"not an HTTP answer: {rest[:80]!r}", body=rest)]
        answer, rest = _one_answer(head, tail)
        answers.append(answer)
    return answers


def _one_answer(head: bytes, tail: bytes) -> tuple[Answer, bytes]:
    lines = head.split(b"\r\n")
    words = lines[0].split(b" ", 2)
    status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    pairs = [line.partition(b":")[::2] for line in lines[1:]]
    headers = tuple((key.decode("latin-1"), value.strip().decode("latin-1")) for key, value in pairs)
    answer = Answer(status=status, headers=headers)
    if (answer.header("transfer-encoding") or "").lower() == "chunked":
        body, rest = _unchunk(tail)
    elif (length := answer.header("content-length")) is not None and length.isdigit():
        body, rest = tail[: int(length)], tail[int(length) :]
    elif status in {204, 304} or status < 200:  # noqa: PLR2004 - these have no body by definition
        body, rest = b"", tail
    else:
        body, rest = tail, b""
    return replace(answer, body=body), rest


def _unchunk(data: bytes) -> tuple[bytes, bytes]:
    body = b""
    while True:
        line, separator, data = data.partition(b"\r\n")
        try:
            size = int(line.split(b";")[0], 16)
        except ValueError:
            return body, b""
        if not separator or size == 0:
            return body, data.partition(b"\r\n")[2]
        body, data = body + data[:size], data[size + 2 :]
