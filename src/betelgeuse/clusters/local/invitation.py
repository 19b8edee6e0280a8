"""What a further node needs to find its way into a cluster: a token that ends by itself, and whom to believe."""

import hashlib
import json
import secrets
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_LIFE: Final = timedelta(minutes=10)


def token() -> tuple[str, str]:
    """Return a new bootstrap token, and the Secret (JSON) that makes it known to the API server for ten minutes."""
    made = f"{secrets.token_hex(3)}.{secrets.token_hex(8)}"
    return made, bootstrap_token_secret(made, (datetime.now(UTC) + _LIFE).strftime("%Y-%m-%dT%H:%M:%SZ"))


def pin(authority: bytes) -> str:
    """Return by what kubeadm recognises a cluster: the hash of its authority's public key (certificate in PEM)."""
    public = x509.load_pem_x509_certificate(authority).public_key()
    return f"sha256:{hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()}"


def bootstrap_token_secret(token: str, expires: str) -> str:
    """Return the Secret (JSON) that makes a bootstrap token known to the API server."""
    token_id, _, token_secret = token.partition(".")
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "bootstrap.kubernetes.io/token",
            "metadata": {"name": f"bootstrap-token-{token_id}", "namespace": "kube-system"},
            "stringData": {
                "token-id": token_id,
                "token-secret": token_secret,
                "expiration": expires,
                "usage-bootstrap-authentication": "true",
                "usage-bootstrap-signing": "true",
                "auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token",
            },
        }
    )
