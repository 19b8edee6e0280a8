"""The roots a client must trust to reach an environment, as one PEM file."""

import base64
import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from betelgeuse import paths
from betelgeuse.errors import BetelgeuseError
from betelgeuse.kube import Kube, Obj
from betelgeuse.progress import say

_PEBBLE: Final = "/api/v1/namespaces/pebble/services/https:pebble:management/proxy/roots/0"
"""Pebble's management endpoint through the API server: it makes a new root each time it starts."""


def bundle_path(env: str) -> Path:
    """Return where the roots of an environment are kept."""
    return paths.state_dir(env) / "ca.pem"


def stores_path(env: str) -> Path:
    """Return where the root of an environment's databases and brokers is kept."""
    return paths.state_dir(env) / "stores-ca.pem"


def merge(*bundles: str) -> str:
    """Return all certificates of several PEM texts, each once, in order; a text without any adds nothing."""
    seen: dict[bytes, None] = {}
    for bundle in bundles:
        with contextlib.suppress(ValueError):
            for certificate in x509.load_pem_x509_certificates(bundle.encode()):
                seen.setdefault(certificate.public_bytes(Encoding.PEM))
    return b"".join(seen).decode()


def _kept(kube: Kube, name: str) -> str:
    """Return the root that cert-manager keeps in a Secret; empty where there is none."""
    secret = kube.get("v1", "Secret", name, "cert-manager")
    return "" if secret is None else base64.b64decode(secret["data"]["ca.crt"]).decode()


def _current(kube: Kube, namespaces: set[str]) -> str:
    return kube.raw(_PEBBLE) if "pebble" in namespaces else _kept(kube, "own-ca")


def _register_anew(kube: Kube) -> None:
    """Make cert-manager register its ACME account again: an issuer with a new root is one that forgot its accounts."""
    path = "/apis/cert-manager.io/v1/clusterissuers/platform/status"
    say("the ACME server started anew and forgot its accounts: cert-manager registers again")
    forget = {"status": {"acme": {"uri": ""}}}
    kube.request("PATCH", path, body=forget, content_type="application/merge-patch+json")


def _write(target: Path, text: str) -> None:
    """Write a file whole or not at all: clients may read it at any moment."""
    draft = target.with_suffix(".new")
    draft.write_text(text)
    draft.rename(target)


def stores(env: str, kube: Kube) -> Path | None:
    """Write the root of the databases' and brokers' CA to a file of its own and return it; None before it is made."""
    root = _kept(kube, "stores-ca")
    if not root:
        return None
    target = stores_path(env)
    if not target.is_file() or target.read_text() != root:
        _write(target, root)
    return target


def refresh(env: str, kube: Kube, objects: Iterable[Obj]) -> Path | None:
    """Add the environment's present roots to its bundle and return the file; None where public roots are enough.

    Old roots stay: certificates issued before the issuer's restart are still valid and still served.
    """
    try:
        present = _current(kube, {obj["metadata"]["name"] for obj in objects if obj["kind"] == "Namespace"})
    except BetelgeuseError as error:
        message = f"the issuer's root cannot be read: {error}"
        raise BetelgeuseError(message) from None
    if not present:
        return None
    target = bundle_path(env)
    known = target.read_text() if target.is_file() else ""
    merged = merge(known, present)
    if merged != known:
        if known:
            _register_anew(kube)
        _write(target, merged)
    return target
