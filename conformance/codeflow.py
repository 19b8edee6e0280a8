"""The authorization code flow, asked for by hand: what the gate of a page does, seen from beside it."""

import base64
import hashlib
import secrets
from http import HTTPStatus
from typing import Final
from urllib.parse import urlencode

from betelgeuse.tree import Host
from conformance.identity import Identity
from conformance.probes.keycloak import Grant, Person
from conformance.probes.oidc import query
from conformance.verdict import require

VERIFIER: Final = secrets.token_urlsafe(48)
CHALLENGE: Final = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


def authorization(identity: Identity, host: Host, **changes: str) -> str:
    """Return the address of the login page for a host, as its gate would ask for it; an empty value leaves out."""
    asked = {
        "client_id": host.gate.client,
        "response_type": "code",
        "scope": "openid",
        "redirect_uri": f"https://{host}{host.gate.callback}",
        "state": "conformance",
        "nonce": "conformance",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        **changes,
    }
    kept = {key: value for key, value in asked.items() if value}
    return f"{identity.issuer}/protocol/openid-connect/auth?{urlencode(kept)}"


def code(identity: Identity, host: Host, person: Person) -> str:
    """Log a person in for a host, and return the code that would go to its gate."""
    callback = f"https://{host}{host.gate.callback}"
    trail = identity.browser().login(
        authorization(identity, host), person.name, person.password, until=lambda url: url.startswith(callback)
    )
    return query(trail[-1].leads_to).get("code", "")


def exchange(identity: Identity, host: Host, code: str, verifier: str = "") -> Grant:
    """Exchange a code for tokens, as a host's gate does."""
    client = next(client for client in identity.tree.clients if client.id == host.gate.client)
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": f"https://{host}{host.gate.callback}",
        "client_id": client.id,
        "client_secret": identity.client_secret(client).reveal(),
        "code_verifier": verifier or VERIFIER,
    }
    return identity.keycloak.grant(form)


def page_tokens(identity: Identity, host: Host) -> dict[str, str]:
    """Return the tokens that the gate of a host would get for a login."""
    grant = exchange(identity, host, code(identity, host, identity.shared_person(identity.right_group(host))))
    require(
        grant.status == HTTPStatus.OK,
        where=f"client {host.gate.client}",
        want="tokens for a code",
        got=grant,
        reproduce=f"a browser at https://{host}{host.door.path}",
    )
    return {name: grant.token(name) for name in ("access_token", "id_token", "refresh_token")}
