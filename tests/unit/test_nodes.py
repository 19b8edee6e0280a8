"""What `invoke nodes` tells of each node, and when a server may leave."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from betelgeuse.clusters.drain import Volume
from betelgeuse.clusters.local.certificates import Certificate
from betelgeuse.clusters.servers import departure, endpoint, forming, joining, leave, mesh
from betelgeuse.errors import BetelgeuseError, RefusedError, UsageError
from betelgeuse.kube import Obj
from betelgeuse.servers import Role, Server
from betelgeuse.ssh import Connection
from betelgeuse.workflows import nodes
from betelgeuse.workflows.nodes import Told
from tests.unit.fakes import FakeKube, obj

NOW = datetime.now(UTC)


def node(name: str, *, ready: bool = True, control: bool = False, cordoned: bool = False) -> Obj:
    """A node as the API tells it."""
    found = obj("v1", "Node", name)
    found["metadata"]["labels"] = {"node-role.kubernetes.io/control-plane": ""} if control else {}
    found["spec"] = {"unschedulable": True} if cordoned else {}
    condition = {"type": "Ready", "status": "True" if ready else "False", "message": "no network"}
    addresses = [{"type": "InternalIP", "address": "10.98.0.1"}, {"type": "Hostname", "address": name}]
    found["status"] = {"conditions": [condition], "addresses": addresses, "nodeInfo": {"kubeletVersion": "v1.37.2"}}
    return found


def certificate(name: str, days: float) -> Certificate:
    """A certificate with so many days left."""
    return Certificate(NOW + timedelta(days=days, minutes=5), "one", name)


def server(name: str, role: Role = Role.BOTH) -> Server:
    """A server of the list."""
    return Server(name, f"192.0.2.{len(name)}", "SHA256:x", role=role)


def test_a_node_is_a_line() -> None:
    """Roles, versions, pods, the other servers that it hears, and which certificate ends first."""
    pod = obj("v1", "Pod", "p", "ai") | {"spec": {"nodeName": "one"}}
    kube = FakeKube(node("one", control=True), node("two"), pod).kube
    told = {"one": Told([certificate("ca", 3), certificate("apiserver", 30)], "1 of 1"), "two": Told()}

    lines = nodes.table(nodes.look(kube, told)).splitlines()

    assert lines[1].split() == [
        "one",
        "control-plane",
        "ready",
        "v1.37.2",
        "10.98.0.1",
        "1",
        "1",
        "of",
        "1",
        "apiserver,",
        "in",
        "30",
        "days",
    ]
    assert lines[2].split() == ["two", "worker", "ready", "v1.37.2", "10.98.0.1", "0", "-", "-"]


@pytest.mark.parametrize(
    ("known", "told", "state"),
    [
        (node("one", ready=False), Told(), "no network"),
        (node("one", cordoned=True), Told(), "cordoned"),
        (node("one"), Told([certificate("apiserver", -1)]), "the certificate apiserver has ended"),
        (node("one"), Told(silent="no SSH server answers"), "its server says nothing: no SSH server answers"),
    ],
)
def test_what_is_wrong_is_its_state(known: Obj, told: Told, state: str) -> None:
    """And it does not count as ready."""
    (found,) = nodes.look(FakeKube(known).kube, {"one": told})

    assert state in found.state
    assert not found.ready


def test_a_server_that_is_no_node_is_told() -> None:
    """It is on the list, and the cluster does not know it."""
    found = nodes.look(FakeKube(node("one")).kube, {"one": Told(), "two": Told()})

    assert [(each.name, each.state) for each in found] == [("one", "ready"), ("two", "no node of the cluster")]


def test_the_mesh_counts_who_was_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handshake older than three minutes is none, nor is one that never was."""
    monkeypatch.setattr(Connection, "run", lambda *_, **__: "1000\na=\t900\nb=\t500\nc=\t0\n")

    assert mesh.heard(Connection(server("one"), "own")) == "1 of 3"


def test_who_may_leave() -> None:
    """Neither an unknown one, nor one of two, nor the only control plane."""
    three = [server("a"), server("bb", Role.WORKER), server("ccc", Role.WORKER)]

    assert departure.chosen("own", three, "bb") == (three[1], [three[0], three[2]])
    with pytest.raises(UsageError, match=r"^overlays/own/servers\.yaml has no server 'cc'; did you mean 'ccc'\?$"):
        departure.chosen("own", three, "cc")
    with pytest.raises(RefusedError, match=r"^a is the only control plane"):
        departure.chosen("own", three, "a")
    with pytest.raises(RefusedError, match=r"^bb is one of 2 servers, and a mesh has 2"):
        departure.chosen("own", three[:2], "bb")


def volume(name: str, where: str) -> dict[str, Any]:
    """A PersistentVolume on a node's disk."""
    term = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [where]}]}
    spec = {
        "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
        "claimRef": {"namespace": "ai", "name": "data"},
    }
    return {"metadata": {"name": name}, "spec": spec}


class Cluster:
    """Servers and a cluster that only write down what they are told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, volumes: list[dict[str, Any]], *, answers: bool = True) -> None:
        """Put it where departure looks."""
        self.log: list[str] = []
        self.volumes, self.answers = volumes, answers
        monkeypatch.setattr(forming, "kubectl", self.kubectl)
        monkeypatch.setattr(Connection, "open", self.open)
        for module, name in ((forming, "fetch"), (leave, "clear"), (endpoint, "apply")):
            monkeypatch.setattr(module, name, self.note(name))
        monkeypatch.setattr(
            joining, "forget", lambda _seed, who, address: self.log.append(f"forget {who.name} {address}")
        )
        monkeypatch.setattr(mesh, "join", self.join)

    def note(self, name: str) -> Callable[..., None]:
        """Return a step that only says on which server it was taken."""
        return lambda connection, **_: self.log.append(f"{name} {connection.server.name}")

    def open(self) -> None:
        """Answer, or do not."""
        if not self.answers:
            message = "bb: no SSH server answers"
            raise BetelgeuseError(message)

    def join(self, connections: list[Connection], _: str) -> list[str]:
        """Take note of who is left on the mesh."""
        self.log.append(f"mesh {' '.join(each.server.name for each in connections)}")
        return [each.server.name for each in connections]

    def kubectl(self, _env: str, *words: str, timeout: float = 30) -> str:
        """Tell of volumes and of one node."""
        assert timeout
        if words[:2] == ("get", "persistentvolumes"):
            return json.dumps({"items": self.volumes})
        if words[:2] == ("get", "node"):
            return json.dumps(node(words[2]))
        self.log.append(" ".join(words[:3]))
        return ""


def leave_cluster(*, prune_data: bool = False) -> None:
    """Take bb out of three."""
    others = [Connection(server("a"), "own"), Connection(server("ccc", Role.WORKER), "own")]
    departure.remove(server("bb"), others, prune_data=prune_data)


def test_a_server_leaves_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pods go first, then what the cluster knows of it, then what is on it; at last the others forget its key."""
    cluster = Cluster(monkeypatch, [volume("pv-1", "bb"), volume("pv-2", "a")])
    with pytest.raises(
        RefusedError, match=r"^bb would be removed, and with it the volume ai/data: nothing was changed"
    ):
        leave_cluster()
    assert cluster.log == ["fetch a"]
    cluster.log.clear()

    leave_cluster(prune_data=True)

    assert cluster.log[:8] == [
        "fetch a",
        "cordon bb",
        "delete pvc data",
        "drain bb --ignore-daemonsets",
        "forget bb 10.98.0.1",
        "delete pv pv-1",
        "clear bb",
        "mesh a ccc",
    ]
    assert sorted(cluster.log[8:]) == ["apply a", "apply ccc"]


def test_a_server_that_is_gone_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody drains it, and it is left as it is."""
    cluster = Cluster(monkeypatch, [], answers=False)

    leave_cluster()

    assert cluster.log[:3] == ["fetch a", "forget bb 10.98.0.1", "mesh a ccc"]
    assert "bb: no SSH server answers: it is taken out of the cluster and left as it is" in capsys.readouterr().err


def test_volumes_are_told_by_their_node() -> None:
    """One without a node is on a network, and stays."""
    listed = {"items": [volume("pv-1", "bb"), volume("pv-2", "a"), {"metadata": {"name": "pv-3"}, "spec": {}}]}

    assert departure.held(listed, "bb") == [Volume("pv-1", "ai", "data")]
