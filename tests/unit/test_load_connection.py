"""Answers are read from a real server on the loopback, and what goes wrong there is told by its cause."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from loadtests.connection import Connection, Failure
from loadtests.measure import Answer, Batch
from loadtests.scenario import InputError
from loadtests.scripted_server import Script, faults, main, running

FAST = Script(first=0.01, gap=0.001, service=0.001)


def ask(connection: Connection, tokens: int = 5) -> Answer:
    """One streamed answer."""
    now = time.perf_counter()
    answer = Answer(now, now)
    connection.chat(json.dumps({"max_tokens": tokens}).encode(), {}, answer, lambda _now, _count: None)
    return answer


def embed(connection: Connection, texts: int = 3) -> Batch:
    """One batch."""
    now = time.perf_counter()
    batch = Batch(now, now, texts=texts)
    connection.embed(json.dumps({"input": ["x"] * texts}).encode(), {}, batch)
    return batch


@pytest.fixture(scope="module")
def good() -> Iterator[str]:
    """The address of a server that makes no mistakes."""
    with running(FAST) as url:
        yield url


@pytest.mark.parametrize("told", [True, False], ids=["told", "nobody to tell"])
def test_an_answer_is_read_piece_by_piece(good: str, *, told: bool) -> None:
    """All of its pieces, each stamped when it came, and the server's own counts; over one connection."""
    connection, came = Connection(good), list[tuple[float, int]]()
    answer = Answer(time.perf_counter(), time.perf_counter())
    hears = (lambda now, count: came.append((now, count))) if told else None
    connection.chat(b'{"max_tokens": 200}', {}, answer, hears)
    first = connection.sock
    ask(connection)
    last = connection.sock
    connection.close()

    assert (answer.tokens, answer.prompt_tokens, len(answer.pieces)) == (200, 10, 200)
    assert answer.pieces[0] - answer.asked >= 0.01
    # Half: the thread that serves is late when the machine is busy, and what it then sends comes at once.
    assert answer.pieces[-1] - answer.pieces[0] >= 0.5 * 199 * 0.001
    assert 50 <= early(answer) <= 150
    assert answer.ended >= answer.pieces[-1]
    assert sum(count for _, count in came) == 200 * told
    assert last is first


def early(answer: Answer) -> int:
    """How many pieces are of the first half of the time."""
    return sum(at < (answer.pieces[0] + answer.pieces[-1]) / 2 for at in answer.pieces)


@pytest.mark.parametrize("awake", [1, 100])
def test_a_sleeping_client_sees_the_first_pieces_and_the_end(good: str, awake: int) -> None:
    """All other pieces are stamped with the end: nothing woke it between; the connection is not kept."""
    connection = Connection(good)
    answer = Answer(time.perf_counter(), time.perf_counter())
    connection.chat(b'{"max_tokens": 200}', {}, answer, asleep=lambda: len(answer.pieces) >= awake)

    assert connection.sock is None
    assert (answer.tokens, len(answer.pieces)) == (200, 200)
    assert answer.pieces[-1] - answer.pieces[0] >= 0.5 * 199 * 0.001
    # But for what came along with the last it was awake for.
    assert awake <= sum(at < answer.pieces[-1] - 0.02 for at in answer.pieces) < awake + 50
    ask(connection)
    connection.close()


def test_vectors_are_counted(good: str) -> None:
    """And the tokens that went in."""
    connection = Connection(good)

    batch = embed(connection)

    assert batch.prompt_tokens == 30
    assert batch.ended > batch.asked
    connection.close()


@pytest.mark.parametrize(
    ("fault", "cause"),
    [("429", "HTTP 429"), ("500", "HTTP 500"), ("cut", "stream cut"), ("garbage", "unreadable answer")],
)
def test_what_goes_wrong_with_an_answer_is_told(fault: str, cause: str) -> None:
    """By a cause that can be counted; the next answer on the same user is a good one again."""
    with running(replace(FAST, faults={fault: 0.5})) as url:
        connection = Connection(url)
        ask(connection)
        with pytest.raises(Failure) as caught:
            ask(connection)
        again = ask(connection)
        connection.close()

    assert caught.value.cause == cause
    assert caught.value.retry_after == (2 if fault == "429" else 0)
    assert len(again.pieces) == 5


@pytest.mark.parametrize("answer", ["[]", "{}", '{"data": [1]}', '{"data": 3}'])
def test_vectors_that_are_missing_are_told(answer: str) -> None:
    """A batch of three has three."""
    reply = f"HTTP/1.1 200 OK\r\nContent-Length: {len(answer)}\r\n\r\n{answer}".encode()
    with canned(reply) as url, pytest.raises(Failure, match="vectors for 3 texts"):
        embed(Connection(url))


def canned(*replies: bytes, context: ssl.SSLContext | None = None) -> "Canned":
    """A server that says the same whatever it is asked, one connection per reply."""
    return Canned(replies, context)


class Canned:
    """Its address, as a context."""

    def __init__(self, replies: tuple[bytes, ...], context: ssl.SSLContext | None) -> None:
        """Listen on a free port."""
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.replies, self.context, self.heard = replies, context, b""
        self.thread = threading.Thread(target=self.serve, daemon=True)

    def serve(self) -> None:
        """Answer each connection."""
        for reply in self.replies:
            plain, _ = self.socket.accept()
            try:
                with self.context.wrap_socket(plain, server_side=True) if self.context else plain as one:
                    self.heard = self.request(one)
                    one.sendall(reply)
            except OSError:
                continue

    @staticmethod
    def request(one: socket.socket) -> bytes:
        """Read all of a request: closing on unread bytes would reset the connection."""
        heard = b""
        while data := one.recv(1 << 16):
            heard += data
            head, found, body = heard.partition(b"\r\n\r\n")
            if found and len(body) >= int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]):
                break
        return heard

    def __enter__(self) -> str:
        """Begin."""
        self.thread.start()
        return f"{'https' if self.context else 'http'}://localhost:{self.socket.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        """End."""
        self.thread.join(5)
        self.socket.close()


EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (EVENTS + b'data: {"error": {"message": "no memory"}}\n\n', "error in stream: .*no memory"),
        (EVENTS + b"data: {oops\n\n", "unreadable answer: unexpected character"),
        (EVENTS + b"data: [DONE]\n\n", "empty answer: no text, or no usage"),
        (EVENTS + b'data: {"choices": [{"delta": {"content": "x"}}]}\n\n', "stream cut: it ended without"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nabc", "stream cut: the connection ended within"),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nwait", "HTTP 503: wait"),
        (b"", "connection: RemoteDisconnected"),
        (b"SSH-2.0\r\n\r\n", "connection: BadStatusLine"),
    ],
)
def test_what_a_broken_server_says_is_a_failure(reply: bytes, words: str) -> None:
    """Never an error of ours."""
    with canned(reply) as url, pytest.raises(Failure, match=words):
        ask(Connection(url))


def test_nobody_there_is_a_failure() -> None:
    """With the system's word for it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(Failure, match="connection: Connection refused"):
        ask(Connection(f"http://127.0.0.1:{port}"))


def test_an_error_of_our_own_is_no_failure_of_the_server(good: str) -> None:
    """It must not be counted as one."""

    def broken(_now: float, _count: int) -> None:
        raise AttributeError

    connection = Connection(good)
    with pytest.raises(AttributeError):
        connection.chat(b'{"max_tokens": 2}', {}, Answer(0, 0), broken)
    assert connection.sock is None


def test_a_connection_that_the_server_closed_is_opened_anew() -> None:
    """An idle connection may be closed by any gateway: that is no failed request."""
    reply = b'HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{"data": [1,2,3]}'
    with canned(reply, reply) as url:
        connection = Connection(url)
        embed(connection)
        assert connection.sock is not None
        # The server's close has arrived when the connection turns readable.
        connection.sock.recv(1, socket.MSG_PEEK)
        embed(connection)
        connection.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


def test_the_named_roots_are_trusted_and_no_others(certificate: Path) -> None:
    """And the name is sent and checked though the address is given."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    reply = b'HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{"data": [1,2,3]}'
    server = canned(reply, reply, context=context)
    with server as url:
        with pytest.raises(Failure, match=r"TLS: .*CERTIFICATE_VERIFY_FAILED"):
            embed(Connection(url))
        connection = Connection(url, str(certificate), "127.0.0.1")
        embed(connection)
        connection.close()

    assert b"\r\nHost: localhost:" in server.heard


def test_a_name_beyond_ascii_goes_by_its_other_one() -> None:
    """With the port as it was given."""
    server = canned(b'HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{"data": [1,2,3]}')
    with server as url:
        connection = Connection(url.replace("localhost", "bücher.example"), address="127.0.0.1")
        embed(connection)
        connection.close()

    assert b"\r\nHost: xn--bcher-kva.example:" in server.heard


@pytest.mark.parametrize("url", ["", "llm.example.org", "ftp://x", "https://x:abc", "https://[x", "https://x..y"])
def test_an_address_that_is_none_is_told(url: str) -> None:
    """Before the first request."""
    with pytest.raises(InputError, match=r"--host: expected http\(s\)://NAME\[:PORT\], got"):
        Connection(url)


def test_roots_that_cannot_be_read_are_told() -> None:
    """With the variable that names them."""
    with pytest.raises(InputError, match="BETELGEUSE_CA: cannot read roots from /nowhere: No such file"):
        Connection("https://localhost", "/nowhere")


def test_faults_are_spread_evenly() -> None:
    """A tenth is every tenth: tests can count on it."""
    with running(replace(FAST, faults={"500": 0.1})) as url:
        connection, failed = Connection(url), []
        for number in range(1, 41):
            try:
                embed(connection)
            except Failure:
                failed.append(number)
        connection.close()

    assert failed == [10, 20, 30, 40]


def test_slots_make_others_wait() -> None:
    """Of two at once on one slot, the second has its first token after the first's last."""
    with running(Script(first=0.02, gap=0.002, slots=1)) as url:
        answers: list[Answer] = []
        connections = [Connection(url), Connection(url)]
        threads = [threading.Thread(target=lambda one=one: answers.append(ask(one))) for one in connections]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
        for one in connections:
            one.close()
        early, late = sorted(answers, key=lambda answer: answer.pieces[0])

    # When the first's last was due at the soonest: the thread that reads it is late when the machine is busy.
    last = early.asked + 0.02 + 0.002 * (early.tokens - 1)
    assert late.pieces[0] >= last + 0.019


@pytest.mark.parametrize("text", ["501:0.1", "cut", "cut:2", "cut:x"])
def test_faults_that_are_none_are_told(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In one line, with exit code 2."""
    with pytest.raises(InputError, match="--faults: expected KIND:SHARE"):
        faults(text)
    assert main(["--faults", text]) == 2
    assert capsys.readouterr().err.count("\n") == 1
