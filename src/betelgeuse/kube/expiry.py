"""Whether the certificate we show a cluster has ended: the API server itself says no more than "Unauthorized"."""

from datetime import UTC, datetime
from pathlib import Path

from betelgeuse.settings import LOCAL


def ended(certificate: str) -> str:
    """Return the day on which a client certificate (a file) ended; empty while it is valid, or where there is none."""
    # 60 ms of import that only a failure needs.
    from cryptography import x509  # noqa: PLC0415

    try:
        ends = x509.load_pem_x509_certificate(Path(certificate).read_bytes()).not_valid_after_utc
    except (OSError, ValueError):
        return ""
    return f"{ends:%Y-%m-%d}" if ends <= datetime.now(UTC) else ""


def remedy(env: str) -> str:
    """Return what mends an expired certificate of an environment."""
    if env == LOCAL:
        return f"`invoke deploy --env={env}` renews it"
    return "renew it where the cluster is made (kubeadm: `kubeadm certs renew all`), and fetch the kubeconfig anew"
