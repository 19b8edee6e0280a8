"""Several servers: what each is told of the others, and who may come when."""

import dataclasses
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import yaml

from betelgeuse.clusters.local import kubeadm
from betelgeuse.clusters.servers import endpoint, facts, firewall, joining, mesh, target
from betelgeuse.clusters.servers.facts import Facts
from betelgeuse.clusters.servers.mesh import Member
from betelgeuse.errors import RefusedError
from betelgeuse.servers import Role, Server
from betelgeuse.shell import run
from tests.unit.test_server_nodes import ONE, VERSIONS

if TYPE_CHECKING:
    from betelgeuse.ssh import Connection

TWO = dataclasses.replace(ONE, name="two", address="192.0.2.2")
THREE = dataclasses.replace(ONE, name="three", address="192.0.2.3", role=Role.WORKER)
MEMBERS = [
    Member(server.name, f"10.98.0.{number}", server.address, f"key-{server.name}")
    for number, server in enumerate((ONE, TWO, THREE), 1)
]


def test_addresses_stay() -> None:
    """A server keeps what it has, whatever the list's order; one that lost it gets the first that is free."""
    assert mesh.assign(["a", "b"], {}) == {"a": "10.98.0.1", "b": "10.98.0.2"}
    assert mesh.assign(["c", "b", "a"], {"a": "", "b": "10.98.0.1", "c": "10.98.0.3"}) == {
        "c": "10.98.0.3",
        "b": "10.98.0.1",
        "a": "10.98.0.2",
    }
    with pytest.raises(RefusedError, match=r"^a and b have one address on the mesh: one is a copy of the other"):
        mesh.assign(["a", "b"], {"a": "10.98.0.1", "b": "10.98.0.1"})


def test_a_server_is_told_of_the_others() -> None:
    """Not of itself, and of each no more than its one address."""
    text = mesh.config("one", MEMBERS)

    assert text.count("[Peer]") == 2
    assert "key-one" not in text
    assert "PublicKey = key-two\nEndpoint = 192.0.2.2:51820\nAllowedIPs = 10.98.0.2/32\n" in text


def test_the_link_is_the_kernels_where_it_has_one() -> None:
    """Else a program's, which is started anew when it ends."""
    assert "ExecStart=/usr/sbin/ip link add wg-betelgeuse type wireguard\n" in mesh.unit("")
    assert "Restart=always" in mesh.unit("/opt/x")
    assert "ExecStart=/opt/x/wireguard-go -f wg-betelgeuse\n" in mesh.unit("/opt/x")


def test_each_asks_its_own_control_plane_first() -> None:
    """And the others when that is away; a worker begins somewhere and knows all."""
    controls = MEMBERS[:2]

    assert endpoint.order("one", controls) == ["10.98.0.1", "10.98.0.2"]
    assert endpoint.order("two", controls) == ["10.98.0.2", "10.98.0.1"]
    assert sorted(endpoint.order("three", controls)) == ["10.98.0.1", "10.98.0.2"]
    assert endpoint.order("two", controls)[0] in endpoint.unit(endpoint.order("two", controls))


def test_the_firewall_lets_the_mesh_in(tmp_path: Path) -> None:
    """Packets of the mesh from the other servers alone; nft itself reads the rules."""
    admins = (IPv4Network("198.51.100.0/24"),)
    text = firewall.rules(ONE, admins, (), [TWO.address, THREE.address])
    file = tmp_path / "rules"
    file.write_text(text, "utf-8")

    assert "    ip saddr { 192.0.2.2, 192.0.2.3 } udp dport 51820 accept\n" in text
    assert '    iifname "wg-betelgeuse" accept\n' in text
    assert "51820" not in firewall.rules(ONE, admins, ())
    run(["unshare", "--net", "--map-root-user", "nft", "-f", str(file)])


def _init() -> dict[str, dict[str, Any]]:
    traits = facts.traits("own", ONE, Facts(), mesh.ENDPOINT, (ONE.address, TWO.address))
    text = kubeadm.init_config(MEMBERS[0], VERSIONS, "a.b", traits)
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


def _arguments(part: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in part["extraArgs"]}


def test_control_planes_know_of_each_other() -> None:
    """They choose a leader, are found at one endpoint, and give up a lost node soon."""
    parts = _init()
    settings, registration = parts["ClusterConfiguration"], parts["InitConfiguration"]["nodeRegistration"]

    assert settings["controlPlaneEndpoint"] == "10.98.0.254:6443"
    assert {"192.0.2.1", "192.0.2.2", "10.98.0.1"} <= set(settings["apiServer"]["certSANs"])
    assert "leader-elect" not in _arguments(settings["controllerManager"]) | _arguments(settings["scheduler"])
    assert _arguments(settings["controllerManager"])["node-monitor-grace-period"] == "30s"
    assert _arguments(settings["apiServer"])["default-unreachable-toleration-seconds"] == "10"
    assert {each["name"]: each["value"] for each in registration["kubeletExtraArgs"]} == {
        "node-ip": "10.98.0.1",
        "cloud-provider": "external",
    }


@pytest.mark.parametrize(("member", "controls"), [(MEMBERS[1], True), (MEMBERS[2], False)])
def test_a_further_server_joins_in_its_role(member: Member, controls: bool) -> None:  # noqa: FBT001 - the case
    """A control plane says where its API is; a worker has none."""
    traits = facts.traits("own", TWO, Facts(), mesh.ENDPOINT)
    text = kubeadm.join_config(member, MEMBERS[0], "abcdef.0123456789abcdef", "sha256:00", traits, controls=controls)
    said = yaml.safe_load(text)

    assert said["discovery"]["bootstrapToken"]["apiServerEndpoint"] == "10.98.0.1:6443"
    assert said["nodeRegistration"]["taints"] == []
    local = {"localAPIEndpoint": {"advertiseAddress": member.address, "bindPort": 6443}}
    assert said.get("controlPlane") == (local if controls else None)


def test_etcd_forgets_who_comes_again() -> None:
    """By its name, and by its address where it never started; nobody else."""
    listed = {
        "members": [
            {"ID": 10, "name": "one", "peerURLs": ["https://10.98.0.1:2380"]},
            {"ID": 17513231926203391146, "name": "two", "peerURLs": ["https://10.98.0.2:2380"]},
            {"ID": 12, "peerURLs": ["https://10.98.0.20:2380"]},
        ]
    }

    assert joining.stale(listed, "two", "10.98.0.9") == ["f30b7fa5d6621caa"]
    assert joining.stale(listed, "three", "10.98.0.20") == ["c"]
    assert joining.stale({}, "one", "10.98.0.1") == []


class _Far:
    """A connection of which only the server is asked."""

    env = "own"

    def __init__(self, server: Server) -> None:
        """Take the server."""
        self.server = server


NEW = "v1.37.2"


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ((Facts(), Facts()), ""),
        ((Facts(joined=True, meshed=True, controls=True), Facts()), ""),
        (
            (Facts(joined=True, controls=True), Facts()),
            r"^one was formed without a mesh, and overlays/own/servers\.yaml lists 2: ",
        ),
        ((Facts(joined=True, meshed=True), Facts()), r"^one was formed as a worker, and .* says both: "),
        ((Facts(), Facts(joined=True, meshed=True)), r"^no control plane of own is left, but workers are: "),
        ((Facts(joined=True, meshed=True, controls=True, version="v1.37.9"), Facts()), ""),
        ((Facts(joined=True, meshed=True, controls=True, version="v1.36.9"), Facts()), ""),
        (
            (Facts(joined=True, meshed=True, controls=True, version="v1.35.9"), Facts()),
            r"^one runs Kubernetes v1\.35\.9, the tree has v1\.37\.2, .* deploy a tree with v1\.36 first$",
        ),
        (
            (Facts(joined=True, meshed=True, controls=True, version="v1.38.0"), Facts()),
            r"^one runs Kubernetes v1\.38\.0, the tree has v1\.37\.2: a control plane does not go back$",
        ),
    ],
)
def test_a_cluster_grows_on_its_mesh_alone(found: tuple[Facts, ...], reason: str) -> None:
    """From nothing, or from servers that are joined; never from one that stood alone, or from workers."""
    far = [cast("Connection", _Far(server)) for server in (ONE, THREE)]
    if not reason:
        target.grown(far, found, NEW)
        return
    with pytest.raises(RefusedError, match=reason):
        target.grown(far, found, NEW)
