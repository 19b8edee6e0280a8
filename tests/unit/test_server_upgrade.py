"""Control planes go to another version of Kubernetes one after the other, kubelets after the last of them."""

import json
import time
from dataclasses import dataclass, field
from itertools import chain, repeat
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
import yaml

from betelgeuse.builds import images
from betelgeuse.clusters.local.kubeadm import Traits, Versions
from betelgeuse.clusters.servers import aside, forming, upgrade
from betelgeuse.clusters.servers.facts import Facts
from betelgeuse.clusters.servers.imports import Import
from betelgeuse.errors import BetelgeuseError
from betelgeuse.servers import Role, Server

if TYPE_CHECKING:
    from betelgeuse.clusters.servers.node import Node

_OLD, _NEW = "v1.36.3", "v1.37.2"
_STEADY = 20.0
_VERSIONS = Versions(_NEW, "3.7.0-0", "v1.14.6", "3.10.2")


@dataclass
class _Connection:
    """A server that only writes down what it is told."""

    server: Server
    log: list[str]
    fails: str = ""
    env: str = "own"
    written: dict[str, str] = field(default_factory=dict)

    def run(self, command: str, **_: object) -> str:
        if "kubeadm upgrade" in command:
            self.log.append(f"{command.split('kubeadm ')[1].split(' --', maxsplit=1)[0]} {self.server.name}")
            if self.fails:
                raise BetelgeuseError(self.fails)
        elif "upgrading" in command:
            self.log.append(f"{command.split(maxsplit=1)[0]} mark {self.server.name}")
        return ""

    def write(self, path: str, content: str, *_: object) -> None:
        self.written[path] = content


class _Cluster:
    """Servers a and bb, which control, and the worker ccc."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **found: Facts) -> None:
        self.log: list[str] = []
        self.record = "etcd: {local: {imageTag: 3.6.0-0}}\ndns: {imageTag: v1.14.6}\nclusterName: own\n"
        self.nodes = [
            cast("Node", SimpleNamespace(connection=each, server=each.server, found=found[name], traits=Traits()))
            for name in found
            for each in [_Connection(Server(name, "192.0.2.1", "SHA256:x", role=_role(name)), self.log)]
        ]
        monkeypatch.setattr(forming, "fetch", lambda each: self.log.append(f"API of {each.server.name}"))
        monkeypatch.setattr(forming, "kubectl", self.kubectl)
        monkeypatch.setattr(images, "build", lambda _: None)
        monkeypatch.setattr(Import, "load", lambda *_: None)
        for name in ("put", "take_back"):
            monkeypatch.setattr(aside, name, lambda _, node, name=name: self.log.append(f"{name} {node}"))

    def kubectl(self, _env: str, *words: str) -> str:
        if words[0] == "get":
            return json.dumps({"data": {"ClusterConfiguration": self.record}})
        self.record = json.loads(words[-1].partition("=")[2])["data"]["ClusterConfiguration"]
        self.log.append("record")
        return ""

    def upgrade(self) -> None:
        upgrade.control_planes(self.nodes, _VERSIONS)


class _Clock:
    """Time that passes when somebody waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def _role(name: str) -> Role:
    return Role.WORKER if name == "ccc" else Role.BOTH


def _control(version: str, *, upgrading: bool = False) -> Facts:
    return Facts(joined=True, controls=True, version=version, kubelet=version, upgrading=upgrading)


_WORKER = Facts(joined=True, kubelet=_OLD)


def test_the_first_is_upgraded_for_the_cluster_and_the_others_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each serves before the next begins, and kubeadm's record says today's etcd before the first."""
    cluster = _Cluster(monkeypatch, a=_control(_OLD), bb=_control(_OLD), ccc=_WORKER)

    cluster.upgrade()

    assert cluster.log == [
        "API of a",
        "record",
        "touch mark a",
        "upgrade apply a",
        "API of a",
        "rm mark a",
        "touch mark bb",
        "upgrade node bb",
        "API of bb",
        "rm mark bb",
    ]
    assert yaml.safe_load(cluster.record) == {
        "etcd": {"local": {"imageTag": "3.7.0-0"}},
        "dns": {"imageTag": "v1.14.6"},
        "clusterName": "own",
    }


def test_a_cluster_of_today_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is asked of it either; one that is to be formed has no version yet."""
    _Cluster(monkeypatch, a=_control(_NEW), bb=_control(_NEW)).upgrade()
    upgrade.control_planes([], _VERSIONS)

    cluster = _Cluster(monkeypatch, a=_control(_NEW))
    cluster.upgrade()
    assert cluster.log == []


@pytest.mark.parametrize(
    ("found", "steps"),
    [
        # Killed in the first: its API server may say the new version while its scheduler is the old one.
        ({"a": _control(_NEW, upgrading=True), "bb": _control(_OLD)}, ["upgrade apply a", "upgrade node bb"]),
        ({"a": _control(_OLD), "bb": _control(_OLD, upgrading=True)}, ["upgrade apply bb", "upgrade node a"]),
        # Killed between the two, and in the second.
        ({"a": _control(_NEW), "bb": _control(_OLD)}, ["upgrade node bb"]),
        ({"a": _control(_NEW), "bb": _control(_NEW, upgrading=True)}, ["upgrade node bb"]),
    ],
)
def test_a_killed_upgrade_goes_on(monkeypatch: pytest.MonkeyPatch, found: dict[str, Facts], steps: list[str]) -> None:
    """From wherever it was."""
    cluster = _Cluster(monkeypatch, **found)

    cluster.upgrade()

    assert [line for line in cluster.log if line.startswith("upgrade")] == steps


def test_the_mark_stays_where_it_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the next control plane is not touched."""
    cluster = _Cluster(monkeypatch, a=_control(_OLD), bb=_control(_OLD))
    cast("_Connection", cluster.nodes[0].connection).fails = "etcd did not start"

    with pytest.raises(BetelgeuseError, match="etcd did not start"):
        cluster.upgrade()

    assert cluster.log[-2:] == ["touch mark a", "upgrade apply a"]


def test_kubelets_of_another_minor_version_are_replaced_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """With their pods elsewhere; others all at once."""
    patched = Facts(joined=True, kubelet="v1.37.0")
    cluster = _Cluster(monkeypatch, a=_control(_OLD), bb=patched, ccc=_WORKER)
    clock = _Clock(monkeypatch)
    answers = chain(["", "connection refused"], repeat(""))
    monkeypatch.setattr(forming, "api_ready", lambda _: next(answers))

    upgrade.one_by_one(lambda node: cluster.log.append(f"configure {node.server.name}"), cluster.nodes, _NEW)

    assert cluster.log == [
        "configure bb",
        *("put a", "configure a", "API of a", "take_back a"),
        *("put ccc", "configure ccc", "take_back ccc"),
    ]
    # The API server was started anew once more, and is waited for from then on.
    assert clock.now > _STEADY


def test_pods_of_one_server_have_nowhere_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its kubelet is replaced under them."""
    cluster = _Cluster(monkeypatch, a=_control(_OLD))
    _Clock(monkeypatch)
    monkeypatch.setattr(forming, "api_ready", lambda _: "")

    upgrade.one_by_one(lambda node: cluster.log.append(f"configure {node.server.name}"), cluster.nodes, _NEW)

    assert cluster.log == ["configure a", "API of a"]


def test_kubeadm_is_told_what_it_may_not_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """It pulls nothing, renews no certificate, and keeps what the control plane requests."""
    cluster = _Cluster(monkeypatch, a=_control(_OLD))

    cluster.upgrade()

    (text,) = cast("_Connection", cluster.nodes[0].connection).written.values()
    told = yaml.safe_load(text)
    assert told["apply"]["kubernetesVersion"] == _NEW
    for part in ("apply", "node"):
        assert told[part]["imagePullPolicy"] == "Never"
        assert told[part]["certificateRenewal"] is False
        assert told[part]["patches"] == {"directory": "/etc/kubernetes/patches"}
