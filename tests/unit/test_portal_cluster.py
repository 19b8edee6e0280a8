"""How the portal asks the API server: over TLS it can trust, with the token as it is now, and never for long."""

import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from portal.cluster import ROUTES, ClusterError, listed

from betelgeuse.certificate import self_signed


class ApiServer(BaseHTTPRequestHandler):
    """Answers a list to whoever has the token `good`."""

    def do_GET(self) -> None:
        """Answer."""
        allowed = self.headers["Authorization"] == "Bearer good"
        body = json.dumps({"items": [{"path": self.path}]} if allowed else {"kind": "Status"}).encode()
        self.send_response(200 if allowed else 403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A service account's folder, and the API server that its roots are for."""
    certificate, key = self_signed("localhost", ["localhost"])
    (tmp_path / "ca.crt").write_bytes(certificate)
    (tmp_path / "server.pem").write_bytes(certificate + key)
    (tmp_path / "token").write_text("good\n")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    server = HTTPServer(("127.0.0.1", 0), ApiServer)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "localhost")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.server_port))
    yield tmp_path
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_list_is_its_items(account: Path) -> None:
    """With the path that was asked for."""
    assert listed(ROUTES, account) == [{"path": ROUTES}]


def test_the_token_is_read_each_time(account: Path) -> None:
    """The kubelet replaces it; a refusal is an error that names what was refused."""
    (account / "token").write_text("old")
    with pytest.raises(ClusterError, match="the API server answered 403 to a list of httproutes"):
        listed(ROUTES, account)

    (account / "token").write_text("good")
    assert listed(ROUTES, account)


def test_another_server_is_not_trusted(account: Path) -> None:
    """Roots are the pod's own, and the error says no more than a person needs."""
    stranger, _ = self_signed("localhost", ["localhost"])
    (account / "ca.crt").write_bytes(stranger)

    with pytest.raises(ClusterError, match="does not answer \\(SSL"):
        listed(ROUTES, account)


def test_no_server_is_an_error_too(account: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a traceback nor a page without an end."""
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")

    with pytest.raises(ClusterError, match="does not answer \\(ConnectionRefusedError\\)"):
        listed(ROUTES, account)
