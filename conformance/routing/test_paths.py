"""Paths: what no route takes is 404; tricks do not turn one path into another."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

import pytest

from betelgeuse.tree import Host, gates
from conformance.auth.refusal import login_fault, sent_to_login, sent_to_own_login
from conformance.probes.http import Answer, Request
from conformance.site import Site, random_label
from conformance.verdict import require


def _is_the_page(site: Site, host: Host, answer: Answer) -> bool:
    """Whether an answer is the one page of an application that is a script in the browser, the same as at the root."""
    root = Request(host.name, "/", headers=site.credentials_if_any(host))
    return answer.status == HTTPStatus.OK and bool(answer.body) and answer.body == site.send(root).body


def test_unknown_path_gets_404(site: Site, host: Host) -> None:
    """A path the application does not have is answered 404, with the credential.

    Where it asks for one itself, by 403 or its way to sign in; by its one page where it has no other.
    """
    request = Request(host.name, f"/{random_label()}", headers=site.credentials_if_any(host))

    answer = site.send(request)

    wanted = {404, 403} if host.gate.kind == gates.PUBLIC else {404}
    require(
        answer.status in wanted or sent_to_own_login(site, host, answer) or _is_the_page(site, host, answer),
        where=f"https://{host}{request.path}",
        want=" or ".join(map(str, sorted(wanted))),
        got=answer,
        reproduce=site.curl(request),
    )


@dataclass(frozen=True)
class Trick:
    """A spelling that some proxies and some applications read differently."""

    id: str
    path: str


TRICKS: Sequence[Trick] = (
    Trick("dot-dot", "/public/../{0}"),
    Trick("encoded-dot-dot", "/%2e%2e/{0}"),
    Trick("double-slash", "//{0}"),
    Trick("semicolon", "/;/{0}"),
    Trick("encoded-slash", "/%2f{0}"),
    Trick("backslash", "/\\{0}"),
    Trick("encoded-backslash", "/%5c{0}"),
    Trick("nul", "/{0}%00"),
    Trick("overlong-utf8", "/%c0%af{0}"),
    Trick("dot-segment", "/./{0}"),
    Trick("path-parameter", "/{0};a=b"),
    Trick("upper-case", "/{0:upper}"),
    Trick("dot-dot-semicolon", "/public/..;/{0}"),
    Trick("double-encoded-dot-dot", "/%252e%252e/{0}"),
    Trick("encoded-letters", "/{0:percent}"),
    Trick("trailing-dot", "/{0}."),
    Trick("trailing-slash", "/{0}/"),
    Trick("trailing-space", "/{0}%20"),
    Trick("fragment", "/{0}%23x"),
    Trick("query", "/{0}?x=/../health"),
    Trick("tab", "/{0}%09"),
    Trick("line-break", "/{0}%0d%0aX-Injected:%20a"),
    Trick("callback-prefix", "/oauth2/callback/../../{0}"),
    Trick("logout-prefix", "/oauth2/logout/..;/{0}"),
)


@pytest.mark.parametrize("trick", TRICKS, ids=lambda trick: trick.id)
def test_path_tricks_do_not_pass_the_gate(site: Site, guarded_host: Host, trick: Trick) -> None:
    """No spelling of a guarded path reaches the application without the credential."""
    plain = guarded_host.door.path.lstrip("/")
    percent = "".join(f"%{ord(letter):02x}" if letter.isalpha() else letter for letter in plain)
    spelt = trick.path.replace("{0:upper}", plain.upper()).replace("{0:percent}", percent)
    path = spelt.replace("{0}", plain)
    request = Request(guarded_host.name, path)

    answer = site.send(request)

    login = guarded_host.gate.kind == gates.LOGIN and answer.status == 302 and not login_fault(guarded_host, answer)
    require(
        login or sent_to_login(guarded_host, request, answer) or answer.status in {307, 400, 401, 403, 404, 405},
        where=f"https://{guarded_host}{path}",
        want="a refusal (400, 401, 403, 404, 405), the login page, or a redirect to the plain spelling (307)",
        got=answer,
        reproduce=site.curl(request),
    )


INSIDE: Sequence[str] = ("/metrics", "/slots", "/props", "/health", "/completion", "/tokenize", "/lora-adapters")


@pytest.mark.parametrize("path", INSIDE)
def test_inner_pages_are_not_public(site: Site, host: Host, path: str) -> None:
    """Pages for operation (metrics, slots, properties) stay inside, even for who has the credential.

    Unless a route names the path: then it is meant to be public.
    """
    named = any(match.path == path for match in host.matches)
    request = Request(host.name, path, headers=site.credentials_if_any(host))

    answer = site.send(request)

    require(
        named
        or answer.status in {401, 403, 404, 405}
        or sent_to_own_login(site, host, answer)
        or _is_the_page(site, host, answer),
        where=f"https://{host}{path}",
        want="404: not routed",
        got=answer,
        reproduce=site.curl(request),
    )
