"""When the certificates of the embedded cluster end: read from its nodes' disks, whether anything runs or not."""

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from betelgeuse.clusters.local.layout import CLUSTER_DIR

PATTERNS: Final = (
    "nodes/*/root/etc/kubernetes/pki/*.crt",
    "nodes/*/root/etc/kubernetes/pki/etcd/*.crt",
    "nodes/*/root/etc/kubernetes/*.conf",
    "nodes/*/root/var/lib/kubelet/pki/kubelet.crt",
    # The link beside them, kubelet-client-current.pem, leads somewhere only inside the node.
    "nodes/*/root/var/lib/kubelet/pki/kubelet-client-2*.pem",
)
"""Where they are, below the cluster's folder."""
SEASON: Final = timedelta(days=90)
"""A deploy renews what ends within this time."""
MONTH: Final = timedelta(days=30)
"""What ends within this time is renewed by the guard."""
KUBELET_CLIENT: Final = "kubelet-client"
KUBELET_SERVER: Final = "kubelet"
_AUTHORITIES: Final = frozenset({"ca", "front-proxy-ca", "etcd-ca"})
_EMBEDDED: Final = re.compile(r"client-certificate-data: ([A-Za-z0-9+/=]+)")
_NODE: Final = re.compile(r"/nodes/([^/]+)/root/")


@dataclass(frozen=True, order=True)
class Certificate:
    """One certificate; the earliest comes first."""

    ends: datetime
    node: str
    name: str

    @property
    def authority(self) -> bool:
        """Whether it is one that others are checked with: renewing it would make a new cluster of the old one."""
        return self.name in _AUTHORITIES

    def __str__(self) -> str:
        """Return `apiserver of node-1`."""
        return f"{self.name} of {self.node}"


def parse(path: str, text: str) -> Certificate | None:
    """Read a certificate, or a kubeconfig with one in it; None for a kubeconfig without, as the kubelet's."""
    # 60 ms of import that a command without a look at certificates need not pay.
    from cryptography import x509  # noqa: PLC0415

    file = Path(path)
    if file.suffix == ".conf":
        found = _EMBEDDED.search(text)
        if found is None or file.stem == "kubelet":
            return None
        text = base64.b64decode(found[1]).decode()
    name = file.name if file.suffix == ".conf" else file.stem
    if file.parent.name == "etcd":
        name = f"etcd-{name}"
    if name.startswith(f"{KUBELET_CLIENT}-"):
        name = KUBELET_CLIENT
    node = _NODE.search(path)
    ends = x509.load_pem_x509_certificates(text.encode())[0].not_valid_after_utc
    return Certificate(ends, node[1] if node else "", name)


def collect(files: Iterable[tuple[str, str]]) -> list[Certificate]:
    """Return the certificates in files (path, text), the earliest to end first; of a rotated one, the latest counts."""
    latest: dict[tuple[str, str], Certificate] = {}
    for path, text in files:
        found = parse(path, text)
        if found is not None:
            key = found.node, found.name
            latest[key] = max(latest.get(key, found), found)
    return sorted(latest.values())


def on_disk() -> list[Certificate]:
    """Return the certificates of the cluster's nodes, the earliest to end first."""
    return collect((str(path), path.read_text()) for pattern in PATTERNS for path in CLUSTER_DIR.glob(pattern))


def due(certificates: Iterable[Certificate], within: timedelta) -> list[Certificate]:
    """Return those that end within a time and can be renewed."""
    limit = datetime.now(UTC) + within
    return [each for each in certificates if each.ends < limit and not each.authority]


def days(certificate: Certificate, now: datetime) -> int:
    """Return the whole days a certificate is valid for; negative once it ended."""
    return (certificate.ends - now) // timedelta(days=1)


def words(certificates: Sequence[Certificate], now: datetime) -> str:
    """Return in one line which ends first, and when; empty where there is none."""
    if not certificates:
        return ""
    first = certificates[0]
    left = days(first, now)
    ended = sum(each.ends <= now for each in certificates)
    if ended:
        more = f" (and {ended - 1} more)" if ended > 1 else ""
        return f"the certificate {first}{more} ended {-left - 1} days ago ({first.ends:%Y-%m-%d})"
    return f"the first to end is {first}, in {left} days ({first.ends:%Y-%m-%d})"
