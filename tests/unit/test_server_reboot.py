"""A server is rebooted in order, once everything is ready; what a killed reboot left is ended first."""

from collections.abc import Sequence

import pytest

from betelgeuse import servers, settings
from betelgeuse.clusters.servers import forming, reboot
from betelgeuse.errors import BetelgeuseError, UsageError, WaitTimeoutError
from betelgeuse.servers import Role, Server
from betelgeuse.ssh import Connection
from betelgeuse.workflows import nodes


class _Cluster:
    """Servers that only write down what they are told, and boot anew when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, due: Sequence[str] = (), broken: bool = False) -> None:
        self.log: list[str] = []
        self.boots = dict.fromkeys(("a", "bb", "ccc"), 1)
        self.marked, self.cordoned, self.due, self.broken = set[str](), set[str](), set(due), broken
        listed = [
            Server(name, f"192.0.2.{len(name)}", "SHA256:x", role=Role.WORKER if name == "ccc" else Role.BOTH)
            for name in self.boots
        ]
        self.connections = [Connection(each, "own") for each in listed]
        monkeypatch.setattr(settings, "load", lambda _: None)
        monkeypatch.setattr(servers, "load", lambda _: listed)
        monkeypatch.setattr(nodes, "reach", lambda *_: self.connections)
        monkeypatch.setattr(nodes, "opened", lambda _: (None, None, []))
        monkeypatch.setattr(nodes, "until_ready", self.until_ready)
        monkeypatch.setattr(forming, "kubectl", self.kubectl)
        for name in ("fetch", "keep"):
            monkeypatch.setattr(forming, name, lambda each, name=name: self.log.append(f"{name} {each.server.name}"))
        monkeypatch.setattr(forming, "api_ready", lambda _: "")
        monkeypatch.setattr(Connection, "open", lambda _: None)
        monkeypatch.setattr(Connection, "close", lambda _: None)
        monkeypatch.setattr(Connection, "run", lambda each, command, **_: self.run(each.server.name, command))
        monkeypatch.setattr(Connection, "succeeds", lambda each, _: each.server.name in self.due)

    def until_ready(self, *_: object) -> None:
        self.log.append("ready")
        if self.broken:
            message = "ai/llm is not ready"
            raise WaitTimeoutError(message)

    def run(self, name: str, command: str) -> str:
        if command != "systemctl reboot":
            return str(self.boots[name])
        self.log.append(f"reboot {name}")
        self.boots[name] += 1
        message = "the connection ended"
        raise BetelgeuseError(message)

    def kubectl(self, _env: str, *words: str, timeout: float = 30) -> str:
        assert timeout
        name = words[2] if words[:2] == ("get", "node") else ""
        if name and "annotations" in words[3]:
            return "true" if name in self.marked else ""
        if name and "unschedulable" in words[3]:
            return "true" if name in self.cordoned else ""
        if name:
            return "True"
        if words[0] == "annotate":
            (self.marked.discard if words[3].endswith("-") else self.marked.add)(words[2])
        self.log.append(" ".join(words[:2]) if words[0] != "annotate" else " ".join(words[:4]))
        return ""


def test_those_that_ask_for_it_are_rebooted_one_at_a_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each once everything is ready; the kubeconfig names another control plane meanwhile."""
    cluster = _Cluster(monkeypatch, due=["a", "ccc"])

    nodes.reboot_servers("own", nodes.DUE)

    assert cluster.log == [
        "ready",
        "fetch bb",
        "annotate node a betelgeuse.io/set-aside=true",
        "cordon a",
        "drain a",
        "reboot a",
        "keep a",
        "uncordon a",
        "annotate node a betelgeuse.io/set-aside-",
        "ready",
        "fetch a",
        "annotate node ccc betelgeuse.io/set-aside=true",
        "cordon ccc",
        "drain ccc",
        "reboot ccc",
        "uncordon ccc",
        "annotate node ccc betelgeuse.io/set-aside-",
        "ready",
    ]
    assert "own: rebooted a, ccc" in capsys.readouterr().out


def test_nobody_asks_for_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is done, and that is said."""
    cluster = _Cluster(monkeypatch)

    nodes.reboot_servers("own", nodes.DUE)

    assert cluster.log == []
    assert "own: no server asks for a reboot" in capsys.readouterr().out


def test_nothing_is_rebooted_while_something_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one would take what is left of it."""
    cluster = _Cluster(monkeypatch, broken=True)

    with pytest.raises(WaitTimeoutError, match="ai/llm is not ready"):
        nodes.reboot_servers("own", "bb")

    assert cluster.log == ["ready"]


def test_a_killed_reboot_is_ended_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether that server still asks for it or not."""
    cluster = _Cluster(monkeypatch)
    cluster.marked.add("bb")

    nodes.reboot_servers("own", nodes.DUE)

    assert cluster.log == ["uncordon bb", "annotate node bb betelgeuse.io/set-aside-"]


def test_a_persons_cordon_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was not made for the reboot."""
    cluster = _Cluster(monkeypatch)
    cluster.cordoned.add("ccc")

    nodes.reboot_servers("own", "ccc")

    assert cluster.log == ["ready", "fetch a", "cordon ccc", "drain ccc", "reboot ccc", "ready"]


def test_one_server_alone_has_nowhere_to_drain_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is rebooted as it is."""
    cluster = _Cluster(monkeypatch)

    reboot.reboot(cluster.connections[0], [])

    assert cluster.log == ["fetch a", "reboot a", "keep a"]


@pytest.mark.parametrize(
    ("name", "said"),
    [("cc", r"^overlays/own/servers\.yaml has no server 'cc'; did you mean 'ccc'\?$")],
)
def test_a_server_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch, name: str, said: str) -> None:
    """Before anything is asked of any."""
    _Cluster(monkeypatch)

    with pytest.raises(UsageError, match=said):
        nodes.reboot_servers("own", name)


def test_two_wishes_at_once_are_refused() -> None:
    """One would be overlooked."""
    with pytest.raises(UsageError, match="--remove and --reboot exclude each other"):
        nodes.nodes("own", "a", "bb", prune_data=False, as_json=False)
