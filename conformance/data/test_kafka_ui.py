"""Kafka's interface: a person sees topics and messages in a browser; whoever is not meant gets no terminal."""

import re
import socket
import ssl
import time
from http import HTTPStatus

import pytest

from betelgeuse.errors import BetelgeuseError
from conformance.kafka import CLIENT
from conformance.probes import browser as chromium
from conformance.probes.browser import Chromium
from conformance.probes.http import Header, Request
from conformance.recorder import Picture
from conformance.site import Site
from conformance.stores import Client, account
from conformance.timeouts import TIMEOUTS
from conformance.verdict import poll, require, require_none

pytestmark = [pytest.mark.feature("store-kafka"), pytest.mark.feature("login")]

_LOGIN_FORM = "input[name=password]"
_SERVED = "body.-first-byte .textual-terminal"
"""There once the terminal behind the page has drawn something."""
_HELLO: tuple[Header, ...] = (
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "Y29uZm9ybWFuY2Utd2Vicw=="),
)


def _see(window: Chromium, site: Site, path: str, title: str) -> str:
    """Open a page and wait for its terminal; return what went wrong."""
    host = site.host("broker")
    window.open(f"https://{host}{path}")
    if window.find(_LOGIN_FORM) is not None:
        person = site.identity.person("platform-admins")
        window.log_in(person.name, person.password)
    there = window.wait(lambda: window.find(_SERVED))
    site.pictures.append(Picture(f"kafka{path.replace('/', '-')}", title, window.picture()))
    return "" if there else f"{path}: no terminal at {window.url}: {window.text[:200]}"


def test_person_gets_terminals_in_a_browser(site: Site) -> None:
    """A member of platform-admins logs in and gets a terminal with the topics, and one with a topic's messages."""
    endpoint = site.endpoint()
    rules = {f"*.{site.tree.domain}:443": f"{endpoint.address}:{endpoint.https}"}
    faults = []
    try:
        with chromium.running(rules, site.ca) as window:
            faults.append(_see(window, site, "/", "Kafka's topics, in the interface"))
            faults.append(_see(window, site, "/topics/research.events", "A topic's messages"))
    except BetelgeuseError as error:
        faults.append(str(error))

    host = site.host("broker")
    require_none(
        [fault for fault in faults if fault],
        where=f"https://{host}/ in Chromium",
        want="terminals that show something",
        reproduce=f"a browser at https://{host}/",
    )


def _text(drawn: bytes) -> str:
    """Return what a terminal was told to draw, without colours and places."""
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", drawn.decode("utf-8", "replace"))


def _drawn(site: Site, path: str, wanted: str) -> str:
    """Open a page's terminal as its script does, and return the text that is drawn until `wanted` is."""
    host, endpoint = site.host("broker"), site.endpoint()
    headers = (*_HELLO, ("Origin", f"https://{host}"), *site.credentials(host))
    trusted = ssl.create_default_context(cafile=str(site.ca) if site.ca else None)
    seen, until = b"", time.monotonic() + TIMEOUTS.browser
    with (
        socket.create_connection((endpoint.address, endpoint.https), TIMEOUTS.connect) as plain,
        trusted.wrap_socket(plain, server_hostname=host.name) as secured,
    ):
        secured.settimeout(TIMEOUTS.browser)
        secured.sendall(Request(host.name, f"{path}?width=120&height=40", headers=headers).wire())
        while not re.search(wanted, _text(seen)) and time.monotonic() < until and (piece := secured.recv(65536)):
            seen += piece
    return _text(seen)


@pytest.mark.parametrize(
    ("path", "wanted"),
    # The second: the frame around messages tells how many are shown.
    [("/ws", r"research\.events"), ("/topics/research.events/ws", r"\[research\.events\]\[[1-9]")],
    ids=["topics", "messages"],
)
def test_terminal_shows_what_kafka_holds(site: Site, client: Client, path: str, wanted: str) -> None:
    """Behind the gate, the terminal draws the topics that are there, and a topic's messages."""
    client.run(CLIENT + "\nresult = send('research.events', ['to be seen'])", keys=account(site, "kafka", "research"))
    seen = _drawn(site, path, wanted)

    require(
        re.search(wanted, seen),
        where=f"wss://{site.host('broker')}{path}",
        want=f"{wanted} drawn within {TIMEOUTS.browser:.0f} s",
        got=seen[-200:],
        reproduce=f"a browser at https://{site.host('broker')}/",
    )


def test_terminal_is_for_its_own_pages(site: Site) -> None:
    """A page of another host, which comes with the same person's cookies, gets no terminal; its own page does."""
    host = site.host("broker")
    credentials = site.credentials(host)
    others = ("", f"https://portal.{site.tree.domain}", f"https://{host}.example.org", f"http://{host}", "null")

    def ask(origin: str) -> int:
        headers = (*_HELLO, *credentials, *((("Origin", origin),) if origin else ()))
        return site.send(Request(host.name, "/ws", headers=headers)).status

    # Terminals of other checks may just be closing: there are only so many.
    own, _ = poll(
        lambda: ask(f"https://{host}"), lambda status: status == HTTPStatus.SWITCHING_PROTOCOLS, TIMEOUTS.browser
    )
    seen = {origin: ask(origin) for origin in others}
    require(
        own == HTTPStatus.SWITCHING_PROTOCOLS and set(seen.values()) == {HTTPStatus.FORBIDDEN},
        where=f"wss://{host}/ws",
        want="101 for its own page, 403 for others",
        got=f"{own} for its own; {seen}",
        reproduce=f"a WebSocket to wss://{host}/ws with an Origin of another host",
    )
