"""From services and a person to HTML. Elements are built as a tree, so every text in it is escaped when written."""

from collections.abc import Sequence
from itertools import groupby
from typing import Final
from xml.etree.ElementTree import Element, SubElement, tostring

from .person import Person
from .services import Service

LOGOUT: Final = "/oauth2/logout"
STYLE: Final = "/style.css"
SCRIPT: Final = "/script.js"
_GATES: Final = {
    "login": ("sign-in", "You are signed in there with the account of this page."),
    "token": ("token", "A program shows a token: invoke token --client=NAME prints one."),
    "password": ("password", "It asks for a password."),
    "account": ("account", "An account of its own: invoke accounts lists them."),
    "public": ("its own", "It signs you in itself, or is open to everybody."),
    "unknown": ("unknown", "What lets people in is not known."),
}
"""What stands at the door, in a word and in a sentence."""


def _add(parent: Element, tag: str, text: str = "", **attributes: str) -> Element:
    names = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
    element = SubElement(parent, tag, names)
    element.text = text
    return element


def _document(title: str) -> tuple[Element, Element]:
    """Return (document, body)."""
    root = Element("html", {"lang": "en"})
    head = _add(root, "head")
    _add(head, "meta", charset="utf-8")
    _add(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
    _add(head, "title", title)
    _add(head, "link", rel="stylesheet", href=STYLE)
    _add(head, "script", src=SCRIPT, defer="defer")
    return root, _add(root, "body")


def _who(header: Element, who: Person | None) -> None:
    line = _add(header, "p", id="who")
    if who is None:
        line.text = "You came without a name: the gateway sent none."
        return
    line.text = "Signed in as "
    user = _add(line, "strong", who.name, id="user")
    if not who.may_log_out:
        user.tail = ", by a password."
        return
    user.tail = " " if who.groups else ", in no group "
    for group in who.groups:
        _add(line, "span", group, class_="group").tail = " "
    _add(line, "a", "Sign out", href=LOGOUT, id="logout")


def _allowed(service: Service, who: Person | None) -> bool:
    """Say whether the gate lets this person in, as far as the gateway decides it."""
    return not service.groups or who is None or bool(set(service.groups) & set(who.groups))


def _lines(card: Element, service: Service) -> None:
    if not service.lines:
        return
    details = _add(card, "details")
    _add(details, "summary", "Connect")
    listed = _add(details, "dl")
    for line in service.lines:
        _add(listed, "dt", line.name)
        # The script puts a button beside it, which copies the text.
        _add(_add(listed, "dd"), "code", line.text, class_="copy")


def _card(section: Element, service: Service, who: Person | None) -> None:
    allowed = _allowed(service, who)
    state = "down" if service.trouble else "up"
    card = _add(section, "li", class_=f"card {state}{'' if allowed else ' closed'}")
    title = _add(card, "h3")
    if service.start:
        _add(title, "a", service.name, href=service.address)
    else:
        title.text = service.name
    _add(card, "p", service.description, class_="what")
    # Words, not colours alone: readable in a terminal and by everybody.
    health = f"down: {service.trouble}" if service.trouble else f"up, {service.ready} ready"
    facts = _add(card, "p", class_="facts")
    _add(facts, "span", health, class_="health").tail = " "
    word, meaning = _GATES[service.gate]
    _add(facts, "span", word, class_="gate", title=meaning).tail = " "
    if not allowed:
        _add(facts, "span", f"for {', '.join(service.groups)}", class_="groups")
    _add(_add(card, "p", class_="address"), "code", service.host, class_="copy")
    _lines(card, service)


def _cards(main: Element, services: Sequence[Service], who: Person | None) -> None:
    down = sum(bool(service.trouble) for service in services)
    count = f"{len(services)} service{'' if len(services) == 1 else 's'}"
    _add(main, "p", f"{count}, {down} down." if down else f"{count}, all up.", id="summary")
    for area, members in groupby(services, key=lambda service: service.area):
        section = _add(main, "section", class_="area")
        _add(section, "h2", area)
        cards = _add(section, "ul", class_="cards")
        for service in members:
            _card(cards, service, who)


def _written(root: Element) -> bytes:
    markup: bytes = tostring(root, encoding="utf-8", method="html")
    return b"<!doctype html>\n" + markup + b"\n"


def overview(services: Sequence[Service] | None, who: Person | None, trouble: str = "") -> bytes:
    """Return the page; without services, `trouble` says why there are none."""
    root, body = _document("Betelgeuse")
    header = _add(body, "header")
    _add(header, "h1", "Betelgeuse")
    _who(header, who)
    main = _add(body, "main")
    if services is None:
        _add(main, "p", f"The services cannot be listed now: {trouble}", class_="trouble")
    else:
        _cards(main, services, who)
    return _written(root)


def notice(title: str) -> bytes:
    """Return a page that says one thing."""
    root, body = _document(title)
    _add(body, "h1", title)
    _add(_add(body, "p"), "a", "All services", href="/")
    return _written(root)
