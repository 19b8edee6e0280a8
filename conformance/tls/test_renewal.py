"""Certificates renew themselves, and nobody notices."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

import pytest

from conformance.probes.http import Answer, Request
from conformance.site import Site
from conformance.timeouts import TIMEOUTS
from conformance.tree import Host, Ref, TlsName
from conformance.verdict import poll, require

_PACE: Final = 0.05
"""Seconds between two requests: a gap of service longer than this is seen."""


def test_certificate_is_ready(site: Site, certificate: Ref) -> None:
    """Every certificate of the tree is issued and renews itself before it expires."""
    live = site.cluster.get(certificate) or {}
    status = live.get("status", {})
    ready: dict[str, Any] = next((c for c in status.get("conditions", []) if c["type"] == "Ready"), {})
    renewal, end = status.get("renewalTime"), status.get("notAfter")
    # Room to notice a failing issuer: a tenth of the lifetime, or a week where that is less.
    early = bool(renewal and end) and (
        datetime.fromisoformat(end) - datetime.fromisoformat(renewal)
        >= min(0.1 * (datetime.fromisoformat(end) - datetime.fromisoformat(status["notBefore"])), timedelta(days=7))
    )

    require(
        ready.get("status") == "True"
        and early
        and datetime.fromisoformat(renewal) > datetime.now(UTC) - timedelta(hours=1),
        where=str(certificate),
        want="Ready, with a renewal planned well before the end",
        got=f"Ready={ready.get('status')} {ready.get('message', '')}, renewal {renewal}, end {end}",
        reproduce=certificate.kubectl("describe"),
    )


class _Traffic:
    """Requests, one after another, until told to stop: what clients would have seen meanwhile."""

    def __init__(self, site: Site, host: Host) -> None:
        self.site, self.host = site, host
        self.request = Request(host.name, host.door.path, headers=site.credentials(host))
        self.failures: list[Answer] = []
        self.sent = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stop.wait(_PACE):
            answer = self.site.send(self.request)
            self.sent += 1
            if not 200 <= answer.status < 400:
                self.failures.append(answer)

    def flow(self, count: int) -> None:
        """Return when this many more requests are done."""
        enough = self.sent + count
        poll(lambda: self.sent, lambda sent: sent >= enough, TIMEOUTS.answer)

    def __enter__(self) -> Self:
        self._thread.start()
        self.flow(2)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(TIMEOUTS.answer)


def _issue_now() -> dict[str, str]:
    """Return the condition that `cmctl renew` sets."""
    return {
        "type": "Issuing",
        "status": "True",
        "reason": "ManuallyTriggered",
        "message": "Certificate re-issuance manually triggered by the conformance suite",
        "lastTransitionTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


@pytest.mark.feature("forced-renewal")
def test_renewal_is_served_without_a_failed_request(site: Site) -> None:
    """A renewed certificate is served soon, and no request fails meanwhile."""
    host = site.tree.hosts[0]
    name = next(name for name in site.tree.tls_names if name.name == host.name)
    certificate = site.tree.certificate_for(name.listener.certificates[0])
    first = site.fresh_handshake(host.name)
    before = first.certificate
    require(
        certificate and before,
        where=str(host),
        want="a certificate served, and a Certificate that keeps it",
        got=f"{certificate} and {before}",
        reproduce=f"kubectl -n {host.namespace} get certificates",
    )
    assert certificate is not None
    assert before is not None

    with _Traffic(site, host) as traffic:
        reply = site.cluster.set_condition(certificate, _issue_now())
        require(
            reply.ok,
            where=str(certificate),
            want="the renewal accepted",
            got=reply,
            reproduce=certificate.kubectl("get"),
        )
        served, seconds = poll(
            lambda: site.fresh_handshake(host.name),
            lambda seen: seen.certificate is not None and seen.certificate.serial != before.serial,
            TIMEOUTS.renewal,
        )
        traffic.flow(5)

    require(
        served.certificate and served.certificate.serial != before.serial,
        where=str(host),
        want=f"another certificate within {TIMEOUTS.renewal:.0f} s",
        got=f"serial {before.serial:x} still served after {seconds:.0f} s {served.error}",
        reproduce=certificate.kubectl("describe"),
    )
    require(
        served.trust_error == first.trust_error,
        where=str(host),
        want="the new certificate trusted as the old one was",
        got=served.trust_error,
        reproduce=site.s_client(host.name),
    )
    require(
        not traffic.failures and traffic.sent,
        where=f"{host} during the renewal",
        want="no failed request",
        got=f"{len(traffic.failures)} of {traffic.sent} failed, e.g. {traffic.failures[:1]}",
        reproduce=site.curl(traffic.request),
    )


def test_every_app_certificate_is_kept_by_cert_manager(site: Site, tls_name: TlsName) -> None:
    """Every certificate of a listener has a Certificate object that renews it."""
    orphans = [str(place) for place in tls_name.listener.certificates if site.tree.certificate_for(place) is None]

    require(
        not orphans,
        where=str(tls_name),
        want="a Certificate for every Secret of the listener",
        got=f"none for {', '.join(orphans)}",
        reproduce=f"kubectl -n {tls_name.listener.owner.namespace} get certificates",
    )
