"""Sessions: cookies that were bent, stolen, mixed or outlived, and callbacks that were not asked for.

The session is in the cookies, and the gateway keeps no list of them: it asks whether the session behind them lives. A
gate may also answer cookies that it does not believe with new ones, from the refresh token beside them, which is as
good a credential as any: what was bent did not count then either.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import pytest

from betelgeuse.tree import Host
from conformance.auth.refusal import login_fault
from conformance.parallel import gather
from conformance.probes.http import Answer, Request
from conformance.probes.keycloak import Person
from conformance.probes.oidc import Browser, cookies_set, query, told
from conformance.site import Site
from conformance.timeouts import TIMEOUTS
from conformance.verdict import poll, require

pytestmark = pytest.mark.feature("login")

Bend = Callable[[str], str]


def _flip(value: str) -> str:
    at = len(value) // 2
    return value[:at] + ("A" if value[at : at + 1] != "A" else "B") + value[at + 1 :]


BENDS: Final[Mapping[str, Bend]] = {
    "flipped": _flip,
    "truncated": lambda value: value[: len(value) // 2],
    "longer": lambda value: f"{value}0",
    "empty": lambda _: "",
    "garbage": lambda _: "0123456789abcdef",
}


def _refused(host: Host, answer: Answer) -> bool:
    return answer.status in {401, 403} or (answer.status == 302 and not login_fault(host, answer))


def _shut_out(host: Host, answer: Answer) -> bool:
    """Whether what was sent did not count: refused, or replaced."""
    return _refused(host, answer) or any("hmac" in cookie.name.lower() for cookie in cookies_set(answer))


def _ask(site: Site, host: Host, browser: Browser) -> tuple[Request, Answer]:
    request = browser.request(f"https://{host}{host.door.path}")
    return request, site.send(request)


def test_unbent_cookies_are_admitted(site: Site, login_host: Host) -> None:
    """The control: the same cookies, as they are, open the page, and stay."""
    request, answer = _ask(site, login_host, site.identity.session(login_host))

    require(
        answer.status == 200 and not _shut_out(login_host, answer),
        where=f"https://{login_host}{request.path}",
        want="200 with the cookies of a session, and no others in their place",
        got=answer,
        reproduce=site.curl(request),
    )


def _names(site: Site, host: Host) -> frozenset[str]:
    """Return the names of the gate's own cookies: those of an application open nothing by themselves."""

    def look() -> frozenset[str]:
        _, trail = site.identity.logged_in(host, site.identity.shared_person(site.identity.right_group(host)))
        back = [hop.answer for hop in trail if urlsplit(hop.url).path == host.gate.callback]
        found = frozenset(cookie.name for answer in back for cookie in cookies_set(answer) if not cookie.deletes)
        require(
            found,
            where=f"login at https://{host}",
            want=f"cookies of a session, from {host.gate.callback}",
            got=told(trail),
            reproduce=f"a browser at https://{host}{host.door.path}",
        )
        return found

    return site.once(("cookies of the gate", host.name), look)


@pytest.mark.parametrize("bend", sorted(BENDS))
def test_bent_cookie_is_refused(site: Site, login_host: Host, bend: str) -> None:
    """A session with any one of its cookies bent is no session: refused, or begun anew from the refresh token."""
    session = site.identity.session(login_host)
    for name in sorted(_names(site, login_host) & set(session.cookies(login_host.name))):
        browser = session.copy()
        place = next(key for key in browser.jar if key[0] == login_host.name and key[2] == name)
        browser.jar[place] = BENDS[bend](browser.jar[place])

        request, answer = _ask(site, login_host, browser)

        require(
            _shut_out(login_host, answer),
            where=f"https://{login_host}{request.path}, cookie {name} {bend}",
            want="the login page, 401 or 403",
            got=answer,
            reproduce=site.curl(request),
        )


def test_cookies_of_two_people_do_not_mix(site: Site, login_host: Host) -> None:
    """One cookie of another person's session does not make a session with the rest of one's own."""
    one = site.identity.session(login_host)
    other = site.identity.person(site.identity.right_group(login_host))
    stranger, _ = site.identity.logged_in(login_host, other)
    for key, value in stranger.jar.items():
        if key[0] != login_host.name or key[2] not in _names(site, login_host) or one.jar.get(key, value) == value:
            continue
        browser = one.copy()
        browser.jar[key] = value

        request, answer = _ask(site, login_host, browser)

        require(
            _shut_out(login_host, answer),
            where=f"https://{login_host}{request.path}, {key[2]} of another person",
            want="the login page, 401 or 403",
            got=answer,
            reproduce=site.curl(request),
        )


def test_longer_session_cannot_be_written(site: Site, login_host: Host) -> None:
    """Writing a later end into the cookie that tells it ends the session."""
    browser = site.identity.session(login_host).copy()
    ends = [key for key in browser.jar if key[0] == login_host.name and browser.jar[key].isdigit()]
    for key in ends:
        browser.jar[key] = str(int(browser.jar[key]) + 36000)

    request, answer = _ask(site, login_host, browser)

    require(
        ends and _shut_out(login_host, answer),
        where=f"https://{login_host}{request.path}, ten hours more",
        want="the login page, 401 or 403",
        got=answer if ends else "no cookie tells the end",
        reproduce=site.curl(request),
    )


def test_logout_ends_the_session(site: Site, login_host: Host) -> None:
    """A logout takes every cookie of the session from the browser, and the session from Keycloak.

    What an application keeps in the browser beside them opens nothing.
    """
    person = site.identity.person(site.identity.right_group(login_host))
    browser, _ = site.identity.logged_in(login_host, person)
    before = _names(site, login_host) & set(browser.cookies(login_host.name))
    had = len(site.identity.keycloak.sessions(person))

    trail = browser.open(f"https://{login_host}{login_host.gate.logout}")

    left = before & set(browser.cookies(login_host.name))
    alive = len(site.identity.keycloak.sessions(person))
    require(
        before and had and not left and not alive,
        where=f"https://{login_host}{login_host.gate.logout}",
        want="no cookie of the session left, and no session in Keycloak",
        got=f"{told(trail)}; cookies left: {', '.join(sorted(left)) or 'none'}; sessions {had} before, {alive} after",
        reproduce=f"a browser at https://{login_host}{login_host.gate.logout}",
    )

    again = browser.open(f"https://{login_host}{login_host.door.path}")
    require(
        again[-1].url.startswith(login_host.gate.issuer) and again[-1].answer.status == 200,
        where=f"https://{login_host}{login_host.door.path}, after the logout",
        want="the login page, which asks for the password again",
        got=told(again),
        reproduce=f"a browser at https://{login_host}",
    )


@dataclass
class Lost:
    """A copy of a session's cookies, made before the session ended."""

    copy: Browser
    before: Answer
    after: Answer
    seconds: float
    """From the end of the session to the answer."""


def _sign_out(__: Site, host: Host, _: Person, browser: Browser) -> None:
    browser.open(f"https://{host}{host.gate.logout}")


def _end(site: Site, _: Host, person: Person, __: Browser) -> None:
    site.identity.keycloak.end_sessions(person)


def _disable(site: Site, _: Host, person: Person, __: Browser) -> None:
    site.identity.keycloak.disable(person)


ENDINGS: Final[Mapping[str, Callable[[Site, Host, Person, Browser], None]]] = {
    "signed out": _sign_out,
    "ended by an administrator": _end,
    "person disabled": _disable,
}


def _lost(site: Site, host: Host) -> dict[str, Lost]:
    """Return what copied cookies open after each way in which a session ends; waited for side by side, once."""

    def lose(ending: str) -> Lost:
        person = site.identity.person(site.identity.right_group(host))
        browser, _ = site.identity.logged_in(host, person)
        copy = browser.copy()
        before = _ask(site, host, copy)[1]
        ENDINGS[ending](site, host, person, browser)
        after, seconds = poll(
            lambda: _ask(site, host, copy)[1], lambda answer: answer.status != 200, TIMEOUTS.session_end
        )
        return Lost(copy, before, after, seconds)

    return site.once(("lost", host.name), lambda: dict(zip(ENDINGS, gather(lose, ENDINGS), strict=True)))


@pytest.mark.parametrize("ending", sorted(ENDINGS))
def test_lost_session_opens_nothing(site: Site, login_host: Host, ending: str) -> None:
    """Cookies that were copied before their session ended open nothing after it, within a minute."""
    lost = _lost(site, login_host)[ending]

    site.facts[f"copied cookies at {login_host}, {ending}"] = f"refused after {lost.seconds:.0f} s"
    require(
        lost.before.status == 200 and _refused(login_host, lost.after),
        where=f"https://{login_host}{login_host.door.path}, cookies copied before: {ending}",
        want=f"200 before, and the login page, 401 or 403 within {TIMEOUTS.session_end:.0f} s",
        got=f"{lost.before} before; {lost.after} after {lost.seconds:.0f} s",
        reproduce=f"a browser at https://{login_host}: copy its cookies, sign out, use the copy",
    )


def test_ended_session_is_not_renewed(site: Site, login_host: Host) -> None:
    """Once Keycloak has ended a session, its refresh token is dead: cookies with no time left open nothing."""
    browser = _lost(site, login_host)["ended by an administrator"].copy.copy()
    # A browser drops the short-lived cookies when their time is over; the refresh token's stays.
    for key in [key for key in browser.jar if key[0] == login_host.name and "refresh" not in key[2].lower()]:
        del browser.jar[key]

    request, answer = _ask(site, login_host, browser)

    require(
        request.secret and _refused(login_host, answer),
        where=f"https://{login_host}{request.path}, with the refresh token of an ended session alone",
        want="the login page, 401 or 403",
        got=answer if request.secret else "no refresh token among the cookies",
        reproduce=site.curl(request),
    )


def _callback(site: Site, host: Host) -> tuple[Browser, str]:
    """Return a browser that has come back from the login page, and the address it was sent to but has not opened."""
    person = site.identity.shared_person(site.identity.right_group(host))
    start, callback = f"https://{host}{host.door.path}", f"https://{host}{host.gate.callback}"
    browser = site.identity.browser()
    trail = browser.login(start, person.name, person.password, until=lambda url: url.startswith(callback))
    address = trail[-1].leads_to
    require(
        {"code", "state"} <= set(query(address)),
        where=f"login at https://{host}",
        want=f"to be sent to {callback} with a code and a state",
        got=told(trail),
        reproduce=f"a browser at {start}",
    )
    return browser, address


def _opened(host: Host, answer: Answer) -> bool:
    """Whether a callback has set a session: an answer below 400 that leads somewhere else than to the login page."""
    names = [cookie.name for cookie in cookies_set(answer) if not cookie.deletes]
    begins = any("hmac" in name.lower() for name in names)
    return begins or (answer.status < 400 and bool(login_fault(host, answer)))


def test_callback_out_of_nowhere_is_refused(site: Site, login_host: Host) -> None:
    """A callback without a code, without a state, or with made-up ones sets no session, and is no server error."""
    queries = (
        "",
        "?code=a",
        "?state=b",
        "?code=a&state=b",
        "?code=a&state=eyJ1cmwiOiJodHRwczovL2V2aWwuZXhhbXBsZS8ifQ",
        "?error=access_denied&state=b",
        "?code=%00&state=%00",
    )
    for text in queries:
        request = Request(login_host.name, f"{login_host.gate.callback}{text}")

        answer = site.send(request)

        require(
            not _opened(login_host, answer) and 300 < answer.status < 500,
            where=f"https://{login_host}{request.path}",
            want="a refusal (4xx) or the login page, and no session",
            got=answer,
            reproduce=site.curl(request),
        )


def test_callback_of_another_browser_is_refused(site: Site, login_host: Host) -> None:
    """A callback with the code and state of another browser's login sets no session (login CSRF)."""
    _, address = _callback(site, login_host)
    victim = site.identity.browser()
    victim.go(f"https://{login_host}{login_host.door.path}")  # has a login of its own under way

    hop = victim.go(address)

    require(
        not _opened(login_host, hop.answer) and hop.answer.status < 500,
        where=f"https://{login_host}{login_host.gate.callback}, another browser's code and state",
        want="a refusal, and no session",
        got=hop.answer,
        reproduce=f"two browsers at https://{login_host}: open the callback of one in the other",
    )


def test_bent_state_is_refused(site: Site, login_host: Host) -> None:
    """A callback whose state was changed on the way sets no session."""
    browser, address = _callback(site, login_host)
    state = query(address)["state"]

    hop = browser.go(address.replace(state, _flip(state)))

    require(
        not _opened(login_host, hop.answer) and hop.answer.status < 500,
        where=f"https://{login_host}{login_host.gate.callback}, a bent state",
        want="a refusal, and no session",
        got=hop.answer,
        reproduce=f"a browser at https://{login_host}: change the state of the callback",
    )


def test_code_is_good_once(site: Site, login_host: Host) -> None:
    """The same callback a second time sets no second session: a code is good once."""
    browser, address = _callback(site, login_host)
    copy = browser.copy()
    first = browser.go(address)

    second = copy.go(address)

    require(
        _opened(login_host, first.answer) and not _opened(login_host, second.answer) and second.answer.status < 500,
        where=f"https://{login_host}{login_host.gate.callback}, twice",
        want="a session for the first, none for the second",
        got=f"{first}, then {second}",
        reproduce=f"a browser at https://{login_host}: open the callback's address a second time",
    )
