"""Which control plane our kubeconfig names while one is away."""

import socket
from pathlib import Path

import pytest

from betelgeuse import paths, servers
from betelgeuse.kube import standby
from betelgeuse.servers import Role, Server

KEY = f"SHA256:{'a' * 43}"
AWAY = Server("away", "127.0.0.2", KEY)
THERE = Server("there", "127.0.0.3", KEY)
WORKER = Server("worker", "127.0.0.4", KEY, role=Role.WORKER)


@pytest.mark.parametrize(
    ("listed", "named"),
    [
        ((AWAY, THERE, WORKER), "127.0.0.3"),
        ((THERE, AWAY), "127.0.0.3"),
        # Nobody else serves an API.
        ((AWAY,), "127.0.0.2"),
        ((AWAY, WORKER), "127.0.0.2"),
        ((), "127.0.0.2"),
    ],
)
def test_one_that_answers_is_named(
    listed: tuple[Server, ...], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is another; the file stays its owner's alone."""
    monkeypatch.setattr(paths, "STATE", tmp_path)
    monkeypatch.setattr(servers, "load", lambda _: listed)
    file = paths.kubeconfig_path("own")
    file.parent.mkdir()
    with socket.create_server(("127.0.0.3", 0)) as server:
        port = server.getsockname()[1]
        file.write_text(f"    server: https://127.0.0.2:{port}\n", "utf-8")
        file.chmod(0o600)
        standby.settle("own")

    assert file.read_text("utf-8") == f"    server: https://{named}:{port}\n"
    assert file.stat().st_mode & 0o777 == 0o600


def test_one_that_answers_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also beside others that do."""
    monkeypatch.setattr(paths, "STATE", tmp_path)
    monkeypatch.setattr(servers, "load", lambda _: (AWAY, THERE))
    file = paths.kubeconfig_path("own")
    file.parent.mkdir()
    with socket.create_server(("127.0.0.3", 0)) as server:
        text = f"    server: https://127.0.0.3:{server.getsockname()[1]}\n"
        file.write_text(text, "utf-8")
        standby.settle("own")

    assert file.read_text("utf-8") == text
