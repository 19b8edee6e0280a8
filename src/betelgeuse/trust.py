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


def _register_anew(kube: Kube) -> None:
    """Make cert-manager register its ACME account again: an issuer with a new root is one that forgot its accounts."""
    path = "/apis/cert-manager.io/v1/clusterissuers/platform/status"
    say("the ACME server started anew and forgot its accounts: cert-manager registers again")
    forget = {"status": {"acme": {"uri": ""}}}
    kube.request("PATCH", path, body=forget, content_type="application/merge-patch+json")


def stores(env: str, kube: Kube) -> Path | None:
    """Write the root of the databases' and brokers' CA to a file of its own and return it; None before it is made."""
    root = _kept(kube, "stores-ca")
    if not root:
        return None
    target = stores_path(env)
    paths.settle(target, root)
    return target


def present(kube: Kube, objects: Iterable[Obj]) -> str:
    """Return the roots that the environment's issuer has now; empty where public roots are enough."""
    pebble = any((obj["kind"], obj["metadata"]["name"]) == ("Namespace", "pebble") for obj in objects)
    try:
        return kube.raw(_PEBBLE) if pebble else _kept(kube, "own-ca")
    except BetelgeuseError as error:
        message = f"the issuer's root cannot be read: {error}"
        raise BetelgeuseError(message) from None


def refresh(env: str, kube: Kube, roots: str) -> Path | None:
    """Add the environment's present roots to its bundle and return the file; None where there are none.

    Old roots stay: certificates issued before the issuer's restart are still served until they are issued anew.
    """
    if not roots:
        return None
    _add(env, kube, roots)
    return bundle_path(env)


def _add(env: str, kube: Kube, roots: str) -> bool:
    """Add roots to the bundle; return whether they are those of an issuer that started anew."""
    target = bundle_path(env)
    known = target.read_text() if target.is_file() else ""
    merged = merge(known, roots)
    if merged == known:
        return False
    if known:
        _register_anew(kube)
    paths.write(target, merged)
    return bool(known)


def started_anew(env: str, kube: Kube) -> bool:
    """Tell whether the ACME server in the cluster started anew since the last look; cert-manager registers then."""
    try:
        return _add(env, kube, kube.raw(_PEBBLE))
    except BetelgeuseError:
        # There is none, or it does not answer yet.
        return False
