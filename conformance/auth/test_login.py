"""The login gate: who has no session is sent to the realm's login page, and comes back with a session of his own."""

import time
from typing import Final

import pytest

from betelgeuse.tree import Host
from conformance.auth.refusal import login_fault
from conformance.probes.http import Request
from conformance.probes.oidc import SetCookie, cookies_set, forms, told
from conformance.site import Site
from conformance.verdict import require, require_none

pytestmark = pytest.mark.feature("login")

_SESSION: Final = 300
"""Seconds a session cookie may be good for by itself: an access token's life."""
_LAXITY: Final = 5
_COOKIE: Final = 4096
"""Bytes: browsers drop a cookie that is longer, and the login begins anew for ever."""


def _session_cookies(site: Site, host: Host) -> list[SetCookie]:
    """Return the cookies that a login at a host sets there."""

    def login() -> list[SetCookie]:
        _, trail = site.identity.logged_in(host, site.identity.shared_person(site.identity.right_group(host)))
        own = [hop for hop in trail if hop.host == host.name]
        return [cookie for hop in own for cookie in cookies_set(hop.answer) if not cookie.deletes]

    return site.once(("session cookies", host.name), login)


def test_anonymous_is_sent_to_the_login_page(site: Site, login_host: Host) -> None:
    """Somebody unknown is sent to the realm's exact login page: code flow, PKCE, a state, this host's callback."""
    request = Request(login_host.name, login_host.door.path, headers=(("Accept", "text/html"),))

    answer = site.send(request)

    wrong = login_fault(login_host, answer) if answer.status == 302 else "no redirect"
    require(
        not wrong,
        where=f"https://{login_host}{login_host.door.path}",
        want=f"302 to {login_host.gate.issuer}/protocol/openid-connect/auth",
        got=f"{wrong}: {answer.status} {(answer.header('location') or '').partition('?')[0]}",
        reproduce=site.curl(request),
    )


def test_login_page_asks_for_a_password(site: Site, login_host: Host) -> None:
    """The redirect ends at a page with a login form, on the realm's host, that no other page may frame."""
    trail = site.identity.browser().open(f"https://{login_host}{login_host.door.path}")

    page = trail[-1]
    framing = page.answer.header("content-security-policy") or page.answer.header("x-frame-options") or ""
    asks = any(form.asks_password for form in forms(page.answer))
    require(
        page.answer.status == 200
        and asks
        and page.url.startswith(login_host.gate.issuer)
        and ("frame-ancestors" in framing or framing),
        where=page.url.partition("?")[0],
        want="200 with a login form and a policy about frames",
        got=f"{told(trail)}, form: {asks}, frames: {framing or 'no word'}",
        reproduce=f"a browser at https://{login_host}",
    )


def test_program_is_told_instead_of_redirected(site: Site, login_host: Host) -> None:
    """A script in a page, and whoever asks for JSON, gets 401 instead of a login page it cannot show."""
    requests = [
        Request(login_host.name, login_host.door.path, headers=((name, value),))
        for name, value in login_host.gate.quiet
    ]

    answers = site.sweep(requests)

    require_none(
        [
            f"{dict(request.headers)}: {answer}"
            for request, answer in zip(requests, answers, strict=True)
            if answer.status != 401
        ]
        if requests
        else ["the policy names no such callers (denyRedirect)"],
        where=f"https://{login_host}{login_host.door.path}",
        want="401 without a redirect",
        reproduce=site.curl(requests[0]) if requests else f"kubectl -n {login_host.namespace} get securitypolicies",
    )


def test_login_leads_to_the_page(site: Site, login_host: Host) -> None:
    """A member of a group that may is led back to the page asked for, with the application's answer."""
    _, trail = site.identity.logged_in(login_host, site.identity.shared_person(site.identity.right_group(login_host)))

    last = trail[-1]
    require(
        last.answer.status == 200 and last.url == f"https://{login_host}{login_host.door.path}",
        where=f"login at https://{login_host}",
        want=f"200 at https://{login_host}{login_host.door.path}",
        got=told(trail),
        reproduce=f"a browser at https://{login_host}",
    )


def test_session_cookies_are_protected(site: Site, login_host: Host) -> None:
    """Every cookie of a session is Secure, HttpOnly, SameSite, and of this host alone."""
    cookies = _session_cookies(site, login_host)

    faults = [
        f"{cookie.name}: {', '.join(sorted(cookie.attributes))}"
        for cookie in cookies
        if not {"secure", "httponly"} <= set(cookie.attributes)
        or cookie.attributes.get("samesite", "").lower() not in {"lax", "strict"}
        or "domain" in cookie.attributes
    ]
    require_none(
        faults if cookies else ["no cookie at all"],
        where=f"login at https://{login_host}",
        want="Secure, HttpOnly, SameSite=Lax or Strict, no Domain, for every cookie",
        reproduce=f"a browser at https://{login_host}",
    )


def test_session_cookies_tell_nothing(site: Site, login_host: Host) -> None:
    """No cookie of a session shows a token in plain text: whoever copies one cannot use it at an API."""
    shown = [cookie.name for cookie in _session_cookies(site, login_host) if cookie.value.startswith("eyJ")]

    require(
        not shown,
        where=f"login at https://{login_host}",
        want="encrypted cookies",
        got=f"a token in plain text in {', '.join(shown)}",
        reproduce=f"a browser at https://{login_host}",
    )


def test_session_cookies_fit_into_a_browser(site: Site, login_host: Host) -> None:
    """Somebody of sixty groups, with names as long as they may be, gets in: no cookie is more than a browser keeps."""
    identity = site.identity
    person = identity.person(identity.right_group(login_host), *identity.crowd(60))
    identity.keycloak.rename(person, "\u5b8b" * 255, "\u00fc" * 255)

    _, trail = identity.logged_in(login_host, person)

    set_ = [(hop.host, cookie) for hop in trail for cookie in cookies_set(hop.answer)]
    lengths = {f"{cookie.name} of {host}": len(cookie.name) + len(cookie.value) for host, cookie in set_}
    longest = max(lengths, key=lambda name: lengths[name], default="none")
    require(
        trail[-1].answer.status == 200 and lengths.get(longest, 0) < _COOKIE,
        where=f"login at https://{login_host}, as somebody of 60 groups",
        want=f"200, and no cookie of {_COOKIE} bytes or more",
        got=f"{told(trail)}; {longest} has {lengths.get(longest, 0)} bytes",
        reproduce=f"a browser at https://{login_host}, as a user of 60 groups",
    )


def test_session_is_short(site: Site, login_host: Host) -> None:
    """A session cookie is good for as long as an access token by itself: without Keycloak a thief has five minutes."""
    now = time.time()

    ends = [
        int(cookie.value) - now for cookie in _session_cookies(site, login_host) if "expires" in cookie.name.lower()
    ]

    require(
        ends and max(ends) <= _SESSION + _LAXITY,
        where=f"login at https://{login_host}",
        want=f"a cookie that says when the session ends, within {_SESSION} s",
        got=[round(end) for end in ends] or "no such cookie",
        reproduce=f"a browser at https://{login_host}",
    )


def test_every_login_is_a_new_session(site: Site, login_host: Host) -> None:
    """Each login sets cookies of its own: what was planted in a browser before it does not become the session."""
    person = site.identity.shared_person(site.identity.right_group(login_host))
    first, _ = site.identity.logged_in(login_host, person)
    planted = first.cookies(login_host.name)
    browser = site.identity.browser()
    # Of the victim's browser, as an attacker on a sister host could leave them: names of a session, values of nobody.
    for name in planted:
        browser.jar[login_host.name, "/", name] = "planted"

    trail = browser.login(f"https://{login_host}{login_host.door.path}", person.name, person.password)

    after = browser.cookies(login_host.name)
    # The end of the session is a moment, which two logins may share.
    kept = {name: value for name, value in planted.items() if not value.isdigit()}
    same = [name for name, value in after.items() if value in {"planted", kept.get(name)}]
    require(
        planted and not same and trail[-1].answer.status == 200,
        where=f"login at https://{login_host}",
        want="200, and new values for all session cookies",
        got=f"{told(trail)}; kept: {', '.join(same) or 'none'}",
        reproduce=f"a browser at https://{login_host}",
    )
