"""Secrets at rest: the key under which the API server writes them to etcd, made once per cluster, kept on its node.

It protects what leaves the node: snapshots, backups, a copied data folder. Whoever is root on the node reads both.
"""

import base64
import secrets
from pathlib import Path
from typing import Final

import yaml

from betelgeuse import paths
from betelgeuse.clusters.local.layout import Node
from betelgeuse.errors import BetelgeuseError

FOLDER: Final = "/etc/kubernetes/encryption"
FILE: Final = f"{FOLDER}/config.yaml"
_KEY_BYTES: Final = 32
"""What secretbox (XSalsa20 and Poly1305) takes."""


def document(key: bytes) -> str:
    """Return the API server's configuration: what it writes is sealed, what it reads may be older than the key."""
    provider = {"secretbox": {"keys": [{"name": "cluster", "secret": base64.b64encode(key).decode()}]}}
    resources = [{"resources": ["secrets"], "providers": [provider, {"identity": {}}]}]
    content = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration", "resources": resources}
    return yaml.safe_dump(content, sort_keys=False)


def file_of(node: Node) -> Path:
    """Return the file on this machine; inside the node it is FILE."""
    return node.root / FILE.lstrip("/")


def fresh() -> str:
    """Return the document with a new key."""
    return document(secrets.token_bytes(_KEY_BYTES))


def sealed(node: Node) -> Path:
    """Return the marker that says: no Secret of this cluster lies in etcd in the clear."""
    return node.folder / "sealed"


def ensure(node: Node) -> None:
    """Make the key unless it is there; raise BetelgeuseError rather than make a second one for sealed data."""
    file = file_of(node)
    if file.is_file():
        return
    if sealed(node).is_file():
        message = (
            f"{file} is gone, and with it the key of this cluster's Secrets: put it back from a backup,"
            " or begin anew with `invoke destroy --env=local`"
        )
        raise BetelgeuseError(message)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.parent.chmod(0o700)
    paths.write(file, fresh(), private=True)
