"""A private etcd and kube-apiserver on loopback: the real API, without nodes or controllers."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
import requests
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from betelgeuse import inventory, paths
from betelgeuse import prune as prune_module
from betelgeuse.clusters.local import audit
from betelgeuse.kube import Kube, connect
from betelgeuse.settings import Settings
from tests.ports import free_port

CONTEXT = "betelgeuse-local"

START_SECONDS = 240.0
"""The API server migrates its storage and registers its groups: 3 s idle, 30 s on a busy machine."""


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    form, encoding = serialization.PrivateFormat.TraditionalOpenSSL, serialization.Encoding.PEM
    return key.private_bytes(encoding, form, serialization.NoEncryption())


class Authority:
    """A certificate authority for one test run."""

    def __init__(self, folder: Path) -> None:
        """Make the CA and write ca.crt."""
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "engine-test")])
        builder = self._builder(self.name, self.key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        (folder / "ca.crt").write_bytes(self._sign(builder))

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, life: timedelta = timedelta(days=1)
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key)
        builder = builder.serial_number(x509.random_serial_number())
        return builder.not_valid_before(now - timedelta(minutes=5)).not_valid_after(now + life)

    def _sign(self, builder: x509.CertificateBuilder) -> bytes:
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def issue(self, name: str, organisation: str | None = None, life: timedelta = timedelta(days=1)) -> None:
        """Write name.crt and name.key, valid for loopback."""
        key = ec.generate_private_key(ec.SECP256R1())
        parts = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
        parts += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation)] if organisation else []
        names = [x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("localhost")]
        builder = self._builder(x509.Name(parts), key.public_key(), life)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        (self.folder / f"{name}.crt").write_bytes(self._sign(builder))
        (self.folder / f"{name}.key").write_bytes(_pem(key))


def kubeconfig(folder: Path, port: int, context: str) -> Path:
    """Write the administrator's kubeconfig."""
    cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(folder / "ca.crt")}
    user = {"client-certificate": str(folder / "admin.crt"), "client-key": str(folder / "admin.key")}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "engine", "cluster": cluster}],
        "users": [{"name": "admin", "user": user}],
        "contexts": [{"name": context, "context": {"cluster": "engine", "user": "admin"}}],
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(document))
    return path


def binaries(folder: Path) -> tuple[Path, Path] | None:
    """Return (etcd, kube-apiserver) of a build store, or None."""
    # `go build` names etcd's command after its folder, `server`.
    etcd = next((folder / name for name in ("etcd", "server") if (folder / name).is_file()), None)
    apiserver = folder / "kube-apiserver"
    return (etcd, apiserver) if etcd and apiserver.is_file() else None


def _ready(folder: Path, port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    certificates = (str(folder / "admin.crt"), str(folder / "admin.key"))
    last = "no answer"
    while time.monotonic() < deadline:
        assert process.poll() is None, f"kube-apiserver died: {(folder / 'apiserver.log').read_text()[-2000:]}"
        try:
            address = f"https://127.0.0.1:{port}/readyz"
            answer = requests.get(address, verify=str(folder / "ca.crt"), cert=certificates, timeout=5)
            last = answer.text
            if answer.ok:
                return
        except requests.RequestException as error:
            last = str(error)
        time.sleep(0.2)
    message = f"kube-apiserver was not ready after {START_SECONDS:g} s: {last}"
    raise AssertionError(message)


@contextmanager
def running(etcd: Path, apiserver: Path, folder: Path, context: str) -> Iterator[Path]:
    """Run both until the block ends; yield the kubeconfig."""
    authority = Authority(folder)
    authority.issue("apiserver")
    authority.issue("admin", "system:masters")
    authority.issue("former", "system:masters", timedelta(minutes=-1))
    (folder / "sa.key").write_bytes(_pem(ec.generate_private_key(ec.SECP256R1())))
    (folder / "audit.yaml").write_text(audit.document())
    audits = {flag["name"]: flag["value"] for flag in audit.arguments()} | {"audit-policy-file": folder / "audit.yaml"}
    client, peer, port = free_port(), free_port(), free_port()
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str, argv: list[str]) -> subprocess.Popen[bytes]:
        with (folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 - our own build, on loopback
                argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=folder
            )
        started.append(process)
        return process

    try:
        start(
            "etcd",
            [
                str(etcd),
                f"--data-dir={folder / 'etcd'}",
                f"--listen-client-urls=http://127.0.0.1:{client}",
                f"--advertise-client-urls=http://127.0.0.1:{client}",
                f"--listen-peer-urls=http://127.0.0.1:{peer}",
                # The data dies with the test: waiting for the disk would only slow it down.
                "--unsafe-no-fsync",
            ],
        )
        server = start(
            "apiserver",
            [
                str(apiserver),
                f"--etcd-servers=http://127.0.0.1:{client}",
                "--bind-address=127.0.0.1",
                f"--secure-port={port}",
                f"--tls-cert-file={folder / 'apiserver.crt'}",
                f"--tls-private-key-file={folder / 'apiserver.key'}",
                f"--client-ca-file={folder / 'ca.crt'}",
                "--authorization-mode=RBAC",
                # As kubeadm sets it: what runs the pod network needs it.
                "--allow-privileged=true",
                "--service-cluster-ip-range=10.96.0.0/16",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={folder / 'sa.key'}",
                f"--service-account-signing-key-file={folder / 'sa.key'}",
                # No controller makes the default ServiceAccounts here.
                "--disable-admission-plugins=ServiceAccount",
                *(f"--{name}={value}" for name, value in audits.items()),
            ],
        )
        path = kubeconfig(folder, port, context)
        _ready(folder, port, server)
        yield path
    finally:
        # The data dies with the test, so nothing needs a graceful end.
        for process in reversed(started):
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def controlplane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the kubeconfig of a running API server, shared by a session; each test uses namespaces of its own."""
    store = os.environ.get("BETELGEUSE_APISERVER_DIR", "")
    found = binaries(Path(store)) if store else None
    if found is None:
        pytest.skip("BETELGEUSE_APISERVER_DIR names no folder with etcd and kube-apiserver (a build store's bin/)")
    with running(*found, tmp_path_factory.mktemp("controlplane"), CONTEXT) as path:
        yield path


@pytest.fixture
def settings(controlplane: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Describe an environment whose cluster is the running API server."""
    monkeypatch.setattr(paths, "STATE", tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(controlplane))
    monkeypatch.delenv("KUBE_CONTEXT", raising=False)
    # No controller empties a namespace here: what does not go at once never goes.
    monkeypatch.setattr(prune_module, "_FINALISE_SECONDS", 1.0)
    return Settings(env="local", domain="betelgeuse.test", kube_context=CONTEXT)


@pytest.fixture
def kube(settings: Settings) -> Iterator[Kube]:
    """Open the door to it; what a test leaves is removed, so that the next one starts from nothing of ours."""
    door = connect(settings)
    yield door
    prune_module.prune(door, inventory.load(door), [])
    meta = {"name": inventory.NAME, "namespace": inventory.NAMESPACE}
    door.delete({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta})
    door.pool.clear()
