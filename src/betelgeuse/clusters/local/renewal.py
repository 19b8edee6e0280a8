"""Renew the certificates of the embedded cluster before they end, or after; run as a program by the guard.

kubeadm renews its own. Those of the kubelets are made here: a kubelet renews its certificate itself while it runs, but
one that slept past its end is let in nowhere, so nobody could sign it another.
"""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from betelgeuse import lock
from betelgeuse.clusters.local import certificates, cluster
from betelgeuse.clusters.local.certificates import KUBELET_CLIENT, KUBELET_SERVER, MONTH
from betelgeuse.clusters.local.layout import ENV, Node
from betelgeuse.errors import BetelgeuseError, LockedError
from betelgeuse.progress import say, step

_YEAR: Final = timedelta(days=365)
_RESTART_SECONDS: Final = 600.0
"""An API server that ends answers its clients for a minute; one that finds no etcd yet is started ever later."""
_PKI: Final = "var/lib/kubelet/pki"
_CONFIG: Final = "/etc/kubernetes/kubeadm-init.yaml"
STATIC_PODS: Final = (
    # What follows keeps a pod's own etcd apart from the cluster's.
    r"^etcd .*--data-dir=/var/lib/etcd",
    "^kube-apiserver ",
    "^kube-controller-manager ",
    "^kube-scheduler ",
)


def kubelet_client(node: Node, first: Node) -> None:
    """Make a client certificate of a node's kubelet, signed by the cluster's authority, and put it where it looks."""
    pki = first.root / "etc/kubernetes/pki"
    authority = x509.load_pem_x509_certificate((pki / "ca.crt").read_bytes())
    signer = serialization.load_pem_private_key((pki / "ca.key").read_bytes(), password=None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        message = f"{pki / 'ca.key'} is neither RSA nor ECDSA"
        raise BetelgeuseError(message)
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    parts = ((NameOID.ORGANIZATION_NAME, "system:nodes"), (NameOID.COMMON_NAME, f"system:node:{node.name}"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(part, value) for part, value in parts]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _YEAR)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    folder = node.root / _PKI
    file = folder / f"kubelet-client-{now:%Y-%m-%d-%H-%M-%S}.pem"
    file.touch(mode=0o600)
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    link = folder / "kubelet-client-current.new"
    link.unlink(missing_ok=True)
    # As the kubelet names it: the path is one inside the node.
    link.symlink_to(f"/{_PKI}/{file.name}")
    link.rename(folder / "kubelet-client-current.pem")


def _pids(node: Node, pattern: str) -> set[str]:
    with contextlib.suppress(BetelgeuseError):
        return set(cluster.inside(node, ["pgrep", "-f", pattern]).split())
    return set()


def end(node: Node, pattern: str) -> None:
    """End the programs of a node whose command line is like that; they are started anew."""
    # None to end is no failure: whatever starts it next reads the new files.
    with contextlib.suppress(BetelgeuseError):
        cluster.inside(node, ["pkill", "-f", pattern])


def _old(first: Node, before: dict[str, set[str]]) -> str:
    """Return what has not started anew yet."""
    waiting = [pattern for pattern, pids in before.items() if not _pids(first, pattern) - pids]
    return f"the kubelet has not started {', '.join(waiting)} again" if waiting else ""


def restart(first: Node, what: str, meanwhile: Callable[[], None] = lambda: None) -> None:
    """End the control plane's programs and wait until the kubelet has started each anew; `meanwhile` comes before."""
    before = {pattern: _pids(first, pattern) for pattern in STATIC_PODS}
    meanwhile()
    for pattern in STATIC_PODS:
        end(first, pattern)
    cluster.wait(what, _RESTART_SECONDS, partial(_old, first, before))


def renew(nodes: Sequence[Node], within: timedelta) -> bool:
    """Renew what ends within a time, and have everything use it; return whether anything was due."""
    first, names = nodes[0], {node.name for node in nodes}
    due = [each for each in certificates.due(certificates.on_disk(), within) if each.node in names]
    if not due or not cluster.joined(first):
        return False
    say(f"{certificates.words(due, datetime.now(UTC))}: {len(due)} are renewed")
    kubeadms = any(each.name not in {KUBELET_CLIENT, KUBELET_SERVER} for each in due)
    with step("renewing the cluster's certificates"):
        if kubeadms:
            argv = ["kubeadm", "certs", "renew", "all", "--config", _CONFIG]
            cluster.inside(first, argv, log=first.log / "kubeadm-renew.log")
        for node in nodes:
            mine = {each.name for each in due if each.node == node.name}
            if KUBELET_CLIENT in mine:
                kubelet_client(node, first)
            if KUBELET_SERVER in mine:
                # It signs itself another.
                for suffix in ("crt", "key"):
                    (node.root / _PKI / f"kubelet.{suffix}").unlink(missing_ok=True)
            if mine & {KUBELET_CLIENT, KUBELET_SERVER}:
                end(node, "^kubelet ")
        if kubeadms:
            restart(first, "control plane with new certificates")
            cluster.write_kubeconfig(first)
    return True


def main() -> int:
    """Renew what ends within a month; a deploy that is under way does it itself."""
    nodes = cluster.recorded()
    if not certificates.due(certificates.on_disk(), MONTH):
        return 0
    try:
        with lock.exclusive(ENV, "renewal of certificates"):
            renewed = bool(nodes) and renew(nodes, MONTH)
    except LockedError:
        return 0
    except BetelgeuseError as error:
        sys.stdout.write(f"{time.strftime('%F %T')} certificates were not renewed: {error}\n")
        return error.exit_code
    if renewed:
        sys.stdout.write(f"{time.strftime('%F %T')} certificates were renewed (pid {os.getpid()})\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
