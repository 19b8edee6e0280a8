"""Tokens: only a genuine one, in force, for this API, in its proper place opens it.

Forged ones are made from a genuine token and the realm's public key. What only a genuine signature can prove (another
API's audience, another realm, an expiry, a start in the future) is done with tokens that Keycloak really signed.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import pytest

from betelgeuse.tree import Host, gates
from conformance.auth.refusal import sent_to_login
from conformance.codeflow import page_tokens
from conformance.probes import jwt
from conformance.probes.http import Header, Request
from conformance.probes.jwt import FORGERIES, TOO_LARGE, Material
from conformance.probes.keycloak import Machine
from conformance.secrecy import Secret
from conformance.site import Site
from conformance.timeouts import TIMEOUTS
from conformance.verdict import poll, require, require_none

pytestmark = pytest.mark.feature("tokens")

_REFUSED: Final = frozenset({401})
_TOO_LARGE: Final = frozenset({0, 400, 401, 413, 431})
"""0 is a connection closed before all of it was read."""
_SKEW: Final = 61.0
"""Seconds after its end at which a token is certainly over: clocks may differ by a minute."""
_FUTURE: Final = 3600


def _bearer(token: str, name: str) -> tuple[Header, ...]:
    return (("Authorization", Secret(f"Bearer {token}", f"Bearer ${name.upper().replace('-', '_')}")),)


def _other_audience(site: Site, host: Host) -> str:
    others = (other.gate.audiences[0] for other in site.tree.hosts if other.gate.audiences and other.name != host.name)
    return next(others, "nobody")


def material(site: Site, host: Host) -> Material:
    """Return what an attacker would have: two genuine tokens and the public key that the realm shows everyone."""

    def gather() -> Material:
        identity = site.identity
        real = identity.token(host.gate.audiences[0]).reveal()
        machine = _machine(site, "other", _other_audience(site, host))
        other = identity.granted(machine.name, machine.secret)
        keys = identity.keycloak.ask("GET", f"/realms/{identity.realm}/protocol/openid-connect/certs").json()["keys"]
        kid = jwt.decode(real)[0].get("kid")
        return Material(real, other, next(key for key in keys if key.get("kid") == kid))

    return site.once(("material", host.name), gather)


def _machine(site: Site, purpose: str, audience: str, **attributes: str) -> Machine:
    """Return a program of this run's own."""
    known = [name for host in site.tree.behind(gates.TOKEN) for name in host.gate.audiences]
    audiences = (audience,) if audience in known else ()
    return site.once(("machine", purpose, audience), lambda: site.identity.machine(*audiences, **attributes))


def _asked(host: Host, headers: tuple[Header, ...], query: str = "") -> Iterator[Request]:
    for match in host.matches:
        yield Request(host.name, f"{match.path}{query}", match.method or "GET", headers)


def _refused(  # noqa: PLR0913 - whose token, how it was shown, and what may come of it
    site: Site,
    host: Host,
    name: str,
    headers: tuple[Header, ...],
    *,
    query: str = "",
    allowed: frozenset[int] = _REFUSED,
) -> None:
    requests = list(_asked(host, headers, query))

    answers = site.sweep(requests)

    pairs = list(zip(requests, answers, strict=True))
    require_none(
        [
            f"{request.method} {request.path}: {answer}"
            for request, answer in pairs
            if answer.status not in allowed and not sent_to_login(host, request, answer)
        ],
        where=f"https://{host}, {name}",
        want=f"{' or '.join(map(str, sorted(allowed)))} on every route: no answer of the app, no redirect, no 5xx",
        reproduce=site.curl(requests[0]),
    )


@dataclass(frozen=True, slots=True)
class Short:
    """A genuine token that lives for a second, and the moment it was made at."""

    token: str
    made: float

    @property
    def life(self) -> float:
        """Seconds between its beginning and its end."""
        claims = jwt.decode(self.token)[1]
        return float(claims["exp"] - claims["iat"])


def short_lived(site: Site, host: Host) -> Short:
    """Return the run's short-lived token for a host: asked for early, looked at again when it is over."""

    def ask() -> Short:
        machine = _machine(site, "short", host.gate.audiences[0], access_token_lifespan="1")  # noqa: S106 - seconds
        return Short(site.identity.granted(machine.name, machine.secret), time.monotonic())

    return site.once(("short", host.name), ask)


@pytest.mark.early
def test_right_token_is_admitted(site: Site, token_host: Host) -> None:
    """The control: a token of a program made for this run, for this API, is let in while it lasts."""
    door = token_host.door
    headers = _bearer(short_lived(site, token_host).token, "token")
    request = Request(token_host.name, door.path, door.method or "GET", headers)

    answer = site.send(request)

    require(
        answer.status not in {0, 401, 403},
        where=f"https://{token_host}{door.path}",
        want="to be let in",
        got=answer,
        reproduce=site.curl(request),
    )


@pytest.mark.parametrize("scheme", ["bearer", "BEARER"])
def test_scheme_s_case_does_not_matter(site: Site, token_host: Host, scheme: str) -> None:
    """`bearer` and `BEARER` are `Bearer` (RFC 9110, 11.1)."""
    door = token_host.door
    token = site.identity.token(token_host.gate.audiences[0]).reveal()
    headers = (("Authorization", Secret(f"{scheme} {token}", f"{scheme} $TOKEN")),)
    request = Request(token_host.name, door.path, door.method or "GET", headers)

    answer = site.send(request)

    require(
        answer.status not in {0, 401, 403},
        where=f"https://{token_host}{door.path}, Authorization: {scheme} TOKEN",
        want="to be let in",
        got=answer,
        reproduce=site.curl(request),
    )


@pytest.mark.parametrize("forgery", sorted(FORGERIES))
def test_forged_token_is_refused(site: Site, token_host: Host, forgery: str) -> None:
    """A token that the realm did not sign as it stands is refused: 401, never a redirect, never a 5xx."""
    token = FORGERIES[forgery](material(site, token_host))
    allowed = _TOO_LARGE if forgery in TOO_LARGE else _REFUSED
    # What is not ASCII cannot be written into a header any other way.
    shown = token.encode().decode("latin-1")
    _refused(site, token_host, forgery, _bearer(shown, forgery), allowed=allowed)


PLACES: Final[Mapping[str, Callable[[str], tuple[tuple[Header, ...], str]]]] = {
    "query-access-token": lambda _: ((), "?access_token={}"),
    "query-token": lambda _: ((), "?token={}"),
    "query-id-token": lambda _: ((), "?id_token={}"),
    "cookie": lambda token: ((("Cookie", Secret(f"access_token={token}", "access_token=$TOKEN")),), ""),
    "scheme-basic": lambda token: ((("Authorization", Secret(f"Basic {token}", "Basic $TOKEN")),), ""),
    "scheme-token": lambda token: ((("Authorization", Secret(f"Token {token}", "Token $TOKEN")),), ""),
    "scheme-missing": lambda token: ((("Authorization", Secret(token, "$TOKEN")),), ""),
    "proxy-authorization": lambda token: ((("Proxy-Authorization", Secret(f"Bearer {token}", "Bearer $TOKEN")),), ""),
    "x-access-token": lambda token: ((("X-Access-Token", Secret(token, "$TOKEN")),), ""),
    "x-forwarded-access-token": lambda token: ((("X-Forwarded-Access-Token", Secret(token, "$TOKEN")),), ""),
    "x-api-key": lambda token: ((("X-Api-Key", Secret(token, "$TOKEN")),), ""),
    "authorization-underscored": lambda token: (
        (("X_Authorization", Secret(f"Bearer {token}", "Bearer $TOKEN")),),
        "",
    ),
}


@pytest.mark.parametrize("place", sorted(PLACES))
def test_token_elsewhere_is_refused(site: Site, token_host: Host, place: str) -> None:
    """A genuine token anywhere but after `Authorization: Bearer` opens nothing: addresses and cookies are logged."""
    machine = _machine(site, "places", token_host.gate.audiences[0])
    # One that is good for a minute only: in an address it may end up in an access log.
    token = site.once(("token", machine.name), lambda: site.identity.granted(machine.name, machine.secret))
    headers, query = PLACES[place](token)
    _refused(site, token_host, place, headers, query=query.format(token))


def test_two_credentials_are_refused(site: Site, token_host: Host) -> None:
    """A genuine and a forged token together are refused in either order: nobody guesses which one counts."""
    held = material(site, token_host)
    good, bad = f"Bearer {held.real}", f"Bearer {held.forged()}"
    for first, second in ((good, bad), (bad, good)):
        headers = (("Authorization", Secret(first, "Bearer $ONE")), ("Authorization", Secret(second, "Bearer $TWO")))
        _refused(site, token_host, "two credentials", headers, allowed=frozenset({400, 401}))


def test_token_of_another_realm_is_refused(site: Site, token_host: Host) -> None:
    """A genuine token of Keycloak's other realm, the administrator's, is refused."""
    grant = site.identity.keycloak.administrator()
    _refused(site, token_host, "the administrator's token", _bearer(grant.token(), "admin-token"))


@pytest.mark.late
def test_expired_token_is_refused(site: Site, token_host: Host) -> None:
    """A genuine token is refused once it is over, by a minute at most for clocks that differ."""
    short = short_lived(site, token_host)
    over = short.made + short.life + _SKEW

    poll(time.monotonic, lambda now: now >= over, TIMEOUTS.skew)

    _refused(site, token_host, "an expired token", _bearer(short.token, "expired-token"))


def test_token_of_the_future_is_refused(site: Site, token_host: Host) -> None:
    """A genuine token whose time has not come is refused."""
    start = int(time.time()) + _FUTURE
    config = {"claim.name": "nbf", "claim.value": str(start), "jsonType.label": "long", "access.token.claim": "true"}
    mapper = {
        "name": "nbf",
        "protocol": "openid-connect",
        "protocolMapper": "oidc-hardcoded-claim-mapper",
        "config": config,
    }
    machine = site.once(
        ("machine", "future", token_host.name),
        lambda: site.identity.machine(token_host.gate.audiences[0], mappers=[mapper]),
    )
    token = site.identity.granted(machine.name, machine.secret)
    require(
        jwt.decode(token)[1].get("nbf") == start,
        where="Keycloak",
        want=f"a token with nbf {start}",
        got=jwt.decode(token)[1].get("nbf"),
        reproduce="a client with a hardcoded-claim mapper for nbf",
    )
    _refused(site, token_host, "a token of the future", _bearer(token, "future-token"))


@pytest.mark.feature("login")
@pytest.mark.parametrize("kind", ["access_token", "id_token", "refresh_token"])
def test_token_of_a_page_opens_no_api(site: Site, token_host: Host, login_host: Host, kind: str) -> None:
    """The tokens of somebody who logged in at a page, genuine as they are, open no API."""
    tokens = site.once(("page tokens", login_host.name), lambda: page_tokens(site.identity, login_host))
    _refused(site, token_host, f"the {kind} of a login at {login_host}", _bearer(tokens[kind], kind))
