"""Requests that two HTTP readers could cut differently never come through as two.

Each is sent with the host's credential: what an outsider cannot send is no proof about an insider.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pytest

from betelgeuse.tree import Host
from conformance.inside import CONTROL, Inside
from conformance.parallel import gather
from conformance.probes.http import Answer, Request
from conformance.probes.inside import saw
from conformance.secrecy import Secret
from conformance.site import Site
from conformance.verdict import require

_HIDDEN = "GET /smuggled HTTP/1.1\r\nHost: {host}\r\n\r\n"
_REFUSALS = frozenset({0, 400, 403, 404, 405, 408, 411, 413, 421, 426, 431, 501, 505})
"""0 is a connection closed without an answer."""

_BEFORE_THE_BODY: Final = frozenset({0, 400, 404, 405, 501, 503})
"""Faults of the body may go unread where there is no route or no application: then the answer comes without it."""


@dataclass(frozen=True)
class Case:
    """Bytes as sent; {line}, {host}, {auth} and {hidden} are filled in. `statuses` are the honest answers."""

    id: str
    data: str
    statuses: frozenset[int] = frozenset({0, 400, 501})


_HEAD = "POST {post} HTTP/1.1\r\nHost: {host}\r\n{auth}"
CASES: Sequence[Case] = (
    Case("length-and-chunked", _HEAD + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
    Case("chunked-and-length", _HEAD + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n{hidden}"),
    Case("two-lengths", _HEAD + "Content-Length: 0\r\nContent-Length: 40\r\n\r\n{hidden}"),
    Case("length-list", _HEAD + "Content-Length: 0, 40\r\n\r\n{hidden}"),
    Case("signed-length", _HEAD + "Content-Length: +0\r\n\r\n{hidden}"),
    Case("negative-length", _HEAD + "Content-Length: -1\r\n\r\n{hidden}"),
    Case("hex-length", _HEAD + "Content-Length: 0x0\r\n\r\n{hidden}"),
    Case("unknown-coding", _HEAD + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{hidden}"),
    Case("coding-twice", _HEAD + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{hidden}"),
    Case("coding-list", _HEAD + "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n{hidden}"),
    Case("space-before-colon", _HEAD + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{hidden}"),
    Case("vertical-tab-coding", _HEAD + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n{hidden}"),
    Case("bad-chunk-size", _HEAD + "Transfer-Encoding: chunked\r\n\r\nzz\r\n{hidden}", _BEFORE_THE_BODY),
    Case(
        "huge-chunk-size", _HEAD + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{hidden}", _BEFORE_THE_BODY
    ),
    Case("space-in-name", _HEAD + "Bad Name: x\r\nContent-Length: 0\r\n\r\n"),
    Case("nul-in-value", _HEAD + "X-Test: a\x00b\r\nContent-Length: 0\r\n\r\n"),
    Case("empty-name", _HEAD + ": x\r\nContent-Length: 0\r\n\r\n"),
    Case("no-host", "GET {path} HTTP/1.1\r\n{auth}\r\n"),
    Case("two-hosts", "GET {path} HTTP/1.1\r\nHost: {host}\r\nHost: example.org\r\n{auth}\r\n", _REFUSALS),
    Case("old-version", "GET {path} HTTP/0.9\r\nHost: {host}\r\n{auth}\r\n", _REFUSALS),
    Case("future-version", "GET {path} HTTP/9.9\r\nHost: {host}\r\n{auth}\r\n", _REFUSALS),
    Case("not-http", "HELLO\r\n\r\n"),
    Case("huge-header", "GET {path} HTTP/1.1\r\nHost: {host}\r\n{auth}X-Test: {huge}\r\n\r\n", _REFUSALS),
    Case("absolute-form", "GET http://example.org{path} HTTP/1.1\r\nHost: {host}\r\n{auth}\r\n", _REFUSALS),
    Case("absolute-https", "GET https://example.org{path} HTTP/1.1\r\nHost: {host}\r\n{auth}\r\n", _REFUSALS),
)


def _body_path(host: Host) -> str:
    """Return a path whose requests have a body that the gateway must read to pass it on."""
    return next((match.path for match in host.matches if match.method == "POST"), host.door.path)


def _bytes(site: Site, host: Host, template: str) -> tuple[Request, bytes]:
    headers = site.credentials_if_any(host)
    auth = "".join(f"{name}: {value.reveal() if isinstance(value, Secret) else value}\r\n" for name, value in headers)
    text = template
    fillings = {
        "hidden": _HIDDEN,
        "path": host.door.path,
        "post": _body_path(host),
        "host": host.name,
        "auth": auth,
        "huge": "a" * 200_000,
    }
    for key, value in fillings.items():
        text = text.replace(f"{{{key}}}", value)
    # Latin-1: what is written is what is sent, byte for byte.
    return Request(host.name, host.door.path, headers=headers), text.encode("latin-1")


def _told(answers: list[Answer]) -> str:
    return ", then ".join(str(answer) for answer in answers) or "closed without an answer"


def _by_hand(site: Site, host: Host, template: str) -> str:
    text = template.replace("{hidden}", _HIDDEN).replace("{path}", host.door.path)
    text = text.replace("{post}", _body_path(host)).replace("{host}", host.name)
    shown = repr(text.replace("{auth}", "").replace("{huge}", "aaaa")).strip("'\"").replace("%", "%%")
    return f"printf {shown!r} | openssl s_client -quiet -connect {site.endpoint().address}:443 -servername {host}"


def _all_answers(site: Site, host: Host) -> dict[str, list[Answer]]:
    """Send every case at once: after its answer each must wait a while for a second one that should not come."""
    answers = gather(lambda case: site.send_raw(*_bytes(site, host, case.data)), CASES)
    return {case.id: answer for case, answer in zip(CASES, answers, strict=True)}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_ambiguous_request_is_refused(site: Site, host: Host, case: Case) -> None:
    """A request whose length, form or header names are ambiguous is refused, and never answered twice."""
    answers = site.once(("smuggling", host.name), lambda: _all_answers(site, host))[case.id]

    require(
        len(answers) <= 1 and all(answer.status in case.statuses for answer in answers),
        where=f"{host}, {case.id}",
        want=f"one refusal out of {sorted(case.statuses - {0})}, or a closed connection",
        got=_told(answers),
        reproduce=_by_hand(site, host, case.data),
    )


@pytest.mark.feature("prober")
def test_bare_cr_is_not_passed_on(site: Site, inside: Inside) -> None:
    """A carriage return inside a header, where some readers see a new line, does not reach an application."""
    request = Request(inside.host, headers=((CONTROL, "seen"),), tls=False)
    inside.echo(request)
    data = f"GET / HTTP/1.1\r\nHost: {inside.host}\r\n{CONTROL}: a\rTransfer-Encoding: chunked\r\n\r\n".encode()

    answers = site.send_raw(request, data)

    seen = [answer.header(saw(CONTROL)) or "" for answer in answers]
    require(
        len(answers) == 1 and "\r" not in seen[0] and "\n" not in seen[0],
        where=f"http://{inside.host}/, {CONTROL}: a<CR>Transfer-Encoding: chunked",
        want="a refusal, or an application that sees no line break",
        got=f"{_told(answers)}; it saw {seen}",
        reproduce=f"printf {data.decode()!r} | nc {site.endpoint().address} {site.http}",
    )


def test_plain_request_is_answered_once(site: Site, host: Host) -> None:
    """The control of this file: the same bytes without the fault are answered, so the refusals are about the fault."""
    template = "{method} {path} HTTP/1.1\r\nHost: {host}\r\n{auth}Content-Length: 0\r\n\r\n"
    template = template.replace("{method}", host.door.method or "GET")
    request, data = _bytes(site, host, template)

    answers = site.send_raw(request, data)

    require(
        len(answers) == 1 and answers[0].status not in {0, 400, 501},
        where=str(host),
        want="one answer, and no complaint about the request's form",
        got=_told(answers),
        reproduce=site.curl(request),
    )
