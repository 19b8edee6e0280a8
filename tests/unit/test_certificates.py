"""The embedded cluster's own certificates: when they end, who renews them, what is said."""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from betelgeuse import paths
from betelgeuse.clusters.local import certificates, cluster, guard, layout, renewal
from betelgeuse.clusters.local.certificates import MONTH, SEASON, Certificate
from betelgeuse.errors import BetelgeuseError
from betelgeuse.kube.expiry import ended, remedy
from betelgeuse.settings import Settings
from betelgeuse.workflows.status import report, table
from tests.unit.fakes import FakeKube

SETTINGS = Settings(env="local", domain="a.b", kube_context="x")
NOW = datetime.now(UTC)
PKI = "etc/kubernetes/pki"
KUBELET = "var/lib/kubelet/pki"


def made(days: float) -> tuple[bytes, bytes]:
    """Return (certificate, key) that end in so many days; the certificate is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(NOW - timedelta(days=500))
    builder = builder.not_valid_after(NOW + timedelta(days=days, hours=1))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), private


def put(node: layout.Node, name: str, days: float) -> Path:
    """Write a certificate, or a kubeconfig with one, to a node's disk."""
    file = node.root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    pem = made(days)[0]
    file.write_bytes(b"client-certificate-data: " + base64.b64encode(pem) if file.suffix == ".conf" else pem)
    return file


@pytest.fixture
def nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[layout.Node]:
    """Two nodes of a cluster of which everything is valid for 200 days, its authority for nine years."""
    monkeypatch.setattr(paths, "STATE", tmp_path / "state")
    for module in (layout, certificates):
        monkeypatch.setattr(module, "CLUSTER_DIR", tmp_path)
    found = layout.nodes(Settings(env="local", domain="a.b", nodes=2))
    for node in found:
        put(node, f"{KUBELET}/kubelet.crt", 200)
        put(node, f"{KUBELET}/kubelet-client-2026-01-01-00-00-00.pem", -100)
        put(node, f"{KUBELET}/kubelet-client-2026-11-01-00-00-00.pem", 200)
        (node.folder / "joined").touch()
    first = found[0]
    for name in ("apiserver.crt", "etcd/server.crt"):
        put(first, f"{PKI}/{name}", 200)
    pem, key = made(3000)
    (first.root / PKI / "ca.crt").write_bytes(pem)
    (first.root / PKI / "ca.key").write_bytes(key)
    put(first, "etc/kubernetes/admin.conf", 200)
    (first.root / "etc/kubernetes/kubelet.conf").write_text(
        f"client-certificate: /{KUBELET}/kubelet-client-current.pem"
    )
    return found


def names(found: Sequence[Certificate]) -> set[str]:
    """Return them as people read them."""
    return set(map(str, found))


@pytest.mark.usefixtures("nodes")
def test_everything_that_can_end_is_found() -> None:
    """Of a certificate that the kubelet renewed itself, the latest counts."""
    assert names(certificates.on_disk()) == {
        *("apiserver of node-1", "etcd-server of node-1", "ca of node-1", "admin.conf of node-1"),
        *(f"{kind} of node-{number}" for kind in ("kubelet", "kubelet-client") for number in (1, 2)),
    }
    assert certificates.due(certificates.on_disk(), SEASON) == []
    assert certificates.words([], NOW) == ""


def test_what_ends_soon_is_due_and_told(nodes: list[layout.Node]) -> None:
    """Within three months for a deploy, within one for the guard; the authority is never renewed."""
    put(nodes[0], f"{PKI}/apiserver.crt", 60)
    put(nodes[0], f"{PKI}/ca.crt", 10)
    found = certificates.on_disk()

    assert names(certificates.due(found, SEASON)) == {"apiserver of node-1"}
    assert certificates.due(found, MONTH) == []
    assert certificates.words(found, NOW).startswith("the first to end is ca of node-1, in 10 days (")
    put(nodes[0], f"{PKI}/apiserver.crt", -3)
    put(nodes[1], f"{KUBELET}/kubelet.crt", -2)
    told = certificates.words(certificates.on_disk(), NOW)
    assert told.startswith("the certificate apiserver of node-1 (and 1 more) ended 2 days ago (")


class Inside:
    """Stands in for a running node: kubeadm renews, whatever is ended starts anew."""

    def __init__(self, first: layout.Node) -> None:
        """Nothing ran yet."""
        self.first = first
        self.log: list[str] = []
        self.pid = 0
        self.runs = True

    def __call__(self, node: layout.Node, argv: Sequence[str], **_: Any) -> str:  # noqa: ANN401 - as the real one
        """Run a program."""
        if argv[0] == "pgrep":
            if not self.runs:
                raise BetelgeuseError("pgrep: nothing")  # noqa: EM101, TRY003 - a stand-in's words
            return f"{self.pid}\n"
        self.log.append(f"{node.name}: {' '.join(argv)}")
        self.pid += argv[0] == "pkill"
        if argv[0] == "kubeadm":
            put(self.first, f"{PKI}/apiserver.crt", 365)
            put(self.first, "etc/kubernetes/admin.conf", 365)
        return ""


@pytest.fixture
def inside(nodes: list[layout.Node], monkeypatch: pytest.MonkeyPatch) -> Inside:
    """Run programs nowhere."""
    found = Inside(nodes[0])
    monkeypatch.setattr(cluster, "inside", found)
    monkeypatch.setattr(cluster, "write_kubeconfig", lambda first: found.log.append(f"kubeconfig of {first.name}"))
    return found


def test_kubeadms_own_are_renewed_and_used(nodes: list[layout.Node], inside: Inside) -> None:
    """All of them, with the control plane started anew and the kubeconfig copied; then nothing is due."""
    put(nodes[0], f"{PKI}/apiserver.crt", -3)

    assert renewal.renew(nodes, SEASON)
    assert inside.log == [
        "node-1: kubeadm certs renew all --config /etc/kubernetes/kubeadm-init.yaml",
        "node-1: pkill -f ^etcd .*--data-dir=/var/lib/etcd",
        "node-1: pkill -f ^kube-apiserver ",
        "node-1: pkill -f ^kube-controller-manager ",
        "node-1: pkill -f ^kube-scheduler ",
        "kubeconfig of node-1",
    ]
    inside.log.clear()
    assert not renewal.renew(nodes, SEASON)
    assert inside.log == []


def test_a_kubelet_that_slept_too_long_is_let_in_again(nodes: list[layout.Node], inside: Inside) -> None:
    """Its client certificate is signed by the cluster's authority, under the name the node authorizer wants."""
    client = f"{KUBELET}/kubelet-client-2026-11-01-00-00-00.pem"
    put(nodes[1], client, -1)
    put(nodes[1], f"{KUBELET}/kubelet.crt", 20)
    (nodes[1].root / KUBELET / "kubelet-client-current.pem").symlink_to(f"/{client}")

    assert renewal.renew(nodes, MONTH)

    folder = nodes[1].root / KUBELET
    link = (folder / "kubelet-client-current.pem").readlink()
    file = folder / link.name
    fresh = x509.load_pem_x509_certificate(file.read_bytes())
    fresh.verify_directly_issued_by(x509.load_pem_x509_certificate((nodes[0].root / PKI / "ca.crt").read_bytes()))
    serialization.load_pem_private_key(file.read_bytes(), None)
    assert link.parent == Path(f"/{KUBELET}")
    assert fresh.subject.rfc4514_string() == "CN=system:node:node-2,O=system:nodes"
    assert file.stat().st_mode & 0o777 == 0o600
    assert not (folder / "kubelet.crt").exists()
    assert inside.log == ["node-2: pkill -f ^kubelet "]


def test_nothing_is_renewed_before_there_is_a_cluster(nodes: list[layout.Node], inside: Inside) -> None:
    """What kubeadm left half done is wiped, not renewed."""
    put(nodes[0], f"{PKI}/apiserver.crt", 1)
    (nodes[0].folder / "joined").unlink()

    assert not renewal.renew(nodes, SEASON)
    assert inside.log == []


def test_a_control_plane_that_does_not_come_back_is_told(
    nodes: list[layout.Node], inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what has not started."""
    monkeypatch.setattr(renewal, "_RESTART_SECONDS", 0.0)
    put(nodes[0], f"{PKI}/apiserver.crt", 1)
    inside.runs = False

    with pytest.raises(BetelgeuseError, match=r"control plane with new certificates: .*has not started \^etcd"):
        renewal.renew(nodes, SEASON)


def test_the_guards_program_renews_the_last_month_only(
    nodes: list[layout.Node], inside: Inside, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And tells its log."""
    monkeypatch.setattr(cluster, "recorded", lambda: nodes)
    put(nodes[0], f"{PKI}/apiserver.crt", 60)
    assert renewal.main() == 0
    assert inside.log == []
    put(nodes[0], f"{PKI}/apiserver.crt", 20)

    assert renewal.main() == 0
    assert inside.log[0].startswith("node-1: kubeadm certs renew all")
    assert "certificates were renewed" in capsys.readouterr().out


def test_the_guard_looks_once_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, and then a day later, never two at a time."""
    started: list[str] = []

    class Process:
        ended: int | None = None

        def poll(self) -> int | None:
            return self.ended

    process = Process()

    def spawn(program: str) -> Process:
        started.append(program)
        return process

    monkeypatch.setattr(guard, "spawn", spawn)
    renewals = guard.Renewals()

    renewals.tick(1e9)
    renewals.tick(1e9 + 90_000)
    assert started == ["renewal"]
    process.ended = 0
    renewals.tick(1e9 + 1)
    assert started == ["renewal"]
    renewals.tick(1e9 + 90_000)
    assert started == ["renewal", "renewal"]


def test_status_tells_the_days_and_is_red_after_them(nodes: list[layout.Node]) -> None:
    """For people and as data."""
    good = report(FakeKube().kube, [], certificates.on_disk())
    assert "  certificates: the first to end is" in table(SETTINGS, good)
    assert {"node": "node-1", "name": "apiserver", "days": 200} in good["certificates"]
    put(nodes[0], f"{PKI}/apiserver.crt", -3)
    bad = report(FakeKube().kube, [], certificates.on_disk())

    assert not bad["ready"]
    assert "  certificates: the certificate apiserver of node-1 ended 2 days ago" in table(SETTINGS, bad)
    assert "certificates" not in table(SETTINGS, report(FakeKube().kube, []))


def test_an_ended_certificate_is_named(tmp_path: Path) -> None:
    """With what renews it, which depends on whose cluster it is."""
    old, new = tmp_path / "old.crt", tmp_path / "new.crt"
    old.write_bytes(made(-3)[0])
    new.write_bytes(made(3)[0])

    assert ended(str(old)) == f"{NOW - timedelta(days=3) + timedelta(hours=1):%Y-%m-%d}"
    assert [ended(str(new)), ended(str(tmp_path / "none")), ended("")] == ["", "", ""]
    assert remedy("local") == "`invoke deploy --env=local` renews it"
    assert "kubeadm certs renew all" in remedy("hetzner")
