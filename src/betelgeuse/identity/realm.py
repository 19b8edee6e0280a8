"""The realm as data: what Keycloak's Admin API must say of it. Pure.

Only what is written here is compared and set; everything else of the realm belongs to the people who administer it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from betelgeuse.tree import Client

Rep = dict[str, Any]
"""A representation of Keycloak's Admin API: plain data."""

REALM: Final = "betelgeuse"
OWNED: Final = "betelgeuse.io/owned"
"""Attribute of the clients, scopes and groups that are ours to delete."""
MANAGEMENT: Final = "realm-management"
"""Keycloak's own client whose roles are the rights to administer the realm."""

GROUPS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"platform-admins": ("realm-admin",), "researchers": (), "annotators": ()}
)
"""Group -> the rights over this realm that its members have: exactly these.

Each has a role of its name, and tokens tell these roles as `groups`. Somebody may be in sixty more: the gateway keeps
tokens in cookies, and a browser drops one of more than 4096 bytes.
"""

LOGIN_CALLBACK: Final = "/oauth2/callback"
"""Of the clients whose tokens the gateway keeps in cookies."""

_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR

_BRUTE_FORCE: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "bruteForceProtected": True,
        # Nobody can lock a colleague out for good: the wait grows by a minute for every ten failures, up to 15.
        "permanentLockout": False,
        "failureFactor": 10,
        "waitIncrementSeconds": _MINUTE,
        "maxFailureWaitSeconds": 15 * _MINUTE,
        "maxDeltaTimeSeconds": 12 * _HOUR,
        "quickLoginCheckMilliSeconds": 1000,
        "minimumQuickLoginWaitSeconds": _MINUTE,
    }
)

SETTINGS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "realm": REALM,
        "displayName": "Betelgeuse",
        "enabled": True,
        # The gateway asks for tokens and keys inside the cluster, from a private address; everybody else over TLS.
        "sslRequired": "external",
        "registrationAllowed": False,
        "resetPasswordAllowed": False,
        "rememberMe": False,
        "verifyEmail": False,
        "editUsernameAllowed": False,
        "duplicateEmailsAllowed": False,
        **_BRUTE_FORCE,
        "defaultSignatureAlgorithm": "RS256",
        "accessTokenLifespan": 5 * _MINUTE,
        "accessCodeLifespan": _MINUTE,
        "ssoSessionIdleTimeout": 30 * _MINUTE,
        "ssoSessionMaxLifespan": 10 * _HOUR,
        # Length beats composition; a name or an address is the first thing that is tried.
        "passwordPolicy": "length(12) and maxLength(128) and notUsername and notEmail and passwordHistory(3)",
        "otpPolicyType": "totp",
        "otpPolicyDigits": 6,
        "otpPolicyPeriod": 30,
        # Who logged in and who changed what, kept for a month.
        "eventsEnabled": True,
        "eventsExpiration": 30 * _DAY,
        "adminEventsEnabled": True,
        # And to the server's log, where the platform's logs are (base/auth/keycloak says from which level on).
        "eventsListeners": ["jboss-logging"],
    }
)

MASTER: Final[Mapping[str, Any]] = MappingProxyType(
    # Two commands that meet a rotation half-way must not lock the administrator out for a minute.
    {**_BRUTE_FORCE, "quickLoginCheckMilliSeconds": 0, "registrationAllowed": False}
)
"""The realm of Keycloak's administrator, reached only from inside the cluster."""

ADJUSTED: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    # It hands out tokens for a user's password alone.
    {"admin-cli": MappingProxyType({"enabled": False, "directAccessGrantsEnabled": False})}
)
"""Keycloak's own clients in our realm, where its defaults allow what we do not."""


@dataclass(frozen=True)
class Desired:
    """Everything the realm must be; by name."""

    settings: Mapping[str, Any]
    scopes: Mapping[str, Rep]
    clients: Mapping[str, Rep]
    """Without their secrets, which are only in the cluster."""
    groups: Mapping[str, tuple[str, ...]]
    roles: Mapping[str, tuple[str, ...]]
    """Scope -> the roles that it may tell: exactly these."""


def _mapper(name: str, kind: str, **config: str) -> Rep:
    return {"name": name, "protocol": "openid-connect", "protocolMapper": kind, "config": config}


def _audience_mapper(audience: str) -> Rep:
    into = {"access.token.claim": "true", "id.token.claim": "false", "introspection.token.claim": "true"}
    return _mapper(f"audience-{audience}", "oidc-audience-mapper", **{"included.custom.audience": audience}, **into)


def _scope(name: str, description: str, mapper: Rep) -> Rep:
    return {
        "name": name,
        "description": description,
        "protocol": "openid-connect",
        "attributes": {OWNED: "true", "include.in.token.scope": "true", "display.on.consent.screen": "false"},
        "protocolMappers": [mapper],
    }


def _claim(name: str, **config: str) -> dict[str, str]:
    into = ("id.token.claim", "access.token.claim", "userinfo.token.claim", "introspection.token.claim")
    return {"claim.name": name, "jsonType.label": "String", **config, **dict.fromkeys(into, "true")}


def _groups_scope() -> Rep:
    told = _mapper("platform-groups", "oidc-usermodel-realm-role-mapper", **_claim("groups", multivalued="true"))
    return _scope("groups", "The platform's groups that a person is in", told)


def _username_scope() -> Rep:
    claim = _claim("preferred_username", **{"user.attribute": "username"})
    return _scope(
        "username", "A person's user name alone", _mapper("username", "oidc-usermodel-attribute-mapper", **claim)
    )


def _audience_scope(audience: str) -> Rep:
    return {
        "name": f"audience-{audience}",
        "description": f"Tokens that the API {audience} accepts",
        "protocol": "openid-connect",
        # The audience says it; the scope need not say it again.
        "attributes": {OWNED: "true", "include.in.token.scope": "false", "display.on.consent.screen": "false"},
        "protocolMappers": [_audience_mapper(audience)],
    }


def _client(client: Client) -> Rep:
    """Return what both sorts of clients have in common: confidential, no password grant, no more than asked for."""
    return {
        "clientId": client.id,
        "description": f"Declared by {client.secret}",
        "enabled": True,
        "protocol": "openid-connect",
        "publicClient": False,
        "bearerOnly": False,
        "clientAuthenticatorType": "client-secret",
        "implicitFlowEnabled": False,
        "directAccessGrantsEnabled": False,
        "consentRequired": False,
        "fullScopeAllowed": False,
        "webOrigins": [],
        "optionalClientScopes": [],
    }


def _browser(client: Client) -> Rep:
    home = f"https://{client.host}/"
    # Without a method Keycloak asks for no proof key.
    method = "S256" if client.pkce else ""
    attributes = {OWNED: "true", "pkce.code.challenge.method": method, "post.logout.redirect.uris": home}
    return _client(client) | {
        "baseUrl": home,
        "standardFlowEnabled": True,
        "serviceAccountsEnabled": False,
        "redirectUris": [f"https://{client.host}{client.callback}"],
        "attributes": attributes,
        # Names may be of any length and alphabet: they stay out of cookies.
        "defaultClientScopes": [
            "basic",
            "email",
            "groups",
            "username" if client.callback == LOGIN_CALLBACK else "profile",
            *(f"audience-{name}" for name in client.audiences),
        ],
        "protocolMappers": [_audience_mapper(client.id)],
    }


def _machine(client: Client) -> Rep:
    return _client(client) | {
        "standardFlowEnabled": False,
        "serviceAccountsEnabled": True,
        "redirectUris": [],
        "attributes": {OWNED: "true"},
        # Keycloak adds `service_account` to every client that has an account of its own.
        "defaultClientScopes": ["basic", "service_account", *(f"audience-{name}" for name in client.audiences)],
        "protocolMappers": [],
    }


def desired(clients: Iterable[Client]) -> Desired:
    """Return the realm for a tree's clients."""
    listed = list(clients)
    audiences = sorted({audience for client in listed for audience in client.audiences})
    scopes = [_groups_scope(), _username_scope(), *map(_audience_scope, audiences)]
    return Desired(
        settings=SETTINGS,
        scopes={scope["name"]: scope for scope in scopes},
        clients={client.id: _browser(client) if client.host else _machine(client) for client in listed},
        groups=GROUPS,
        roles={"groups": tuple(GROUPS)},
    )
