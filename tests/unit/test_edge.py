"""The gateway is asked as a client would ask, until it serves every host."""

import socket
import ssl
import struct
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from betelgeuse import edge, progress
from betelgeuse.certificate import self_signed
from betelgeuse.errors import WaitTimeoutError
from betelgeuse.kube import Obj
from tests.unit.pod_cluster import Clock

GATEWAY: Obj = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "Gateway",
    "metadata": {"name": "gateway", "namespace": "gateway"},
    "spec": {
        "listeners": [
            {"name": "http", "protocol": "HTTP", "port": 80},
            {"name": "https", "protocol": "HTTPS", "port": 443},
        ]
    },
}
LISTENERS: Obj = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "ListenerSet",
    "metadata": {"name": "llm", "namespace": "ai"},
    "spec": {"listeners": [{"name": "https", "protocol": "HTTPS", "port": 443, "hostname": "llm.example.org"}]},
}


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time passes while somebody waits, and at no other moment; every address answers."""
    made = Clock()
    monkeypatch.setattr(edge, "time", made)
    monkeypatch.setattr(progress, "time", made)
    monkeypatch.setattr(edge, "_answers", lambda address: address != "away")
    return made


def asked(*answers: str, addresses: Sequence[str] = ("node-1",), steady: float = 0.0) -> list[tuple[str, str]]:
    """Settle with a probe that gives these answers by turns, the last one for ever; return what was asked."""
    seen: list[tuple[str, str]] = []

    def probe(address: str, host: str) -> str:
        seen.append((address, host))
        return answers[min(len(seen), len(answers)) - 1]

    edge.settle([GATEWAY, LISTENERS], addresses, probe, steady=steady)
    return seen


def test_each_host_is_asked_at_each_address() -> None:
    """One good answer each is enough where nothing changed."""
    assert asked("", addresses=["node-1", "node-2"]) == [("node-1", "llm.example.org"), ("node-2", "llm.example.org")]


def test_host_that_comes_back_is_waited_for() -> None:
    """A proxy that is started anew meanwhile serves a moment later."""
    assert len(asked("reset", "refused", "")) == 3


def test_host_that_is_lost_a_moment_later_is_seen(clock: Clock) -> None:
    """After a change one good answer is not enough: the time begins anew with each bad one."""
    assert len(asked("", "", "reset", "", steady=10.0)) > 4
    assert clock.now >= 10.0
    with pytest.raises(WaitTimeoutError):
        asked("", "", "reset", steady=10.0)


def test_host_that_is_never_served_is_told() -> None:
    """The error names host, address, reason, and where to look."""
    with pytest.raises(WaitTimeoutError, match=r"llm\.example\.org at node-1: reset, after .* kubectl"):
        asked("reset")


def test_unreachable_address_is_not_judged(capsys: pytest.CaptureFixture[str]) -> None:
    """An address behind a firewall is named, and not asked."""
    assert asked("reset", addresses=["away"]) == []
    assert "away:443 does not answer from here" in "".join(capsys.readouterr())


def test_refusal_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that is not open yet is waited for; only an address that says nothing is out of reach."""
    monkeypatch.undo()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setattr(edge, "_PORT", port)
    assert edge._answers("127.0.0.1")

    def silence(*_: object, **__: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", silence)
    assert not edge._answers("127.0.0.1")


@pytest.fixture(params=["tls", "reset"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, int]]:
    """A server that either speaks TLS or resets every connection; returns (kind, port)."""
    certificate, key = self_signed("llm.example.org", [])
    (tmp_path / "pem").write_bytes(certificate + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pem")
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        if request.param == "tls":
            context.wrap_socket(connection, server_side=True).close()
        else:
            # As a proxy without the certificate: it reads the greeting first.
            connection.recv(1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    yield request.param, listener.getsockname()[1]
    thread.join(5)
    listener.close()


def test_handshake_tells_a_reset_from_a_server(server: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A TLS server is silence, a reset is a reason."""
    kind, port = server
    monkeypatch.setattr(edge, "_PORT", port)

    why = edge.handshake("127.0.0.1", "llm.example.org")

    assert (why == "") is (kind == "tls"), why
