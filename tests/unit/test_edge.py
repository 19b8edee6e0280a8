"""The gateway is asked as a client would ask, and its proxies are started anew only where that shows a fault."""

import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from betelgeuse import edge
from betelgeuse.certificate import self_signed
from betelgeuse.errors import WaitTimeoutError
from betelgeuse.kube import Obj

GATEWAY: Obj = {
    "kind": "Gateway",
    "metadata": {"name": "gateway", "namespace": "gateway"},
    "spec": {"listeners": [{"protocol": "HTTP", "port": 80}, {"protocol": "HTTPS", "port": 443}]},
}
LISTENERS: Obj = {
    "kind": "ListenerSet",
    "metadata": {"name": "llm", "namespace": "ai"},
    "spec": {"listeners": [{"protocol": "HTTPS", "hostname": "llm.example.org"}]},
}
SERVICE: Obj = {"spec": {"type": "LoadBalancer", "selector": {"app": "proxy"}}}


class Cluster:
    """What `settle` asks of a cluster; remembers which pods were deleted."""

    def __init__(self, *addresses: str) -> None:
        """One proxy for each node address."""
        self.pods: list[Obj] = [{"metadata": {"name": name}, "status": {"hostIP": name}} for name in addresses]
        self.deleted: list[str] = []

    def list(self, _: str, kind: str, namespace: str, labels: str = "") -> list[Obj]:
        """Return the gateway's Service, or its pods."""
        assert namespace == "gateway"
        if kind == "Service":
            return [SERVICE, {"spec": {"type": "ClusterIP", "selector": {"app": "controller"}}}]
        assert labels == "app=proxy"
        return self.pods

    def delete(self, obj: Obj) -> bool:
        """Remember it."""
        self.deleted.append(obj["metadata"]["name"])
        return True


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for tenths of a second; every address answers."""
    monkeypatch.setattr(edge, "_SETTLE_SECONDS", 0.1)
    monkeypatch.setattr(edge, "_RESTART_SECONDS", 0.1)
    monkeypatch.setattr(edge, "_PAUSE", 0.01)
    monkeypatch.setattr(edge, "_answers", lambda address: address != "away")


def settle(cluster: Cluster, addresses: list[str], probe: edge.Probe) -> int:
    """Call what is tested."""
    return edge.settle(cluster, [GATEWAY, LISTENERS], addresses, probe)  # type: ignore[arg-type]


def test_served_hosts_leave_the_proxies_alone() -> None:
    """Nothing is started anew where every host is served."""
    cluster = Cluster("node-1")

    assert settle(cluster, ["node-1"], lambda _, __: "") == 0
    assert cluster.deleted == []


def test_only_the_failing_proxy_is_started_anew() -> None:
    """The proxy of the node that does not serve a host goes, the others stay."""
    cluster = Cluster("node-1", "node-2")

    def probe(address: str, _: str) -> str:
        return "reset" if address == "node-2" and not cluster.deleted else ""

    assert settle(cluster, ["node-1", "node-2"], probe) == 1
    assert cluster.deleted == ["node-2"]


def test_host_that_is_lost_a_moment_later_is_seen() -> None:
    """After a change one good answer is not enough: the hosts must stay served for a while."""
    cluster, answers = Cluster("node-1"), iter(["", "", "reset", "reset"])

    def probe(_: str, __: str) -> str:
        return "" if cluster.deleted else next(answers, "reset")

    assert edge.settle(cluster, [GATEWAY, LISTENERS], ["node-1"], probe, steady=5.0) == 1  # type: ignore[arg-type]


def test_all_proxies_go_where_the_address_is_no_node() -> None:
    """Behind an address that no node has, each proxy may be the one."""
    cluster = Cluster("node-1", "node-2")

    assert settle(cluster, ["floating"], lambda _, __: "" if cluster.deleted else "reset") == len(cluster.pods)


def test_what_a_restart_does_not_mend_is_told() -> None:
    """The error names host, address and reason."""
    cluster = Cluster("node-1")

    with pytest.raises(WaitTimeoutError, match=r"llm\.example\.org at node-1: reset.*started anew"):
        settle(cluster, ["node-1"], lambda _, __: "reset")


def test_unreachable_address_is_not_judged(capsys: pytest.CaptureFixture[str]) -> None:
    """An address behind a firewall is named, and no proxy is touched."""
    cluster = Cluster("node-1")

    assert settle(cluster, ["away"], lambda _, __: "reset") == 0
    assert cluster.deleted == []
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
