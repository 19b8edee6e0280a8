"""The probes see what is there: proved against servers that do exactly one thing."""

import socket
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from conformance.probes import hello, openai, tcp, tls
from conformance.probes.http import Answer, Endpoint, Request, split_answers
from conformance.secrecy import MASK, Masker, Secret
from tests.conformance_suite.conftest import Build
from tests.conformance_suite.pki import Authority

Serve = Callable[[Callable[[socket.socket], None]], int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server that treats each connection in its own way, and return its port."""
    with ExitStack() as stack:

        def start(treat: Callable[[socket.socket], None]) -> int:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            stack.callback(listener.shutdown, socket.SHUT_RDWR)

            def loop() -> None:
                with suppress(OSError):
                    while True:
                        connection, _ = listener.accept()
                        with connection, suppress(OSError):
                            treat(connection)

            threading.Thread(target=loop, daemon=True).start()
            port: int = listener.getsockname()[1]
            return port

        yield start


def _openssl(tmp_path: Path, ciphers: str, oldest: ssl.TLSVersion, newest: ssl.TLSVersion) -> ssl.SSLContext:
    certificate, key = Authority().issue("loop.test")
    path = tmp_path / "pair.pem"
    path.write_bytes(certificate + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    context.set_ciphers(ciphers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # old on purpose
        context.minimum_version, context.maximum_version = oldest, newest
    return context


def _shake(context: ssl.SSLContext) -> Callable[[socket.socket], None]:
    return lambda connection: context.wrap_socket(connection, server_side=True).close()


OLD, NEW = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(("name", "version"), [("TLS1.0", ssl.TLSVersion.TLSv1), ("TLS1.1", ssl.TLSVersion.TLSv1_1)])
def test_hello_is_accepted_by_a_server_that_speaks_the_old_version(
    serve: Serve, tmp_path: Path, name: str, version: ssl.TLSVersion
) -> None:
    """Hello is accepted by a server that speaks the old version."""
    port = serve(_shake(_openssl(tmp_path, "ALL:@SECLEVEL=0", version, version)))

    reply = hello.offer_to("127.0.0.1", port, hello.Offer(hello.VERSIONS[name], hello.COMMON, "loop.test"), 5)

    assert reply.accepted
    assert reply.version == hello.VERSIONS[name]
    assert reply.secure_renegotiation


def test_hello_is_refused_by_a_modern_server(serve: Serve, tmp_path: Path) -> None:
    """Hello is refused by a modern server."""
    port = serve(_shake(_openssl(tmp_path, "ECDHE+AESGCM", NEW, ssl.TLSVersion.TLSv1_3)))

    for version in hello.VERSIONS.values():
        reply = hello.offer_to("127.0.0.1", port, hello.Offer(version, hello.COMMON, "loop.test"), 5)
        assert reply.refused
        assert reply.alert in {"protocol_version", "handshake_failure"} or reply.outcome == "closed"
    assert hello.offer_to("127.0.0.1", port, hello.Offer(hello.TLS12, hello.COMMON, "loop.test"), 5).accepted


@pytest.mark.parametrize(
    ("name", "ciphers"),
    [
        ("NULL", "ECDHE-ECDSA-NULL-SHA:@SECLEVEL=0"),
        ("anonymous", "ADH-AES128-SHA:AECDH-AES128-SHA:@SECLEVEL=0"),
        ("CBC-SHA1", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"),
    ],
)
def test_weak_suite_is_accepted_by_a_server_that_has_it(serve: Serve, tmp_path: Path, name: str, ciphers: str) -> None:
    """Weak suite is accepted by a server that has it."""
    port = serve(_shake(_openssl(tmp_path, ciphers, OLD, NEW)))

    reply = hello.offer_to("127.0.0.1", port, hello.Offer(hello.TLS12, hello.WEAK[name], "loop.test"), 5)

    assert reply.accepted
    assert reply.suite in hello.WEAK[name]


def _server_hello(version: int, suite: bytes, compression: int, extensions: bytes = b"") -> bytes:
    body = version.to_bytes(2, "big") + bytes(32) + b"\0" + suite + bytes([compression]) + extensions
    message = b"\x02" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + len(message).to_bytes(2, "big") + message


def _takes_the_first(compression: int) -> Callable[[socket.socket], None]:
    """Accept whatever suite is offered first: a server of any age, for what no OpenSSL of today can speak."""

    def treat(connection: socket.socket) -> None:
        data = connection.recv(65536)
        version = int.from_bytes(data[9:11], "big")
        at = 44 + data[43]
        connection.sendall(_server_hello(version, data[at + 2 : at + 4], compression))

    return treat


@pytest.mark.parametrize("name", sorted(hello.WEAK))
def test_every_weak_group_is_really_offered(serve: Serve, name: str) -> None:
    """Every weak group is really offered."""
    port = serve(_takes_the_first(0))

    reply = hello.offer_to("127.0.0.1", port, hello.Offer(hello.TLS12, hello.WEAK[name], "loop.test"), 5)

    assert reply.accepted
    assert reply.suite == hello.WEAK[name][0]
    assert not reply.secure_renegotiation


def test_ssl3_and_compression_are_really_offered(serve: Serve) -> None:
    """SSL 3.0 and compression are really offered."""
    port = serve(_takes_the_first(1))

    old = hello.offer_to("127.0.0.1", port, hello.Offer(hello.SSL3, hello.COMMON), 5)
    packed = hello.offer_to("127.0.0.1", port, hello.Offer(compression=True), 5)

    assert old.accepted
    assert old.version == hello.SSL3
    assert packed.compression == 1


def test_groups_do_not_overlap() -> None:
    """Groups do not overlap."""
    suites = [suite for group in (*hello.WEAK.values(), hello.STRONG) for suite in group]

    assert len(suites) == len(set(suites))


@pytest.mark.parametrize(
    ("answer", "outcome", "told"),
    [
        (b"\x15\x03\x01\x00\x02\x02\x46", "refused", "refused (protocol_version)"),
        (b"\x15\x03\x01\x00\x02\x02\x28", "refused", "refused (handshake_failure)"),
        (b"\x15\x03\x01\x00\x02\x02\xfe", "refused", "refused (alert 254)"),
        (b"", "closed", "closed"),
        (b"HTTP/1.1 400 Bad Request\r\n", "garbage", None),
        (b"\x16\x03\x01\x00\x04\x0b\x00\x00\x00", "garbage", "garbage (handshake message 11)"),
        (b"\x17\x03\x01\x00\x01\x00", "garbage", "garbage (record type 23)"),
        (b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00", "garbage", None),
    ],
)
def test_other_answers_are_told_apart(serve: Serve, answer: bytes, outcome: str, told: str | None) -> None:
    """Other answers are told apart."""

    def treat(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer)

    reply = hello.offer_to("127.0.0.1", serve(treat), hello.Offer(), 5)

    # A body shorter than its header says looks like a hang-up in the middle.
    assert reply.outcome == outcome or (outcome == "garbage" and told is None and reply.outcome == "closed")
    assert told is None or str(reply) == told


def test_silence_and_absence_are_no_refusals(serve: Serve) -> None:
    """Silence and absence are no refusals."""
    silent = hello.offer_to("127.0.0.1", serve(lambda _: time.sleep(0.3)), hello.Offer(), 0.1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    absent = hello.offer_to("127.0.0.1", port, hello.Offer(), 1)

    assert (silent.outcome, silent.refused) == ("no answer", False)
    assert (absent.outcome, absent.refused) == ("unreachable", False)


@pytest.mark.parametrize(
    ("pattern", "host", "matches"),
    [
        ("a.test", "a.test", True),
        ("A.Test", "a.test", True),
        ("*.test", "a.test", True),
        ("*.test", "a.b.test", False),
        ("*.test", "test", False),
        ("a.test", "b.test", False),
        ("*.b.test", "a.b.test", True),
        ("*", "a", False),
    ],
)
def test_certificate_names_match_as_clients_match_them(pattern: str, host: str, *, matches: bool) -> None:
    """Certificate names match as clients match them."""
    assert tls.name_matches(pattern, host) is matches


def test_handshake_tells_trust_names_and_dates(build: Build) -> None:
    """Handshake tells trust names and dates."""
    good = build().handshake("llm.model.test")
    stranger = build("self-signed").handshake("llm.model.test")

    assert good.certificate is not None
    assert (good.trust_error, good.version) == ("", "TLSv1.3")
    assert good.certificate.names == ("llm.model.test",)
    assert good.certificate.key == "EC 256"
    assert stranger.certificate is not None
    assert "issuer" in stranger.trust_error
    assert tls.handshake("127.0.0.1", 1, "x", ca=None, timeout=1).error.startswith("ConnectionRefusedError")


def test_credentials_go_only_to_the_known_certificate(build: Build) -> None:
    """Credentials go only to the known certificate."""
    site = build()
    request = Request("llm.model.test", "/v1/models", headers=site.credentials(site.host("llm")))
    stranger = Endpoint("127.0.0.1", site.https, site.http, trusts=lambda _host, _der: False)

    assert site.send(request).status == 200
    assert "credentials withheld" in stranger.send(request, 2).error
    assert "without TLS" in site.send(Request("llm.model.test", headers=request.headers, tls=False)).error


def test_requests_show_secrets_by_reference_only(build: Build) -> None:
    """Requests show secrets by reference only."""
    site = build()
    request = Request("llm.model.test", "/a b", "POST", (*site.credentials(site.host("llm")), ("X-A", "it's")), b"{}")
    key = request.headers[0][1]
    assert isinstance(key, Secret)

    text = f"{request} {request!r} {key} {site.curl(request)}"

    assert key.reveal() not in text
    assert "eyJ" not in text
    assert "Bearer $(invoke token --client=api-client --env=model)" in text
    assert "-H 'X-A: it'\"'\"'s'" in site.curl(request)
    assert key.reveal().encode() in request.wire()


def test_masker_hides_plain_and_encoded() -> None:
    """Masker hides plain and encoded."""
    masker = Masker()
    masker.learn("0123456789")
    masker.learn("abc")

    assert masker.clean("x 0123456789 MDEyMzQ1Njc4OQ== abc") == f"x {MASK} {MASK} abc"


@pytest.mark.parametrize("size", [0, 200_000])
@pytest.mark.parametrize("secret", ["a word with spaces", 'p%ss"w0rd', "word-of.one~kind=", "a" * 70])
def test_masker_hides_every_kind_of_secret_in_texts_of_any_size(secret: str, size: int) -> None:
    """In the middle of a longer word too."""
    masker = Masker()
    masker.learn(secret)
    around = "some text " * (size // 10)

    assert masker.clean(f"{around}<{secret}>, x{secret}x {around}") == f"{around}<{MASK}>, x{MASK}x {around}"


def test_masker_is_quick_about_texts_without_secrets() -> None:
    """A suite of thousands of checks learns a secret with nearly each, and masks what each says."""
    masker = Masker()
    for number in range(5000):
        masker.learn(f"eyJ{number:06d}{'abcdefgh' * 100}")
    text = "GET https://portal.example.test/ answered 302, expected 200; " * 5
    begin = time.process_time()
    for _ in range(100):
        masker.clean(text)

    assert time.process_time() - begin < 1.0


def test_masker_hides_what_was_cut() -> None:
    """Masker hides what was cut."""
    masker = Masker()
    token = f"eyJ{'abcdefgh' * 20}.e30.c2ln"
    masker.learn(token)

    assert masker.clean(f"at /x?t={token[:60]}… and {token[:30]}'") == f"at /x?t={MASK}… and {MASK}'"
    assert masker.clean(token[:20]) == token[:20]


def test_curl_names_the_odd_sni_and_the_missing_one() -> None:
    """Curl names the odd SNI and the missing one."""
    door = Endpoint("10.0.0.1", ca=Path("/ca.pem"))

    odd = door.curl(Request("b.test", "/", sni="a.test"))
    missing = door.curl(Request("b.test", "/", sni=""))
    plain = door.curl(Request("b.test", "/x?y", "HEAD", tls=False))

    assert odd.endswith("--resolve a.test:443:10.0.0.1 --cacert /ca.pem -H 'Host: b.test' https://a.test/")
    assert "--insecure" in missing
    assert "https://10.0.0.1/" in missing
    assert plain.endswith("--resolve b.test:80:10.0.0.1 -I 'http://b.test/x?y'")


@pytest.mark.parametrize(
    ("data", "statuses"),
    [
        (b"", []),
        (b"HTTP/1.1 400 Bad\r\nContent-Length: 3\r\n\r\nabc", [400]),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", [200, 404]),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\nHTTP/1.1 404 No\r\n\r\nrest",
            [200, 404],
        ),
        (b"HTTP/1.1 204 No\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", [204, 200]),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naXYZ", [200, 0]),
        (b"garbage", [0]),
    ],
)
def test_answers_of_one_connection_are_counted(data: bytes, statuses: list[int]) -> None:
    """Answers of one connection are counted."""
    assert [answer.status for answer in split_answers(data)] == statuses


def test_arrivals_of_a_stream_are_timed(serve: Serve) -> None:
    """Arrivals of a stream are timed."""

    def treat(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in (b"data: {}\n", b"\ndata: 1\r\n\r\n", b"data: [DONE]\n\n"):
            time.sleep(0.05)
            connection.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        connection.sendall(b"0\r\n\r\n")

    answer = Endpoint("127.0.0.1", http=serve(treat)).send(Request("x", tls=False), 5)

    stream = openai.events(answer)
    assert [event.data for event in stream] == ["{}", "1", "[DONE]"]
    assert 0.05 < stream[0].at < stream[-1].at
    assert stream[-1].at - stream[0].at > 0.03


def test_cut_and_absent_answers_are_errors(serve: Serve) -> None:
    """Cut and absent answers are errors."""

    def cut(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")

    short = Endpoint("127.0.0.1", http=serve(cut)).send(Request("x", tls=False), 5)
    none = Endpoint("127.0.0.1", http=serve(lambda _: None)).send(Request("x", tls=False), 5)

    assert (short.status, short.body) == (200, b"abc")
    assert none.status == 0
    assert "no answer" in str(none)
    assert str(Answer(200, body=b"hi")) == "200 'hi'"


def test_scan_finds_the_open_ports_and_keeps_its_budget() -> None:
    """Scan finds the open ports and keeps its budget."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        ports = {one.getsockname()[1], other.getsockname()[1]}
        with socket.create_server(("127.0.0.1", 0)) as gone:
            closed = gone.getsockname()[1]
        seen = tcp.scan("127.0.0.1", [*ports, closed], 1, 5)
        assert tcp.is_open("127.0.0.1", min(ports), 1)

    assert (set(seen.open), seen.asked, seen.complete) == (ports, 3, True)
    assert not tcp.is_open("127.0.0.1", closed, 1)
    # 192.0.2.0/24 is reserved for documentation: nobody answers, or there is no route; both are quick.
    silent = tcp.scan("192.0.2.1", range(1, 40), 0.1, 2)
    assert not silent.open
    assert silent.seconds < 3
    assert not tcp.scan("127.0.0.1", tcp.ALL_PORTS, 1, 0).complete
