"""Keycloak away for a minute: who is in stays in, who wants in is told so, and nobody has to repair anything."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import pytest

from betelgeuse.kube import Obj
from betelgeuse.tree import Host, Ref, gates
from conformance.drills.pods import scale
from conformance.identity import SERVICE, ready
from conformance.probes.http import Answer, Header, Request
from conformance.probes.oidc import Browser, told
from conformance.site import Site
from conformance.verdict import poll, require, require_none

WORKLOAD: Final = Ref("Deployment", SERVICE.namespace, SERVICE.name, "apps/v1")
_AWAY: Final = 60.0
"""Seconds Keycloak is away, from its last pod's end on."""
_GONE: Final = 60.0
_BACK: Final = 240.0
"""A start of Keycloak on a busy machine of two cores, and the gateway seeing it."""
_PACE: Final = 1.0
_PATIENCE: Final = 5.0
"""A refusal must come sooner than anybody gives up."""
_WORDS: Final = 40
"""Characters of a page that says more than a number."""
_LEAKS: Final = ("Exception", "at org.", "10.", "upstream", "keycloak.auth", "svc")
"""What an error page for strangers does not say."""


@dataclass
class Seen:
    """What callers saw while Keycloak was away, and after."""

    sessions: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    asked: int = 0
    away: float = 0.0
    recovered: float = 0.0
    login_after: str = ""
    session_after: str = ""


def _pods(site: Site) -> list[Obj]:
    return list(site.cluster.behind(site.cluster.get(SERVICE) or {}))


@contextmanager
def _away(site: Site) -> Iterator[None]:
    """Take Keycloak away, and bring it back whatever happens."""
    live = site.cluster.get(WORKLOAD) or {}
    replicas = int(live.get("spec", {}).get("replicas", 1)) or 1
    scale(site, WORKLOAD, 0)
    try:
        left, _ = poll(lambda: _pods(site), lambda pods: not pods, _GONE)
        require(
            not left,
            where=str(WORKLOAD),
            want=f"no pod {_GONE:.0f} s after it was scaled to none",
            got=[pod["metadata"]["name"] for pod in left],
            reproduce=WORKLOAD.kubectl("describe"),
        )
        yield
    finally:
        scale(site, WORKLOAD, replicas)


def _login_fault(site: Site, host: Host) -> str:
    """Return what is wrong with what somebody without a session gets: redirected, and then told in words, at once."""
    browser = site.identity.browser()
    begin = time.monotonic()
    trail = browser.open(f"https://{host}{host.door.path}")
    seconds = time.monotonic() - begin
    last = trail[-1].answer
    leaks = [word for word in _LEAKS if word in last.text]
    clean = last.status == HTTPStatus.SERVICE_UNAVAILABLE and last.header("retry-after") and len(last.text) > _WORDS
    if clean and not leaks and seconds < _PATIENCE:
        return ""
    wait = last.header("retry-after")
    return f"{told(trail)} after {seconds:.1f} s, Retry-After {wait}, says {leaks}: {last.text[:120]}"


def _once(site: Site, host: Host, headers: tuple[Header, ...]) -> Answer:
    return site.send(Request(host.name, host.door.path, host.door.method or "GET", headers))


def _watch(site: Site, seen: Seen, browsers: dict[str, Browser], tokens: dict[str, tuple[Header, ...]]) -> None:
    begin = time.monotonic()
    while (passed := time.monotonic() - begin) < _AWAY:
        for name, browser in browsers.items():
            answer = site.send(browser.request(f"https://{name}{_host(site, name).door.path}"))
            seen.asked += 1
            if answer.status != HTTPStatus.OK:
                seen.sessions.append(f"{name} after {passed:.0f} s: {answer}")
            if fault := _login_fault(site, _host(site, name)):
                seen.logins.append(f"{name} after {passed:.0f} s: {fault}")
        for name, headers in tokens.items():
            answer = _once(site, _host(site, name), headers)
            seen.asked += 1
            if answer.status != HTTPStatus.OK:
                seen.tokens.append(f"{name} after {passed:.0f} s: {answer}")
        time.sleep(_PACE)
    seen.away = time.monotonic() - begin


def _host(site: Site, name: str) -> Host:
    return next(host for host in site.tree.hosts if host.name == name)


def _recover(site: Site, seen: Seen, browsers: dict[str, Browser]) -> None:
    """Look until a new login works; nothing but the scale has been touched."""
    host = site.tree.behind(gates.LOGIN)[0]
    begin = time.monotonic()
    status, _ = poll(
        lambda: site.identity.browser().open(f"https://{host}{host.door.path}")[-1].answer.status,
        lambda status: status == HTTPStatus.OK,
        _BACK,
    )
    seen.recovered = time.monotonic() - begin
    if status != HTTPStatus.OK:
        seen.login_after = f"no login page, {status} instead"
        return
    # The gateway may find Keycloak before its pod is called ready, and the way to the pod of before leads nowhere.
    poll(lambda: _pods(site), lambda pods: any(map(ready, pods)), _BACK)
    site.identity.reopen()
    _, trail = site.identity.logged_in(host, site.identity.person(site.identity.right_group(host)))
    seen.login_after = "" if trail[-1].answer.status == HTTPStatus.OK else told(trail)
    hop = browsers[host.name].go(f"https://{host}{host.door.path}")
    seen.session_after = "" if hop.answer.status == HTTPStatus.OK else str(hop)


def observe(site: Site) -> Seen:
    """Do the drill, once."""

    def go() -> Seen:
        seen = Seen()
        browsers = {}
        for host in site.tree.behind(gates.LOGIN):
            person = site.identity.person(site.identity.right_group(host))
            browsers[host.name], _ = site.identity.logged_in(host, person)
        tokens = {host.name: site.credentials(host) for host in site.tree.behind(gates.TOKEN)}
        with _away(site):
            _watch(site, seen, browsers, tokens)
        _recover(site, seen, browsers)
        return seen

    return site.once("outage", go)


pytestmark = pytest.mark.feature("login")


def test_sessions_go_on_without_keycloak(site: Site) -> None:
    """While Keycloak is away, whoever is logged in goes on working."""
    seen = observe(site)

    require_none(
        seen.sessions,
        where=f"{seen.asked} requests in {seen.away:.0f} s without Keycloak",
        want="200 for every request of a session",
        reproduce=f"{WORKLOAD.kubectl('scale')} --replicas=0",
    )


def test_tokens_go_on_without_keycloak(site: Site) -> None:
    """While Keycloak is away, tokens that are good stay good at every API."""
    seen = observe(site)

    require_none(
        seen.tokens,
        where=f"{seen.asked} requests in {seen.away:.0f} s without Keycloak",
        want="200 for every request with a token",
        reproduce=f"{WORKLOAD.kubectl('scale')} --replicas=0",
    )


def test_new_login_is_told_so(site: Site) -> None:
    """While Keycloak is away, whoever wants to log in gets 503 with Retry-After and words, at once."""
    seen = observe(site)

    require_none(
        seen.logins,
        where=f"logins in {seen.away:.0f} s without Keycloak",
        want=f"503 with Retry-After and a page for people within {_PATIENCE:.0f} s",
        reproduce=f"{WORKLOAD.kubectl('scale')} --replicas=0",
    )


def test_everything_is_back_without_a_hand(site: Site) -> None:
    """When Keycloak is back, logins work again, and the sessions of before are still there."""
    seen = observe(site)

    require(
        seen.recovered < _BACK and not seen.login_after and not seen.session_after,
        where=f"{seen.recovered:.0f} s after Keycloak was let back",
        want="a new login, and the old session",
        got=f"new login: {seen.login_after or 'works'}; old session: {seen.session_after or 'works'}",
        reproduce=WORKLOAD.kubectl("describe"),
    )
