"""Ask again for certificates that an issuer refused, where cert-manager would wait for an hour."""

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from betelgeuse.kube import ApiError, Key, Kube, Obj, key_of
from betelgeuse.progress import say

_API: Final = "cert-manager.io/v1"
_EVERY: Final = 20.0
_AGAIN: Final = 2
"""How often one certificate is asked for again in one deploy: public issuers count refusals, five an hour at Let's
Encrypt."""


def given_up(certificate: Obj) -> bool:
    """Whether the last attempt failed, nothing valid is there, and cert-manager waits before the next."""
    found = {each["type"]: each for each in certificate.get("status", {}).get("conditions", ())}
    issuing = found.get("Issuing", {})
    return found.get("Ready", {}).get("status") != "True" and (issuing.get("status"), issuing.get("reason")) == (
        "False",
        "Failed",
    )


def _asked(certificate: Obj) -> dict[str, Any]:
    """Return the patch of its status that `cmctl renew` makes, for exactly the version that was seen."""
    kept = [each for each in certificate["status"]["conditions"] if each["type"] != "Issuing"]
    issuing = {
        "type": "Issuing",
        "status": "True",
        "reason": "ManuallyTriggered",
        "message": "Asked for again by a deploy",
        "lastTransitionTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "observedGeneration": certificate["metadata"].get("generation", 1),
    }
    version = certificate["metadata"]["resourceVersion"]
    return {"metadata": {"resourceVersion": version}, "status": {"conditions": [*kept, issuing]}}


class Retry:
    """The certificates of one deploy: a validation that met a gateway in the middle of a change is made again."""

    def __init__(self, kube: Kube, objects: Iterable[Obj]) -> None:
        """Remember the certificates among some objects."""
        self._kube = kube
        self._left = {
            key_of(obj): _AGAIN for obj in objects if obj["apiVersion"] == _API and obj["kind"] == "Certificate"
        }
        self._looked = time.monotonic()

    def look(self) -> None:
        """Ask again for what was refused; at most one look every 20 s, and two requests for each certificate."""
        if not self._left or time.monotonic() - self._looked < _EVERY:
            return
        self._looked = time.monotonic()
        for certificate in self._kube.list(_API, "Certificate"):
            key = key_of(certificate)
            if self._left.get(key, 0) and given_up(certificate):
                self._ask(key, certificate)

    def _ask(self, key: Key, certificate: Obj) -> None:
        path = f"/apis/{_API}/namespaces/{key.namespace}/certificates/{key.name}/status"
        try:
            self._kube.request("PATCH", path, body=_asked(certificate), content_type="application/merge-patch+json")
        except ApiError:
            # Somebody wrote it since: the next look sees what it is then.
            return
        self._left[key] -= 1
        say(f"{key}: refused by its issuer, asked for again")
