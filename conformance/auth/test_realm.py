"""The realm's login and token endpoint: exact addresses, one flow, no guessing, and no token for a password."""

import json
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

import pytest

from betelgeuse.tree import Host
from conformance.codeflow import authorization, code, exchange
from conformance.probes.http import Answer, Request
from conformance.probes.oidc import Hop, forms, query
from conformance.secrecy import Secret
from conformance.site import Site
from conformance.verdict import require

pytestmark = pytest.mark.feature("login")

_TOKEN: Final = "{}/protocol/openid-connect/token"  # noqa: S105 - an address


def _form(site: Site, path: str, form: Mapping[str, str | Secret]) -> Request:
    revealed = {key: value.reveal() if isinstance(value, Secret) else value for key, value in form.items()}
    body = urlencode(revealed).encode()
    headers = (("Content-Type", "application/x-www-form-urlencoded"),)
    return Request(site.identity.host.name, f"/realms/{site.identity.realm}{path}", "POST", headers, body)


def test_password_is_no_grant(site: Site) -> None:
    """No client gets a token for a name and a password: passwords are typed into the login page only."""
    identity = site.identity
    host = site.tree.behind("login")[0]
    person = identity.shared_person(identity.right_group(host))
    tried: dict[str, Secret | None] = {client.id: identity.client_secret(client) for client in site.tree.clients}
    tried |= dict.fromkeys(("admin-cli", "account", "account-console", "security-admin-console", "broker", "nobody"))
    for name, secret in tried.items():
        form: dict[str, str | Secret] = {"grant_type": "password", "client_id": name, "username": person.name}
        form |= {"password": person.password} | ({"client_secret": secret} if secret else {})

        answer = site.send(_form(site, "/protocol/openid-connect/token", form))

        require(
            answer.status in {400, 401, 403} and "access_token" not in answer.text,
            where=f"token endpoint, grant_type=password, client {name}",
            want="a refusal",
            got=answer,
            reproduce=f"curl -d grant_type=password -d client_id={name} {_TOKEN.format(identity.issuer)}",
        )


def test_wrong_secret_is_no_client(site: Site) -> None:
    """A program without its secret, or with another's, gets no token."""
    for client in site.tree.clients:
        others = [site.identity.client_secret(other) for other in site.tree.clients if other.id != client.id]
        tried: list[str | Secret] = ["", "wrong", *others]
        for secret in tried:
            form: dict[str, str | Secret] = {"grant_type": "client_credentials", "client_id": client.id}
            form |= {"client_secret": secret} if secret else {}

            answer = site.send(_form(site, "/protocol/openid-connect/token", form))

            require(
                answer.status in {400, 401} and "access_token" not in answer.text,
                where=f"token endpoint, client {client} with a secret that is not its own",
                want="400 or 401",
                got=answer,
                reproduce=f"curl -d grant_type=client_credentials -d client_id={client} -d client_secret=wrong "
                f"{_TOKEN.format(site.identity.issuer)}",
            )


def test_program_gets_its_token_at_the_edge(site: Site) -> None:
    """The control: every declared program gets a token for its audiences at the public address, with its secret."""
    for client in site.tree.clients:
        form: dict[str, str | Secret] = {"grant_type": "client_credentials", "client_id": client.id}
        secret = site.identity.client_secret(client)

        answer = site.send(_form(site, "/protocol/openid-connect/token", {**form, "client_secret": secret}))

        wanted = 200 if client.is_program else 400
        require(
            answer.status == wanted or (not client.is_program and answer.status in {401, 403}),
            where=f"token endpoint, client {client}",
            want="a token" if client.is_program else "a refusal: it is a client people log in with",
            got=answer.status,
            reproduce=f"invoke token --client={client} --env={site.settings.env}",
        )


def _login_page(answer: Answer) -> bool:
    return answer.status == 200 and any(form.asks_password for form in forms(answer))


def _redirects(host: Host) -> dict[str, str]:
    """Return redirect addresses that are not quite the declared one."""
    good = f"https://{host}{host.gate.callback}"
    return {
        "another-host": "https://evil.example/oauth2/callback",
        "plain-http": good.replace("https://", "http://", 1),
        "root": f"https://{host}/",
        "longer": f"{good}/more",
        "trailing-slash": f"{good}/",
        "query": f"{good}?next=https://evil.example",
        "fragment": f"{good}#evil",
        "dot-dot": f"{good}/../evil",
        "encoded-dot-dot": f"{good}/%2e%2e/evil",
        "suffix-domain": good.replace(host.name, f"{host}.evil.example"),
        "user-info": good.replace("https://", "https://evil.example@"),
        "user-info-behind": good.replace(host.name, f"{host}@evil.example"),
        "port": good.replace(host.name, f"{host}:8443"),
        "upper-case": f"https://{host}{host.gate.callback.upper()}",
        "wildcard": f"https://{host}/*",
        "sister-host": good.replace(host.label, "auth", 1),
        "javascript": "javascript:alert(1)",
        "empty-host": "https:///oauth2/callback",
        "backslash": good.replace("https://", "https:\\\\"),
        "none-at-all": "",
    }


def test_redirect_must_be_exact(site: Site, login_host: Host) -> None:
    """An address to return to that is not letter by letter the declared one is refused, without going there."""
    for name, address in _redirects(login_host).items():
        hop = site.identity.browser().go(authorization(site.identity, login_host, redirect_uri=address))

        require(
            400 <= hop.answer.status < 500 and not hop.leads_to,
            where=f"login page for {login_host.gate.client}, redirect_uri {name}: {address}",
            want="a refusal that leads nowhere",
            got=f"{hop.answer.status} to {hop.leads_to.partition('?')[0] or 'nowhere'}",
            reproduce=f"a browser at {authorization(site.identity, login_host, redirect_uri=address)}",
        )


REQUESTS: Final[Mapping[str, Mapping[str, str]]] = {
    "no-pkce": {"code_challenge": "", "code_challenge_method": ""},
    "plain-pkce": {"code_challenge_method": "plain"},
    "short-challenge": {"code_challenge": "short"},
    "implicit": {"response_type": "token"},
    "hybrid": {"response_type": "code id_token token"},
    "implicit-id-token": {"response_type": "id_token"},
    "no-response-type": {"response_type": ""},
    "unknown-client": {"client_id": "nobody"},
    "no-client": {"client_id": ""},
    "machine-client": {"client_id": "api-client"},
    "admin-console-client": {"client_id": "realm-management"},
    "unknown-scope": {"scope": "openid nobody-has-this"},
}


@pytest.mark.parametrize("case", sorted(REQUESTS))
def test_improper_login_is_refused(site: Site, login_host: Host, case: str) -> None:
    """A login without PKCE S256, by another flow, or for a client that is not for people never gets to a login form."""
    hop = site.identity.browser().go(authorization(site.identity, login_host, **REQUESTS[case]))

    refused = 400 <= hop.answer.status < 500 or "error" in query(hop.leads_to.replace("#", "?"))
    require(
        refused and not _login_page(hop.answer),
        where=f"login page for {login_host}, {case}",
        want="a refusal: 4xx, or an error sent back to the declared address",
        got=f"{hop.answer.status} to {hop.leads_to.partition('?')[0] or 'nowhere'}",
        reproduce=f"a browser at {authorization(site.identity, login_host, **REQUESTS[case])}",
    )


def test_proper_login_gets_to_the_form(site: Site, login_host: Host) -> None:
    """The control: the same request without a fault shows the login form."""
    hop = site.identity.browser().go(authorization(site.identity, login_host))

    require(
        _login_page(hop.answer),
        where=f"login page for {login_host}",
        want="200 with a login form",
        got=hop.answer,
        reproduce=f"a browser at {authorization(site.identity, login_host)}",
    )


def test_code_needs_its_verifier(site: Site, login_host: Host) -> None:
    """A code that was seen on its way is worth nothing without the verifier that only the gate has."""
    identity = site.identity
    person = identity.shared_person(identity.right_group(login_host))
    stolen = code(identity, login_host, person)

    grant = exchange(identity, login_host, stolen, verifier="x" * 64)

    require(
        stolen and grant.status in {400, 401} and not grant.data.get("access_token"),
        where=f"token endpoint, a code for {login_host} with another verifier",
        want="400",
        got=grant if stolen else "no code",
        reproduce="see conformance/identity.py, exchange",
    )


def test_nobody_registers_himself(site: Site, login_host: Host) -> None:
    """Nobody makes himself an account or a client, and nobody resets another's password, at the edge."""
    realm = f"/realms/{site.identity.realm}"
    asked = query(authorization(site.identity, login_host))
    host = site.identity.host.name
    kind = (("Content-Type", "application/json"),)
    client = json.dumps({"redirect_uris": ["https://evil.example/"], "clientId": "evil"}).encode()
    requests = {
        "registration page": Request(host, f"{realm}/protocol/openid-connect/registrations?{urlencode(asked)}"),
        "client": Request(host, f"{realm}/clients-registrations/default", "POST", kind, client),
        "OpenID client": Request(host, f"{realm}/clients-registrations/openid-connect", "POST", kind, client),
        "reset": Request(host, f"{realm}/login-actions/reset-credentials?client_id={login_host.gate.client}"),
        "introspection": _form(site, "/protocol/openid-connect/token/introspect", {"token": "a"}),
        "who am I": Request(host, f"{realm}/protocol/openid-connect/userinfo"),
        "device": _form(site, "/protocol/openid-connect/auth/device", {"client_id": login_host.gate.client}),
    }
    for name, request in requests.items():
        answer = site.send(request)

        harmless = 400 <= answer.status < 500 or (answer.status == 200 and "<input" not in answer.text)
        require(
            harmless or answer.status == 302,
            where=f"https://{host}{request.path.partition('?')[0]} ({name})",
            want="a refusal",
            got=answer,
            reproduce=site.curl(request),
        )


def _wrong(site: Site, page: Hop, name: str) -> Hop:
    browser = site.identity.browser()
    return browser.submit_login(browser.go(page.url), name, Secret("Wrong-Password-1", "wrong"))


def test_guessing_locks_the_account(site: Site, login_host: Host) -> None:
    """After a few wrong passwords the account is locked for a while: then the right one does not help either."""
    identity = site.identity
    person = identity.person(identity.right_group(login_host))
    limit = int(identity.keycloak.settings().get("failureFactor", 0))
    page = identity.browser().go(authorization(identity, login_host))
    tries = 0
    while tries < min(limit, 30) + 2 and not identity.keycloak.is_locked(person):
        _wrong(site, page, person.name)
        tries += 1

    given = code(identity, login_host, person)

    locked = identity.keycloak.is_locked(person)
    require(
        locked and not given,
        where=f"login page, {tries} wrong passwords, then the right one",
        want=f"a locked account after {limit} at most, and no way on with the right password",
        got=f"locked: {locked}, the right password {'works' if given else 'does not work'}",
        reproduce=f"a browser at https://{login_host}: type a wrong password {limit} times",
    )


def test_wrong_password_tells_nothing(site: Site, login_host: Host) -> None:
    """A wrong password and an unknown name are answered alike: nobody learns which accounts there are."""
    identity = site.identity
    person = identity.person(identity.right_group(login_host))
    page = identity.browser().go(authorization(identity, login_host))

    known, unknown = _wrong(site, page, person.name), _wrong(site, page, f"{person.name}-nobody")

    same = [hop.answer.text.replace(f"{person.name}-nobody", person.name) for hop in (known, unknown)]
    words = ["Invalid username or password" in text for text in same]
    require(
        known.answer.status == unknown.answer.status and words[0] == words[1] and _login_page(known.answer),
        where=f"login page for {login_host}",
        want="the same answer",
        got=f"{known.answer.status} and {unknown.answer.status}, the same words: {words[0] == words[1]}",
        reproduce=f"a browser at https://{login_host}",
    )
