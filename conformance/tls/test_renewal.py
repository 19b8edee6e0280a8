"""Certificates renew themselves, and nobody notices."""

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

import pytest

from betelgeuse.tree import Host, Ref, TlsName
from conformance.probes.http import Answer, Request
from conformance.probes.k8s import Reply
from conformance.probes.tls import Handshake
from conformance.site import Site
from conformance.timeouts import TIMEOUTS
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


@dataclass
class _Traffic:
    """Requests, one after another, until told to stop: what clients would have seen meanwhile."""

    site: Site
    request: Request
    failures: list[Answer] = field(default_factory=list)
    sent: int = 0

    def __post_init__(self) -> None:
        """Learn what is usual: how it should be is for other checks, here it is about what changes."""
        self.usual = self.site.send(self.request).status
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stop.wait(_PACE):
            answer = self.site.send(self.request)
            self.sent += 1
            if answer.status != self.usual:
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


@dataclass(frozen=True)
class Renewal:
    """One forced renewal: what was served before and after, and what clients saw meanwhile."""

    host: Host
    certificate: Ref
    before: Handshake
    after: Handshake
    seconds: float
    asked: Reply
    secure: _Traffic
    plain: _Traffic

    @property
    def renewed(self) -> bool:
        """Whether another certificate is served than before."""
        one, other = self.before.certificate, self.after.certificate
        return one is not None and other is not None and one.serial != other.serial


def _issue_now() -> dict[str, str]:
    """Return the condition that `cmctl renew` sets."""
    return {
        "type": "Issuing",
        "status": "True",
        "reason": "ManuallyTriggered",
        "message": "Certificate re-issuance manually triggered by the conformance suite",
        "lastTransitionTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _renew(site: Site) -> Renewal:
    """Renew the certificate of the first host under traffic."""
    host = site.tree.hosts[0]
    name = next(name for name in site.tree.tls_names if name.name == host.name)
    certificate = site.tree.certificate_for(name.listener.certificates[0])
    assert certificate is not None  # that every listener has one is a check of its own
    before = site.fresh_handshake(host.name)
    serial = before.certificate.serial if before.certificate else 0
    secure = _Traffic(site, Request(host.name, host.door.path, host.door.method or "GET", site.credentials(host)))
    plain = _Traffic(site, Request(host.name, "/some/page", tls=False))
    with secure, plain:
        asked = site.cluster.set_condition(certificate, _issue_now())
        after, seconds = poll(
            lambda: site.fresh_handshake(host.name),
            lambda seen: seen.certificate is not None and seen.certificate.serial != serial,
            TIMEOUTS.renewal if asked.ok else 0,
        )
        secure.flow(5)
        plain.flow(5)
    return Renewal(host, certificate, before, after, seconds, asked, secure, plain)


def _renewal(site: Site) -> Renewal:
    return site.once("renewal", lambda: _renew(site))


@pytest.mark.feature("forced-renewal")
def test_renewed_certificate_is_served(site: Site) -> None:
    """A certificate that is renewed now is served soon after, trusted as the one before."""
    seen = _renewal(site)

    require(
        seen.renewed and seen.after.trust_error == seen.before.trust_error,
        where=str(seen.host),
        want=f"another certificate within {TIMEOUTS.renewal:.0f} s, trusted as the one before",
        got=f"{'another' if seen.renewed else 'the same'} one after {seen.seconds:.0f} s, the renewal was {seen.asked} "
        f"{seen.after.trust_error}{seen.after.error}",
        reproduce=seen.certificate.kubectl("describe"),
    )


def _require_no_failure(traffic: _Traffic, site: Site) -> None:
    require(
        not traffic.failures and traffic.sent,
        where=f"{traffic.request.host} during the renewal",
        want="every request answered as ever",
        got=f"{len(traffic.failures)} of {traffic.sent} not, e.g. {next(iter(traffic.failures), '')}",
        reproduce=f"while sleep 0.1; do {site.curl(traffic.request)}; done  # meanwhile: cmctl renew",
    )


@pytest.mark.feature("forced-renewal")
def test_no_request_fails_during_a_renewal(site: Site) -> None:
    """While a certificate is renewed, no request to its host fails."""
    _require_no_failure(_renewal(site).secure, site)


@pytest.mark.feature("forced-renewal")
def test_redirect_holds_during_a_renewal(site: Site) -> None:
    """While a certificate is renewed, plain HTTP still redirects: the ACME challenge takes its own path only."""
    _require_no_failure(_renewal(site).plain, site)


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
