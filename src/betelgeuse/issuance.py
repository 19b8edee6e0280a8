"""Ask for certificates again: those that an issuer refused, and those that lead to a root it has no more."""

import base64
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final

from cryptography import x509

from betelgeuse.errors import WaitTimeoutError
from betelgeuse.kube import ApiError, Key, Kube, Obj, key_of
from betelgeuse.progress import Ticker, say

_API: Final = "cert-manager.io/v1"
_ISSUER: Final = "platform"
_EVERY: Final = 20.0
_RENEWED_SECONDS: Final = 300.0
_PAUSE: Final = 1.0
_AGAIN: Final = 2
"""How often one certificate is asked for again in one deploy: public issuers count refusals, five an hour at Let's
Encrypt."""


def _conditions(certificate: Obj) -> dict[str, Obj]:
    return {each["type"]: each for each in certificate.get("status", {}).get("conditions", ())}


def given_up(certificate: Obj) -> bool:
    """Whether the last attempt failed, nothing valid is there, and cert-manager waits before the next."""
    found = _conditions(certificate)
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

    def __init__(self, kube: Kube, objects: Iterable[Obj], started_anew: Callable[[], bool]) -> None:
        """Remember the certificates among some objects.

        `started_anew` tells whether the issuer knows its accounts for a moment only: asked before, it would refuse.
        """
        self._kube = kube
        self._started_anew = started_anew
        self._left = {
            key_of(obj): _AGAIN for obj in objects if obj["apiVersion"] == _API and obj["kind"] == "Certificate"
        }
        self._looked = time.monotonic()

    def look(self) -> None:
        """Ask again for what was refused; at most one look every 20 s, and two requests for each certificate."""
        if not self._left or time.monotonic() - self._looked < _EVERY:
            return
        self._looked = time.monotonic()
        refused = {key_of(each): each for each in self._kube.list(_API, "Certificate") if given_up(each)}
        if refused and self._started_anew():
            return
        for key, certificate in refused.items():
            if self._left.get(key, 0) and _ask(self._kube, certificate):
                self._left[key] -= 1
                say(f"{key}: refused by its issuer, asked for again")


def _ask(kube: Kube, certificate: Obj) -> bool:
    """Ask for a certificate again; False where somebody wrote it since, which the next look will see."""
    meta = certificate["metadata"]
    path = f"/apis/{_API}/namespaces/{meta['namespace']}/certificates/{meta['name']}/status"
    try:
        kube.request("PATCH", path, body=_asked(certificate), content_type="application/merge-patch+json")
    except ApiError:
        return False
    return True


def _strangers(kube: Kube, roots: str) -> list[Obj]:
    """Return the certificates of the platform's issuer that were issued under another root than these."""
    known = {root.subject for root in x509.load_pem_x509_certificates(roots.encode())}
    secrets = {
        (each["metadata"]["namespace"], each["metadata"]["name"]): base64.b64decode(each["data"]["tls.crt"])
        for each in kube.list("v1", "Secret", fields="type=kubernetes.io/tls")
    }
    found = []
    for certificate in kube.list(_API, "Certificate"):
        spec = certificate["spec"]
        chain = secrets.get((certificate["metadata"]["namespace"], spec["secretName"]), b"")
        # One that was never issued is awaited with everything else that is not ready.
        if (
            spec["issuerRef"]["name"] == _ISSUER
            and chain
            and x509.load_pem_x509_certificates(chain)[-1].issuer not in known
        ):
            found.append(certificate)
    return found


def follow(kube: Kube, roots: str) -> int:
    """Have what leads to a root that the issuer has no more issued anew; return how many certificates.

    Whoever learns the roots from now on, a new laptop or a notebook's server, cannot know the older one. Raises
    WaitTimeoutError with what is left after five minutes.
    """
    asked: set[Key] = set()
    with Ticker(_RENEWED_SECONDS) as ticker:
        while left := _strangers(kube, roots):
            for certificate in left:
                issuing = _conditions(certificate).get("Issuing", {}).get("status") == "True"
                if not issuing and key_of(certificate) not in asked and _ask(kube, certificate):
                    asked.add(key_of(certificate))
            reason = f"{len(left)} certificates are of a root that the issuer has no more: {key_of(left[0])}"
            if ticker.elapsed > _RENEWED_SECONDS:
                message = f"{reason}, after {_RENEWED_SECONDS:.0f} s; see kubectl get certificaterequests -A"
                raise WaitTimeoutError(message)
            ticker.update(reason)
            time.sleep(_PAUSE)
    if asked:
        say(f"{len(asked)} certificates were issued anew, as the issuer has another root")
    return len(asked)
