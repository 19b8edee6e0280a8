"""Keycloak at the edge: one realm, one issuer, exact redirects, and nobody guesses a password."""

import json
from collections.abc import Mapping
from typing import Final

import pytest

from conformance.codeflow import page_tokens
from conformance.probes.http import Answer, Header, Request
from conformance.secrecy import Secret
from conformance.site import Site
from conformance.verdict import require, require_none

pytestmark = pytest.mark.feature("login")

_GONE: Final = frozenset({400, 404})
_INSIDE: Final = (
    "/",
    "/admin",
    "/admin/",
    "/admin/master/console/",
    "/admin/master/console",
    "/admin/realms",
    "/admin/realms/",
    "/admin/realms/master",
    "/admin/realms/master/users",
    "/realms/master",
    "/realms/master/",
    "/realms/master/.well-known/openid-configuration",
    "/realms/master/protocol/openid-connect/auth?client_id=security-admin-console",
    "/realms/master/protocol/openid-connect/certs",
    "/realms/master/account/",
    "/realms/{realm}/../master/",
    "/realms/{realm}/../master/.well-known/openid-configuration",
    "/realms/{realm}/%2e%2e/master/.well-known/openid-configuration",
    "/realms/{realm}/..;/master/.well-known/openid-configuration",
    "/realms/{realm}/..%2fmaster/.well-known/openid-configuration",
    "/realms/{realm}/..%5cmaster/.well-known/openid-configuration",
    "/realms//master/.well-known/openid-configuration",
    "/realms/%6daster/.well-known/openid-configuration",
    "/realms/./master/.well-known/openid-configuration",
    "/REALMS/master/.well-known/openid-configuration",
    "/realms/Master/.well-known/openid-configuration",
    "/resources/../realms/master/.well-known/openid-configuration",
    "/resources/..;/realms/master/.well-known/openid-configuration",
    "/resources/%2e%2e/admin/master/console/",
    "/admin/realms/{realm}/../master",
    "/admin/realms/{realm}/..;/master",
    "/metrics",
    "/health",
    "/health/ready",
    "/health/live",
    "/health/started",
    "/lb-check",
    "/q/health",
    "/robots.txt",
    "/realms/{realm}/../../metrics",
)


def test_other_realms_stay_inside(site: Site) -> None:
    """The administrator's realm, its console, health and metrics are not at the edge, by any spelling."""
    host, realm = site.identity.host, site.identity.realm
    paths = [path.replace("{realm}", realm) for path in _INSIDE]
    requests = [Request(host.name, path, method) for path in paths for method in ("GET", "POST")]

    answers = site.sweep(requests)

    def leaks(request: Request, answer: Answer) -> bool:
        # A redirect to the plain spelling says nothing; where it leads is asked for by its own line above. What stays
        # below the realm's own address may be refused by Keycloak itself.
        own = request.path.startswith((f"/realms/{realm}", f"/admin/realms/{realm}"))
        harmless = {*_GONE, 301, 307, 308} | ({401, 403, 405} if own else set())
        return answer.status not in harmless or '"master"' in answer.text

    pairs = zip(requests, answers, strict=True)
    faults = [(request, answer) for request, answer in pairs if leaks(request, answer)]
    require_none(
        [f"{request.method} {request.path}: {answer}" for request, answer in faults],
        where=f"https://{host}",
        want="404 (or 400) for everything but the realm's own pages",
        reproduce=site.curl(faults[0][0]) if faults else "",
    )


def test_realm_is_administered_by_its_own_people(site: Site) -> None:
    """The Admin API at the edge answers nobody without a right to it: not anonymous, not a member, not a program."""
    host, realm = site.identity.host, site.identity.realm
    paths = ("", "/users", "/clients", "/groups", "/events", "/keys", "/partial-export", "/client-secret")
    tokens: list[tuple[Header, ...]] = [()]
    for login_host in site.tree.behind("login"):
        text = site.once(("page tokens", login_host.name), lambda h=login_host: page_tokens(site.identity, h))  # type: ignore[misc]
        tokens.append((("Authorization", Secret(f"Bearer {text['access_token']}", "Bearer $TOKEN_OF_A_MEMBER")),))
    tokens += [site.credentials(token_host) for token_host in site.tree.behind("token")]
    requests = [Request(host.name, f"/admin/realms/{realm}{path}", headers=each) for path in paths for each in tokens]
    requests += [Request(host.name, "/admin/serverinfo", headers=each) for each in tokens]

    answers = site.sweep(requests)

    pairs = zip(requests, answers, strict=True)
    faults = [(request, answer) for request, answer in pairs if answer.status not in {401, 403, 404, 405}]
    require_none(
        [f"{request.path}: {answer}" for request, answer in faults],
        where=f"https://{host}/admin/realms/{realm}",
        want="401 or 403",
        reproduce=site.curl(faults[0][0]) if faults else "",
    )


TRICKS: Final[Mapping[str, tuple[Header, ...]]] = {
    "plain": (),
    "x-forwarded-host": (("X-Forwarded-Host", "evil.example"),),
    "x-forwarded-host-twice": (("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Host", "evil2.example")),
    "x-forwarded-proto": (("X-Forwarded-Proto", "http"),),
    "x-forwarded-port": (("X-Forwarded-Port", "8443"),),
    "x-forwarded-prefix": (("X-Forwarded-Prefix", "/evil"),),
    "x-forwarded-server": (("X-Forwarded-Server", "evil.example"),),
    "forwarded": (("Forwarded", "host=evil.example;proto=http"),),
    "x-original-host": (("X-Original-Host", "evil.example"), ("X-Host", "evil.example")),
    "origin": (("Origin", "https://evil.example"),),
}


@pytest.mark.parametrize("trick", sorted(TRICKS))
def test_issuer_does_not_follow_the_caller(site: Site, trick: str) -> None:
    """Whatever host a caller says he asked, the realm's issuer and addresses stay the same."""
    host, issuer = site.identity.host, site.identity.issuer
    path = f"/realms/{site.identity.realm}/.well-known/openid-configuration"
    request = Request(host.name, path, headers=TRICKS[trick])

    answer = site.send(request)

    try:
        said = json.loads(answer.body)
    except ValueError:
        said = {}
    addresses = [value for value in said.values() if isinstance(value, str) and value.startswith("http")]
    home = issuer.partition("/realms/")[0] + "/"
    require(
        answer.status == 200
        and said.get("issuer") == issuer
        and addresses
        and all(address.startswith(home) for address in addresses),
        where=f"https://{host}{path}, {trick}",
        want=f"issuer {issuer}, and every address below {home}",
        got=f"{answer.status}, issuer {said.get('issuer')}, {[a for a in addresses if not a.startswith(home)]}",
        reproduce=site.curl(request),
    )


def test_issuer_is_the_same_inside(site: Site) -> None:
    """Asked inside the cluster, with any Host, the realm names the same issuer: tokens from there are good here."""
    path = f"/realms/{site.identity.realm}/.well-known/openid-configuration"
    for host in ("", "evil.example", "keycloak.auth"):
        said = site.identity.keycloak.ask("GET", path, headers={"Host": host} if host else {}).json()

        require(
            said.get("issuer") == site.identity.issuer,
            where=f"Keycloak inside, Host {host or 'as it is'}",
            want=site.identity.issuer,
            got=said.get("issuer"),
            reproduce=f"kubectl -n auth port-forward service/keycloak 8080:80; curl http://127.0.0.1:8080{path}",
        )


def test_keys_are_public_halves(site: Site) -> None:
    """The realm shows the public halves of its keys, and at least one of them for RS256."""
    host = site.identity.host
    request = Request(host.name, f"/realms/{site.identity.realm}/protocol/openid-connect/certs")

    answer = site.send(request)

    keys = json.loads(answer.body).get("keys", []) if answer.status == 200 else []
    private = {name for key in keys for name in key if name in {"d", "p", "q", "dp", "dq", "qi", "k"}}
    require(
        any(key.get("alg") == "RS256" for key in keys) and not private,
        where=f"https://{host}{request.path}",
        want="public keys, one for RS256",
        got=f"{[key.get('alg') for key in keys]}, private parts: {sorted(private) or 'none'}",
        reproduce=site.curl(request),
    )
