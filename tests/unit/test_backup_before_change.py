"""Before a cluster on servers is changed, its etcd is copied; no other cluster's, and its failure stops nothing."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from betelgeuse import paths, servers, settings
from betelgeuse.clusters.servers import etcd
from betelgeuse.errors import BetelgeuseError
from betelgeuse.workflows import backup

_CHOSEN = settings.parse("hetzner", "environment.env", "DOMAIN=betelgeuse.test\n")


class _Repository:
    """Remembers what was kept."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, Sequence[str]]] = []

    def open(self, *, create: bool = False) -> None:
        assert create

    def save(self, store: str, command: Sequence[str]) -> None:
        self.kept.append((store, command))


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> _Repository:
    """A cluster that was formed on servers."""
    found, kubeconfig = _Repository(), tmp_path / "kubeconfig"
    kubeconfig.touch()
    monkeypatch.setattr(servers, "load", lambda _: ["one"])
    monkeypatch.setattr(paths, "kubeconfig_path", lambda _: kubeconfig)
    monkeypatch.setattr(etcd, "dump", lambda env: ["ssh", env])
    monkeypatch.setattr(backup, "repository_of", lambda _: found)
    return found


def test_a_formed_cluster_on_servers_is_copied(kept: _Repository) -> None:
    """Where copies of its stores go, too."""
    backup.before_change(_CHOSEN)

    assert kept.kept == [("etcd", ["ssh", "hetzner"])]


@pytest.mark.parametrize("lacking", ["servers", "kubeconfig"])
def test_nothing_is_copied_of_what_is_not_there(
    monkeypatch: pytest.MonkeyPatch, kept: _Repository, lacking: str
) -> None:
    """A cluster that somebody else formed, and one that is to be formed."""
    if lacking == "servers":
        monkeypatch.setattr(servers, "load", lambda _: [])
    else:
        paths.kubeconfig_path("hetzner").unlink()

    backup.before_change(_CHOSEN)

    assert kept.kept == []


def test_a_silent_control_plane_is_told_and_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, kept: _Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    """The change may be what mends it."""

    def silent(_: str) -> list[str]:
        message = "one does not answer"
        raise BetelgeuseError(message)

    monkeypatch.setattr(etcd, "dump", silent)

    backup.before_change(_CHOSEN)

    told = capsys.readouterr()
    assert "etcd: no copy was made before this change: one does not answer" in told.out + told.err
    assert kept.kept == []
