"""A control plane on a server begins again from a copy: what is refused, and what is done there in which order."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from betelgeuse import servers
from betelgeuse.clusters.local import etcd as local
from betelgeuse.clusters.servers import etcd, renewal
from betelgeuse.errors import RefusedError

_CA = "a" * 64
_MANIFEST = {"name": "one", "initial-advertise-peer-urls": "https://10.0.0.1:2380"}


class _Server:
    """What is run on a server, in order."""

    def __init__(self) -> None:
        self.server, self.log = SimpleNamespace(name="one", controls=True), list[str]()

    def run(self, command: str, **_: object) -> str:
        if command.startswith("sha256sum"):
            return f"{_CA}\n"
        if command.startswith("sed"):
            return f"{next(value for key, value in _MANIFEST.items() if f'--{key}=' in command)}\n"
        self.log.append(command)
        return ""

    def argv(self, command: str) -> list[str]:
        return ["ssh", "one", command]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> _Server:
    """One control plane, whose pods start anew at once."""
    found = _Server()

    def restart(_: object, what: str, instead: Callable[[], object]) -> None:
        found.log.append(what)
        instead()

    monkeypatch.setattr(servers, "load", lambda _: [found.server])
    monkeypatch.setattr(etcd, "reach", lambda *_: [found])
    monkeypatch.setattr(renewal, "restart", restart)
    return found


def _copy(folder: Path) -> Path:
    content = b"pages of a database"
    path = folder / "copy"
    path.write_bytes(f"etcd {_CA}\n".encode() + content + hashlib.sha256(content).digest())
    return path


def test_a_copy_is_printed_by_the_first_control_plane(machine: _Server) -> None:
    """With whose it is, and nothing stays there."""
    *way, command = etcd.dump("own")

    assert way == ["ssh", "one"]
    order = [command.index(words) for words in ("trap 'rm -f", "snapshot save", 'echo "etcd', "\ncat ")]
    assert order == sorted(order)
    assert machine.log == []


def test_data_is_brought_before_anything_ends(
    machine: _Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What was there is given up last."""
    made = list[str]()

    def rebuild(snapshot: Path, to: Path, name: str, peer: str) -> None:
        made.append(f"{name} {peer} {snapshot.read_bytes()[:5].decode()}")
        (to / "member").mkdir(parents=True)

    monkeypatch.setattr(local, "rebuild", rebuild)
    etcd.load("own", _copy(tmp_path), tmp_path)

    assert made == ["one https://10.0.0.1:2380 pages"]
    bring, what, swap, forget = machine.log
    assert "tar -x -C restored" in bring
    assert what == "control plane with the data of the copy"
    assert swap.index("-STOP") < swap.index("mv member before") < swap.index("mv restored/member") < swap.index("-KILL")
    assert forget == "rm -rf /var/lib/etcd/before /var/lib/etcd/restored"


def test_anothers_copy_touches_nothing(machine: _Server, tmp_path: Path) -> None:
    """Its Secrets are sealed with another key."""
    path = _copy(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"a" * 64, b"b" * 64, 1))

    with pytest.raises(RefusedError, match="a cluster with another CA"):
        etcd.load("own", path, tmp_path)
    assert machine.log == []


def test_several_control_planes_are_refused(machine: _Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With what to do first."""
    monkeypatch.setattr(servers, "load", lambda _: [machine.server, SimpleNamespace(name="two", controls=True)])

    with pytest.raises(RefusedError, match=r"`invoke nodes --env=own --remove=NAME`: two\), restore"):
        etcd.load("own", _copy(tmp_path), tmp_path)
    assert machine.log == []
