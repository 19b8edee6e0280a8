"""Secrets that the platform made for itself."""

import base64
from typing import Final

import yaml

from conformance.secrecy import MASKER
from conformance.site import Site

_LONG: Final = 12
"""Shorter values are no secrets by themselves: a user's name, a word of a URL."""
_OWN: Final = "betelgeuse.io/generate"


def secrets(site: Site) -> dict[str, str]:
    """Return value -> name of every secret this platform made for itself."""
    found: dict[str, str] = {}
    # What is written in the tree lies beside a secret and is none, wherever it was copied to: a server's name.
    written: set[str] = set()
    for namespace in site.tree.namespaces:
        for secret in site.cluster.list("v1", "Secret", namespace):
            made = yaml.safe_load((secret["metadata"].get("annotations") or {}).get(_OWN, "")) or {}
            for key, coded in (secret.get("data") or {}).items() if made else ():
                value = base64.b64decode(coded).decode("utf-8", "replace").strip()
                if str(made.get(key, "")).startswith("literal:"):
                    written.add(value)
                elif len(value) >= _LONG and "BEGIN CERTIFICATE" not in value:
                    found[value] = f"Secret {namespace}/{secret['metadata']['name']} key {key}"
    kept = {value: name for value, name in found.items() if value not in written}
    for value in kept:
        MASKER.learn(value)
    return kept
