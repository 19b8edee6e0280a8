"""What a proper refusal is, for each class of gate.

Pure but for one question: does the gateway lead there at all?
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from betelgeuse.tree import Host, Match, gates
from conformance.probes.http import Answer, Request
from conformance.probes.oidc import query
from conformance.secrecy import Secret
from conformance.site import Site
from conformance.verdict import require_none

REFUSED: Final = frozenset({400, 401, 403, 404, 405, 501})
"""404 and 405 come from the gateway for what no route takes: the application has not seen it either."""
ODD: Final = frozenset({"TRACE", "CONNECT", "FOO"})
"""Methods that a gateway may refuse before it asks who calls."""
_REDIRECTS: Final = frozenset({301, 302, 303, 307})
_CHALLENGE: Final = 43
"""Characters of a SHA-256 in base64url."""


def takes(match: Match, request: Request) -> bool:
    """Whether a route's match takes a request."""
    path = request.path.partition("?")[0]
    hit = match.path == path or (not match.exact and path.startswith(match.path.rstrip("/") + "/"))
    return (hit or (not match.exact and match.path == "/")) and match.method in {"", request.method}


def routed_ways(host: Host) -> Iterator[Request]:
    """Yield what a route takes, and the root: enough where only the credential differs."""
    yield Request(host.name, "/")
    for match in host.matches:
        yield Request(host.name, match.path, match.method or "GET")


def _leads_there(site: Site, host: Host) -> bool:
    """Whether the gateway leads to the host at all: where it does not, that is for the routing checks to say."""

    def look() -> bool:
        door = Request(host.name, host.door.path, host.door.method or "GET", site.credentials_if_any(host))
        return site.send(door).status != 404  # noqa: PLR2004 - the gateway's own

    return site.once(("routed", host.name), look)


def login_fault(host: Host, answer: Answer) -> str:
    """Return what is wrong with a redirect to the login page: whose it is, for whom, and whether it is protected."""
    gate = host.gate
    target = answer.header("location") or ""
    asked = query(target)
    page = urlsplit(target)
    wanted = {
        "the realm's login page": f"{page.scheme}://{page.netloc}{page.path}"
        == f"{gate.issuer}/protocol/openid-connect/auth",
        f"client {gate.client}": asked.get("client_id") == gate.client,
        "an authorization code": asked.get("response_type") == "code",
        "this host's exact callback": asked.get("redirect_uri") == f"https://{host}{gate.callback}",
        "PKCE with S256": asked.get("code_challenge_method") == "S256"
        and len(asked.get("code_challenge", "")) == _CHALLENGE,
        "a state": bool(asked.get("state")),
        "scope openid": "openid" in asked.get("scope", "").split(),
    }
    missing = [name for name, there in wanted.items() if not there]
    return f"a redirect without {', '.join(missing)}" if missing else ""


def is_quiet(host: Host, request: Request) -> bool:
    """Whether the caller says that it is no browser: it gets 401 instead of a redirect."""
    said = {name.lower(): str(value) for name, value in request.headers}
    return any(said.get(name.lower(), "").startswith(value) for name, value in host.gate.quiet)


def _login_answer(host: Host, request: Request, answer: Answer) -> str:
    """Return what is wrong with the answer of a login gate to somebody unknown."""
    path = request.path.partition("?")[0]
    if path == host.gate.callback or is_quiet(host, request):
        return "" if answer.status == 401 else "not 401"  # noqa: PLR2004 - as asked
    if path == host.gate.logout:
        # Whoever was not logged in is so afterwards: the way leads to the realm's logout, or back to the host.
        target = answer.header("location") or ""
        home = target.startswith((f"{host.gate.issuer}/protocol/openid-connect/logout", f"https://{host}/"))
        return "" if home or answer.status in REFUSED else f"leads to {target}"
    if answer.status in _REDIRECTS:
        return login_fault(host, answer)
    return "" if answer.status == 401 else "neither 401 nor the login page"  # noqa: PLR2004 - as asked


def shows_token(request: Request) -> bool:
    """Whether a request goes by the gate for tokens, where that is one of two; several headers are read as one."""
    said = ",".join(
        (value.reveal() if isinstance(value, Secret) else value).strip()
        for name, value in request.headers
        if name.lower() == "authorization"
    )
    return re.fullmatch(gates.BEARER, said, re.DOTALL) is not None


def _met_by(host: Host, request: Request) -> Host:
    """Return the host as this request meets it: who shows no token goes by the other of its two gates."""
    if host.otherwise is None or shows_token(request):
        return host
    return replace(host, gate=host.otherwise, otherwise=None)


def sent_to_login(host: Host, request: Request, answer: Answer) -> bool:
    """Whether a request without a token was properly sent to the login page, of a host that takes both."""
    met = _met_by(host, request)
    return met is not host and met.gate.kind == gates.LOGIN and not _login_answer(met, request, answer)


def sent_to_own_login(site: Site, host: Host, answer: Answer) -> bool:
    """Whether an application that signs people in itself sends the caller to its page for that, or to Keycloak."""
    signs_in = host.gate.kind == gates.PUBLIC and any(client.host == host.name for client in site.tree.clients)
    page = urlsplit(answer.header("location") or "")
    at = {"", host.name, urlsplit(site.identity.issuer).netloc}
    return signs_in and answer.status in {302, 303, 307} and page.netloc in at


def fault(site: Site, host: Host, request: Request, answer: Answer) -> str:
    """Return what is wrong with an answer to somebody unknown; empty when he was properly refused."""
    host = _met_by(host, request)
    routed = any(takes(match, request) for match in host.matches)
    upgrades = any(name.lower() == "upgrade" for name, _ in request.headers)
    strict = routed and request.method not in ODD and _leads_there(site, host)
    told = f"{request.method} {request.path}: {answer}"
    # A gateway that upgrades no connection may say so (403) before it asks who calls.
    if answer.status in REFUSED and (not strict or (upgrades and answer.status in {401, 403})):
        return ""
    # A path that the gate guards and the application never sees, such as its metrics, may lead to the login page too.
    if host.gate.kind == gates.LOGIN and (routed or answer.status in _REDIRECTS):
        wrong = _login_answer(host, request, answer)
        return f"{told}: {wrong}" if wrong else ""
    if answer.status == 401:  # noqa: PLR2004 - as asked
        asks = (answer.header("www-authenticate") or "").lower().startswith("basic")
        return "" if asks or host.gate.kind != gates.PASSWORD else f"{told}: does not ask for Basic credentials"
    return told


def sweep(site: Site, host: Host, requests: Iterable[Request]) -> None:
    """Send requests of somebody unknown, and require that each is properly refused."""
    asked = list(requests)

    answers = site.sweep(asked)

    pairs = zip(asked, answers, strict=True)
    faults = [(request, text) for request, answer in pairs if (text := fault(site, host, request, answer))]
    require_none(
        [text for _, text in faults],
        where=f"{host}: {len(faults)} of {len(asked)} ways of asking",
        want=f"the refusal of a {host.gate} gate for every routed path and method, some refusal for the others",
        reproduce=site.curl(faults[0][0]) if faults else "",
    )
