"""From services and a person to HTML. Elements are built as a tree, so every text in it is escaped when written."""

from collections.abc import Sequence
from typing import Final
from xml.etree.ElementTree import Element, SubElement, tostring

from .person import Person
from .services import Service

LOGOUT: Final = "/oauth2/logout"
STYLE: Final = "/style.css"
_COLUMNS: Final = ("Service", "What", "Namespace", "How to get in", "Health")
_GATES: Final = {
    "login": "login",
    "token": "token (invoke token)",
    "password": "password",
    "public": "open to everybody",
    "unknown": "unknown",
}


def _add(parent: Element, tag: str, text: str = "", **attributes: str) -> Element:
    element = SubElement(parent, tag, {name.rstrip("_"): value for name, value in attributes.items()})
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
    return root, _add(root, "body")


def _who(body: Element, who: Person | None) -> None:
    line = _add(body, "p", id="who")
    if who is None:
        line.text = "You came without a name: the gateway sent none."
        return
    line.text = "Signed in as "
    user = _add(line, "strong", who.name, id="user")
    if not who.may_log_out:
        user.tail = ", by a password."
        return
    user.tail = ", in " if who.groups else ", in no group"
    for index, group in enumerate(who.groups):
        _add(line, "span", group, class_="group").tail = ", " if index < len(who.groups) - 1 else ""
    line[-1].tail = f"{line[-1].tail}. "
    _add(line, "a", "Sign out", href=LOGOUT, id="logout")


def _row(table: Element, service: Service) -> None:
    row = _add(table, "tr", class_="down" if service.trouble else "up")
    _add(_add(row, "th", scope="row"), "a", service.host, href=service.address)
    _add(row, "td", service.description)
    _add(row, "td", service.namespace)
    _add(row, "td", _GATES[service.gate])
    # Words, not colours alone: readable in a terminal and by everybody.
    health = f"down: {service.trouble}" if service.trouble else f"up, {service.ready} ready"
    _add(row, "td", health, class_="health")


def _table(body: Element, services: Sequence[Service]) -> None:
    down = sum(bool(service.trouble) for service in services)
    count = f"{len(services)} service{'' if len(services) == 1 else 's'}"
    _add(body, "p", f"{count}, {down} down." if down else f"{count}, all up.", id="summary")
    table = _add(body, "table")
    head = _add(_add(table, "thead"), "tr")
    for column in _COLUMNS:
        _add(head, "th", column, scope="col")
    rows = _add(table, "tbody")
    for service in services:
        _row(rows, service)


def _written(root: Element) -> bytes:
    markup: bytes = tostring(root, encoding="utf-8", method="html")
    return b"<!doctype html>\n" + markup + b"\n"


def overview(services: Sequence[Service] | None, who: Person | None, trouble: str = "") -> bytes:
    """Return the page; without services, `trouble` says why there are none."""
    root, body = _document("Betelgeuse")
    _add(body, "h1", "Betelgeuse")
    _who(body, who)
    if services is None:
        _add(body, "p", f"The services cannot be listed now: {trouble}", class_="trouble")
    else:
        _table(body, services)
    return _written(root)


def notice(title: str) -> bytes:
    """Return a page that says one thing."""
    root, body = _document(title)
    _add(body, "h1", title)
    _add(_add(body, "p"), "a", "All services", href="/")
    return _written(root)
