"""A model server that does what it is told, to the millisecond: the generator is measured against it.

python -m loadtests.scripted_server --port 8080 --first 0.05 --gap 0.01 --faults 500:0.1,cut:0.02

It answers `/v1/chat/completions` with `max_tokens` tokens on a schedule, and `/v1/embeddings` after a fixed time. Each
event says when it was really sent (`sent`, CLOCK_MONOTONIC), which tells its own lateness from that of who reads it.
`GET /requests` tells how many there were.
"""

import argparse
import asyncio
import json
import select
import selectors
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, cast

from loadtests.scenario import InputError

FAULTS: Final = ("429", "500", "cut", "late", "garbage")
"""Refused with Retry-After; broken; closed within the answer; first token late by `Script.late`; no JSON."""
_HEADERS: Final = "HTTP/1.1 {}\r\nContent-Type: {}\r\n"
_STREAM: Final = _HEADERS.format("200 OK", "text/event-stream") + "Transfer-Encoding: chunked\r\n\r\n"
# As long as the events of real servers are.
_EVENT: Final = (
    b'data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":" word"}}],"created":1700000000,'
    b'"id":"chatcmpl-0123456789abcdefghijklmnopqrstuv","model":"scripted","object":"chat.completion.chunk",'
    b'"asked":%.7f,"sent":%.7f}\n\n'
)
_ROLE: Final = b'data: {"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}]}\n\n'


@dataclass(frozen=True)
class Script:
    """What the server does; all times are seconds."""

    first: float = 0.05
    """From the whole request to the first token."""
    gap: float = 0.01
    """Between tokens."""
    tokens: int = 0
    """Of every answer; 0: as many as the request's `max_tokens`."""
    service: float = 0.02
    """For a batch of embeddings."""
    slots: int = 0
    """Requests that are worked on at once, the others wait; 0: all."""
    faults: Mapping[str, float] = field(default_factory=dict)
    """Shares of the requests that go wrong, by kind: spread evenly, not drawn."""
    late: float = 1.0
    """Seconds by which a `late` first token is late."""


def faults(text: str) -> dict[str, float]:
    """Return faults as a command line names them: `500:0.1,cut:0.05`; InputError where it does not."""
    found = {}
    for part in filter(None, text.split(",")):
        name, _, share = part.partition(":")
        try:
            found[name] = float(share)
        except ValueError:
            found[name] = -1.0
        if name not in FAULTS or not 0 <= found[name] <= 1:
            message = (
                f"--faults: expected KIND:SHARE with a kind of {', '.join(FAULTS)} and a share of 0 to 1, got {part!r}"
            )
            raise InputError(message)
    return found


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Server:
    """What connections share: the script, the slots, and how many requests there were."""

    def __init__(self, script: Script) -> None:
        """Begin with all slots free."""
        self.script, self.requests = script, 0
        self.connections: set[asyncio.Transport] = set()
        self._busy = 0
        self._waiting: deque[Callable[[], None]] = deque()

    def fault(self) -> str:
        """Count a request; return what is to go wrong with it, empty for nothing."""
        self.requests += 1
        for name, share in self.script.faults.items():
            # Of n requests, n * share went wrong after each: the n-th is one of them when the whole part grows.
            if int(self.requests * share + 1e-9) > int((self.requests - 1) * share + 1e-9):
                return name
        return ""

    def enter(self, work: Callable[[], None]) -> None:
        """Begin work, at once or when a slot is free."""
        if self.script.slots and self._busy >= self.script.slots:
            self._waiting.append(work)
        else:
            self._busy += 1
            work()

    def leave(self) -> None:
        """Free a slot, for the longest waiting work."""
        self._busy -= 1
        if self._waiting:
            self._busy += 1
            self._waiting.popleft()()


class _Protocol(asyncio.Protocol):
    """One connection; requests on it come one after the other."""

    def __init__(self, server: Server) -> None:
        self._server, self._script = server, server.script
        self._buffer, self._working, self._last = b"", False, False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._out = cast("asyncio.Transport", transport)
        self._server.connections.add(self._out)
        self._loop = asyncio.get_running_loop()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._server.connections.discard(self._out)
        self._done()

    def data_received(self, data: bytes) -> None:
        # Before any work of its own: what comes until here is the generator's time, or the network's.
        self._came = self._loop.time()
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lines = head.decode("latin-1").lower().split("\r\n")
        length = next((int(line.partition(":")[2]) for line in lines if line.startswith("content-length:")), 0)
        if len(body) >= length:
            self._buffer, self._last = body[length:], "connection: close" in lines
            self._answer(lines[0].split()[1], body[:length])

    def _answer(self, path: str, body: bytes) -> None:
        if path == "/requests":
            # What the generator says is compared with this.
            self._plain("200 OK", json.dumps({"requests": self._server.requests}).encode())
            return
        fault = self._server.fault()
        if fault in {"429", "500"}:
            self._plain(f"{fault} Refused" if fault == "429" else "500 Broken", b'{"error": "as scripted"}')
        elif fault == "garbage":
            self._plain("200 OK", b"data: not json\n\n")
        elif path not in {"/v1/chat/completions", "/v1/embeddings"}:
            self._plain("404 Not Found", b'{"error": "no such path"}')
        else:
            asked, work = json.loads(body), self._chat if "chat" in path else self._embed
            self._server.enter(lambda: self._work(work, asked, fault))

    def _work(self, work: Callable[[dict[str, Any], str], None], asked: dict[str, Any], fault: str) -> None:
        self._working = True
        if self._out.is_closing():
            # Whoever waited for a slot has gone away.
            self._done()
        else:
            work(asked, fault)

    def _done(self) -> None:
        if self._working:
            self._working = False
            self._server.leave()
        if self._last:
            # What was written goes out before.
            self._out.close()

    def _plain(self, status: str, body: bytes) -> None:
        after = "Retry-After: 2\r\n" if status.startswith("429") else ""
        head = _HEADERS.format(status, "application/json") + f"{after}Content-Length: {len(body)}\r\n\r\n"
        self._out.write(head.encode() + body)

    def _chat(self, asked: dict[str, Any], fault: str) -> None:
        script = self._script
        count = script.tokens or int(asked.get("max_tokens", 16))
        due = self._loop.time() + script.first + (script.late if fault == "late" else 0.0)
        self._out.write(_STREAM.encode() + _chunk(_ROLE))
        cut = count // 2 if fault == "cut" else -1
        self._loop.call_at(due, self._token, due, 1, count, cut)

    def _token(self, due: float, number: int, count: int, cut: int) -> None:
        if not self._working:
            return
        if number > cut >= 0:
            self._out.abort()
            return
        self._out.write(_chunk(_EVENT % (self._came, self._loop.time())))
        if number < count:
            due += self._script.gap
            self._loop.call_at(due, self._token, due, number + 1, count, cut)
            return
        usage = {"completion_tokens": count, "prompt_tokens": 10, "total_tokens": count + 10}
        end = f"data: {json.dumps({'choices': [], 'usage': usage})}\n\ndata: [DONE]\n\n"
        self._out.write(_chunk(end.encode()) + _chunk(b""))
        self._done()

    def _embed(self, asked: dict[str, Any], _: str) -> None:
        texts = len(asked["input"])
        vectors = [{"object": "embedding", "index": at, "embedding": [0.5, -0.5]} for at in range(texts)]
        body = json.dumps({"object": "list", "data": vectors, "usage": {"prompt_tokens": 10 * texts}}).encode()
        self._loop.call_later(self._script.service, self._embedded, body)

    def _embedded(self, body: bytes) -> None:
        if self._working:
            self._plain("200 OK", body)
            self._done()


class _Exact(selectors.EpollSelector):
    """Waits to the microsecond: epoll itself rounds up to milliseconds, and select knows few connections."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout > 0:
            select.select([self.fileno()], [], [], timeout)
            timeout = 0
        return super().select(timeout)


def loop() -> asyncio.AbstractEventLoop:
    """Return an event loop with exact timers."""
    return asyncio.SelectorEventLoop(_Exact())


async def listen(server: Server, port: int = 0) -> asyncio.Server:
    """Listen on the loopback; port 0 takes a free one."""
    make = asyncio.get_running_loop().create_server
    return await make(lambda: _Protocol(server), "127.0.0.1", port, backlog=1024)


def port_of(server: asyncio.Server) -> int:
    """Return the port that a server listens on."""
    return int(server.sockets[0].getsockname()[1])


@contextmanager
def running(script: Script) -> Iterator[str]:
    """Run a server in a thread of this process; yield its address. For tests: a thread is not exact."""
    own, server = loop(), Server(script)
    listening = own.run_until_complete(listen(server))
    thread = threading.Thread(target=own.run_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port_of(listening)}"
    finally:
        own.call_soon_threadsafe(own.stop)
        thread.join()
        listening.close()
        for each in server.connections:
            each.abort()
        # A transport closes its socket in the loop's next turn.
        own.run_until_complete(asyncio.sleep(0))
        own.close()


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until interrupted; the address is the first line of output."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.scripted_server", description=__doc__)
    default = Script()
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--first", type=float, default=default.first, help="seconds to the first token")
    parser.add_argument("--gap", type=float, default=default.gap, help="seconds between tokens")
    parser.add_argument("--tokens", type=int, default=default.tokens, help="of every answer; 0: max_tokens")
    parser.add_argument("--service", type=float, default=default.service, help="seconds for a batch of embeddings")
    parser.add_argument("--slots", type=int, default=default.slots, help="requests worked on at once; 0: all")
    parser.add_argument("--faults", default="", help=f"KIND:SHARE,…; kinds: {', '.join(FAULTS)}")
    parser.add_argument("--late", type=float, default=default.late, help="seconds by which late first tokens are late")
    given = vars(parser.parse_args(argv))
    port, own = given.pop("port"), loop()
    try:
        server = own.run_until_complete(listen(Server(Script(**given | {"faults": faults(given["faults"])})), port))
        sys.stdout.write(f"http://127.0.0.1:{port_of(server)}\n")
        sys.stdout.flush()
        own.run_forever()
    except KeyboardInterrupt:
        return 130
    except (OSError, InputError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    finally:
        own.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
