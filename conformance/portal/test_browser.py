"""A person's way in, in a real browser: log in, see what there is, log out."""

from dataclasses import dataclass, field

import pytest

from betelgeuse.errors import BetelgeuseError
from betelgeuse.tree import Host
from conformance.probes import browser as chromium
from conformance.probes.browser import Chromium
from conformance.probes.keycloak import Person
from conformance.recorder import Picture
from conformance.site import Site
from conformance.verdict import require, shorten

pytestmark = [pytest.mark.feature("portal"), pytest.mark.feature("login")]

LOGIN_FORM = "input[name=password]"
SIGN_OUT = "a[href$='/oauth2/logout'], a#logout"
WIDTHS = (390, 820, 1280)
"""CSS pixels of a phone, a tablet and a desk."""
_OVERFLOW = "return document.documentElement.scrollWidth - window.innerWidth"
_ORIGINS = "return performance.getEntriesByType('resource').map(each => new URL(each.name).origin)"
_SHOWN = "return [...document.querySelectorAll('.card:not([hidden]) h3')].map(each => each.textContent)"


@dataclass
class Walk:
    """What a person saw, step by step; a step that was not reached is empty."""

    fault: str = ""
    asked: str = ""
    page: str = ""
    text: str = ""
    links: list[str] = field(default_factory=list)
    overflow: dict[int, int] = field(default_factory=dict)
    """By the window's width, how many pixels of the page are outside of it."""
    origins: set[str] = field(default_factory=set)
    """Whom the page asked for what it is made of."""
    found: list[str] = field(default_factory=list)
    """What is left after a search for the word `llm`."""
    signed_out: bool = False
    after: str = ""
    asked_again: bool = False


def _walk(window: Chromium, home: str, person: Person, walk: Walk, site: Site) -> None:
    window.open(home)
    if window.find(LOGIN_FORM) is None:
        walk.fault = f"no login form at {window.url}: {shorten(window.text, 200)}"
        return
    walk.asked = window.url
    site.pictures.append(Picture("login", "The login page that the portal leads to", window.picture()))
    window.log_in(person.name, person.password)
    window.wait(lambda: window.driver.current_url == home)
    walk.page, walk.text, walk.links = window.driver.current_url, window.text, window.links()
    walk.origins = set(window.driver.execute_script(_ORIGINS))
    for width in WIDTHS:
        window.resize(width, 900)
        walk.overflow[width] = window.driver.execute_script(_OVERFLOW)
    site.pictures.append(Picture("portal", "The portal after the login, with every service", window.picture()))
    search = window.find("input[type=search]")
    if search is not None:
        search.send_keys("llm")
        walk.found = window.driver.execute_script(_SHOWN)
    walk.signed_out = window.click(SIGN_OUT)
    if walk.signed_out:
        # The logout leads back to the portal, and that to the login page again.
        window.wait(lambda: window.find(LOGIN_FORM))
    walk.after = window.url
    window.open(home)
    walk.asked_again = window.find(LOGIN_FORM) is not None


def walked(site: Site) -> Walk:
    """Return what a fresh person of group researchers saw, once per run."""

    def go() -> Walk:
        portal = site.host("portal")
        walk = Walk()
        person = site.identity.person("researchers" if "researchers" in portal.gate.groups else portal.gate.groups[0])
        endpoint = site.endpoint()
        rules = {f"*.{site.tree.domain}:443": f"{endpoint.address}:{endpoint.https}"}
        try:
            with chromium.running(rules, site.ca) as window:
                _walk(window, f"https://{portal}/", person, walk, site)
        except BetelgeuseError as error:
            walk.fault = str(error)
        return walk

    return site.once("walk", go)


def _by_hand(host: Host) -> str:
    return f"a browser at https://{host}/ (invoke open {host.label})"


def test_browser_is_led_to_the_login_page(site: Site) -> None:
    """A browser that trusts the platform's roots, and nothing else is done for, gets from the portal to the login."""
    portal, walk = site.host("portal"), walked(site)

    require(
        not walk.fault and walk.asked.startswith(portal.gate.issuer),
        where=f"https://{portal}/ in Chromium",
        want=f"a login form at {portal.gate.issuer}",
        got=walk.fault or walk.asked,
        reproduce=_by_hand(portal),
    )


def test_person_sees_every_service(site: Site) -> None:
    """After the login the portal is shown, with a link to every service that the tree declares."""
    portal, walk = site.host("portal"), walked(site)

    missing = [
        host.name
        for host in site.tree.hosts
        if not any(link.startswith(f"https://{host}/") for link in walk.links) or host.name not in walk.text
    ]
    require(
        walk.page == f"https://{portal}/" and not missing,
        where=f"https://{portal}/ in Chromium, after the login",
        want="a link to every host of the tree",
        got=walk.fault or f"at {walk.page}, without {', '.join(missing) or 'nothing'}: {shorten(walk.text, 300)}",
        reproduce=_by_hand(portal),
    )


@pytest.mark.parametrize("width", WIDTHS)
def test_page_fits_the_window(site: Site, width: int) -> None:
    """Nobody has to scroll sideways, on a phone either."""
    portal, walk = site.host("portal"), walked(site)

    require(
        walk.overflow.get(width, 1) <= 0,
        where=f"https://{portal}/ in a window of {width} pixels",
        want="a page that is no wider",
        got=walk.fault or f"{walk.overflow.get(width)} pixels more",
        reproduce=_by_hand(portal),
    )


def test_page_asks_nobody_else(site: Site) -> None:
    """Style and script come from the portal itself."""
    portal, walk = site.host("portal"), walked(site)

    require(
        walk.origins == {f"https://{portal}"},
        where=f"https://{portal}/ in Chromium",
        want=f"requests to https://{portal} alone",
        got=walk.fault or ", ".join(sorted(walk.origins)) or "no request for style and script",
        reproduce=_by_hand(portal),
    )


def test_search_finds_a_service(site: Site) -> None:
    """What does not hold the word is hidden, and what is called so is shown."""
    portal, walk = site.host("portal"), walked(site)

    require(
        "llm" in walk.found and len(walk.found) < len(site.tree.hosts),
        where=f"https://{portal}/ in Chromium, `llm` in the search field",
        want="fewer services, llm among them",
        got=walk.fault or f"{len(walk.found)} of {len(site.tree.hosts)}: {', '.join(walk.found)}",
        reproduce=_by_hand(portal),
    )


def test_logout_leads_to_the_login_again(site: Site) -> None:
    """After `Sign out` the portal asks for the password again."""
    portal, walk = site.host("portal"), walked(site)

    require(
        walk.signed_out and walk.asked_again,
        where=f"https://{portal}/ in Chromium, after the logout",
        want="a link to sign out, and behind it the login form again",
        got=walk.fault or f"signed out: {walk.signed_out}, then at {walk.after}, asked again: {walk.asked_again}",
        reproduce=_by_hand(portal),
    )
