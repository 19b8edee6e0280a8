"""What a server is told to become a node, and what it is refused."""

import base64
import dataclasses
from ipaddress import IPv4Network, ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from betelgeuse import overlays, servers, settings
from betelgeuse.clusters.local import kubeadm
from betelgeuse.clusters.servers import facts, firewall, forming, programs, renewal, target, units
from betelgeuse.clusters.servers.facts import Facts
from betelgeuse.errors import RefusedError
from betelgeuse.servers import Role, Server
from betelgeuse.settings import Settings
from betelgeuse.shell import run
from tests.unit.test_certificates import made

if TYPE_CHECKING:
    from betelgeuse.ssh import Connection

ONE = Server("one", "192.0.2.1", f"SHA256:{'a' * 43}")
OWN = Settings("own", "a.b")
VERSIONS = kubeadm.Versions("v1.37.2", "3.7.0-0", "v1.14.6", "3.10.2")
FOLDERS = dict.fromkeys(("containerd", "runc", "kubernetes"), "/opt/x")


def documents(server: Server, found: Facts) -> dict[str, dict[str, Any]]:
    """Return the parts of kubeadm's configuration by their kinds."""
    text = kubeadm.init_config(server, VERSIONS, "a.b", facts.traits("own", server, found))
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


def test_facts_are_read() -> None:
    """A bare server says little; a node of ours says whose it is."""
    assert facts.parse("capabilities=000001ffffffffff\nunified=yes\n") == Facts()
    assert facts.parse(
        "owner=own\ncapabilities=000001fffeffffff\njoined=yes\nkubernetes=yes\nmeshed=yes\ncontrols=v1.37.2\nupgrading=yes\nkubelet=v1.36.3\n"
    ) == Facts(
        "own",
        joined=True,
        kubernetes=True,
        unified=False,
        resources=False,
        meshed=True,
        controls=True,
        version="v1.37.2",
        upgrading=True,
        kubelet="v1.36.3",
    )


def asked(root: Path) -> Facts:
    """Ask a machine whose /etc is below a folder, by the shell that asks servers."""
    return facts.parse(run(["sh", "-ec", facts.ASK.replace("/etc/", f"{root}/etc/")]))


def test_a_bare_server_is_asked(tmp_path: Path) -> None:
    """Nothing of what is looked for is there, and that is no failure."""
    assert asked(tmp_path).kubelet == asked(tmp_path).version == ""


def test_a_node_tells_what_it_runs(tmp_path: Path) -> None:
    """The kubelet that its unit starts, whichever was carried since, and its API server."""
    kubelet = tmp_path / "kubernetes-1/kubelet"
    manifests, system = tmp_path / "etc/kubernetes/manifests", tmp_path / "etc/systemd/system"
    for folder in (kubelet.parent, manifests, system, tmp_path / "etc/betelgeuse"):
        folder.mkdir(parents=True)
    kubelet.write_text("#!/bin/sh\necho Kubernetes v1.36.3\n", "utf-8")
    kubelet.chmod(0o755)
    (system / units.KUBELET).write_text(f"[Service]\nExecStart={kubelet} --config=/x $ARGS\n", "utf-8")
    (manifests / "kube-apiserver.yaml").write_text("    image: betelgeuse.local/kube-apiserver:v1.37.2\n", "utf-8")
    (tmp_path / "etc/betelgeuse/upgrading").touch()

    found = asked(tmp_path)

    assert (found.kubelet, found.version, found.upgrading) == ("v1.36.3", "v1.37.2", True)


def test_an_ordinary_server_is_told_what_kubeadm_means() -> None:
    """Systemd divides its cgroups, kubelets' certificates are signed, and nothing is lowered."""
    parts = documents(ONE, Facts())
    kubelet, proxy = parts["KubeletConfiguration"], parts["KubeProxyConfiguration"]

    assert (kubelet["cgroupDriver"], kubelet["serverTLSBootstrap"]) == ("systemd", True)
    assert "oomScoreAdj" not in kubelet.keys() | proxy.keys()
    assert parts["ClusterConfiguration"]["clusterName"] == "betelgeuse-own"
    assert parts["InitConfiguration"]["nodeRegistration"]["taints"] == []
    assert "SystemVerification" not in parts["InitConfiguration"]["nodeRegistration"]["ignorePreflightErrors"]
    assert parts["ClusterConfiguration"]["controlPlaneEndpoint"] == "192.0.2.1:6443"


def test_a_server_with_less_is_told_so() -> None:
    """Cgroup v1, no right to lower a score, a control plane that carries no pods of the platform."""
    parts = documents(dataclasses.replace(ONE, role=Role.CONTROL_PLANE), Facts(unified=False, resources=False))
    registration = parts["InitConfiguration"]["nodeRegistration"]

    assert "SystemVerification" in registration["ignorePreflightErrors"]
    assert "taints" not in registration
    assert parts["KubeletConfiguration"]["oomScoreAdj"] == 0


@pytest.mark.parametrize("resources", [True, False])
def test_containerd_lowers_scores_where_it_may(resources: bool) -> None:  # noqa: FBT001 - the case
    """In its configuration as in both units."""
    text = kubeadm.containerd_config("3.10.2", facts.traits("own", ONE, Facts(resources=resources)))
    written = [units.containerd(FOLDERS, resources=resources), units.kubelet(FOLDERS, resources=resources)]

    assert "SystemdCgroup = true" in text
    assert ("restrict_oom_score_adj = true" in text) is not resources
    assert [("OOMScoreAdjust=-999" in unit) for unit in written] == [resources, resources]
    assert all("\nLimitNOFILE=1048576\n" in unit for unit in written)


def _request(
    name: str, address: str, *, signer: str = "kubernetes.io/kubelet-serving", decided: bool = False
) -> dict[str, Any]:
    key = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = [x509.DNSName(name), x509.IPAddress(ip_address(address))]
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "system:node:one")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    asked = builder.add_extension(x509.SubjectAlternativeName(names), critical=False).sign(key, hashes.SHA256())
    text = base64.b64encode(asked.public_bytes(serialization.Encoding.PEM)).decode()
    return {
        "spec": {"signerName": signer, "username": "system:node:one", "request": text},
        "status": {"conditions": [{"type": "Approved"}]} if decided else {},
    }


def test_a_kubelets_certificate_is_for_itself_alone() -> None:
    """Its own name and address; another's, another signer's, and one that is decided are left alone."""
    own = _request("one", "192.0.2.1")
    stranger = _request("one", "192.0.2.1")
    stranger["spec"]["username"] = "system:node:two"
    there = {"192.0.2.1"}

    assert forming.approvable(own, ONE, there)
    assert not forming.approvable(stranger, ONE, there)
    assert not forming.approvable(_request("one", "192.0.2.9"), ONE, there)
    assert not forming.approvable(_request("kubernetes", "192.0.2.1"), ONE, there)
    assert not forming.approvable(
        _request("one", "192.0.2.1", signer="kubernetes.io/kube-apiserver-client"), ONE, {"192.0.2.1"}
    )
    assert not forming.approvable(_request("one", "192.0.2.1", decided=True), ONE, there)


def test_what_cannot_be_formed_is_refused_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another number of nodes, several servers in the open, and an overlay whose images no server could pull."""
    listed = {"../../.generated/images-upstream"}
    monkeypatch.setattr(overlays, "components", lambda _: listed)

    target.check(OWN, [ONE])
    several = [dataclasses.replace(ONE, name=f"s{number}", address=f"192.0.2.{number}") for number in range(1, 5)]
    own = dataclasses.replace(OWN, admin_cidrs=(IPv4Network("192.0.2.0/24"),))
    target.check(dataclasses.replace(own, nodes=3), several[:3])
    with pytest.raises(RefusedError, match=r"^3 nodes are asked for .*, overlays/own/servers\.yaml lists 1$"):
        target.check(dataclasses.replace(OWN, nodes=3), [ONE])
    with pytest.raises(RefusedError, match=r"^overlays/own/environment\.env has no ADMIN_CIDRS: "):
        target.check(dataclasses.replace(OWN, nodes=2), several[:2])
    with pytest.raises(RefusedError, match=r"4 servers run the control plane, 3 are the most"):
        target.check(dataclasses.replace(own, nodes=4), several)
    listed.clear()
    with pytest.raises(RefusedError, match=r"kustomization\.yaml lists neither \.\./\.\./\.generated/images-local "):
        target.check(OWN, [ONE])


def test_a_servers_limits_are_raised() -> None:
    """To what nodes need at least; a server that remembers none keeps its own."""
    before = "fs.inotify.max_user_instances=128\nfs.inotify.max_user_watches=1048576\nkernel.panic=0\n"

    assert programs.sysctl_file(before).splitlines()[2:] == [
        "fs.inotify.max_user_instances = 1024",
        "fs.inotify.max_user_watches = 1048576",
    ]
    assert "inotify" not in programs.sysctl_file("kernel.panic=0\n")


def test_the_firewall_lets_in_what_is_declared(tmp_path: Path) -> None:
    """Administrators' networks, the server's own SSH port, the web and the tree's ports: nft itself reads the rules."""
    server = dataclasses.replace(ONE, port=2222)
    text = firewall.rules(server, (IPv4Network("198.51.100.0/24"), IPv4Network("203.0.113.7/32")), (443, 5432, 80))
    file = tmp_path / "rules"
    file.write_text(text, "utf-8")

    assert "    ip saddr { 198.51.100.0/24, 203.0.113.7/32 } tcp dport { 2222, 6443 } accept\n" in text
    assert "    tcp dport { 80, 443, 5432 } accept\n" in text
    assert "policy drop" in text
    run(["unshare", "--net", "--map-root-user", "nft", "-f", str(file)])


def test_certificates_are_read_from_what_a_server_says() -> None:
    """The earliest first; those of etcd have its name, those of kubeconfigs theirs."""
    parts = {"pki/apiserver.crt": 200, "pki/etcd/ca.crt": 3000, "admin.conf.crt": 100}
    text = "".join(f"== {name}\n{made(days)[0].decode()}" for name, days in parts.items())

    found = renewal.parse("one", text)

    assert [(str(each), each.authority) for each in found] == [
        ("admin.conf of one", False),
        ("apiserver of one", False),
        ("etcd-ca of one", True),
    ]
    assert renewal.parse("one", "") == []


class _Far:
    """A connection that is seen to come from an address."""

    server = ONE

    def seen_from(self) -> str:
        """Say from where."""
        return "192.0.2.77"


def test_nobody_shuts_themselves_out() -> None:
    """Rules that do not hold our own address are refused before they are written."""
    far = cast("Connection", _Far())

    firewall.check(far, (IPv4Network("192.0.2.0/24"),))
    with pytest.raises(RefusedError, match=r"one sees this machine as 192\.0\.2\.77, which ADMIN_CIDRS does not hold"):
        firewall.check(far, (IPv4Network("198.51.100.0/24"),))


def test_the_rehearsals_environment_can_be_formed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its file of servers is no part of the tree: host keys are made with each server."""
    monkeypatch.setattr(servers, "file_of", lambda _: tmp_path / servers.FILE)

    assert servers.load("rehearsal") == ()
    target.check(settings.load("rehearsal"), [ONE])
