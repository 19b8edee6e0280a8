"""What the tree asks of Keycloak: a client per application, declared by the Secret that holds the client's key.

The annotation `betelgeuse.io/oidc-client` of such a Secret is a YAML map, either of a client that people log in with

    id: portal
    login: {host: portal, callback: /oauth2/callback}   # pkce: false where the application knows no proof key

or of a client that asks for tokens by itself, for the APIs it names:

    id: api-client
    audiences: [llm, embeddings]

An application that signs people in by itself may ask those APIs in their name: a client with both. Behind the gateway's
own login it may not, since that hands the application every visitor's token.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from betelgeuse.errors import UsageError
from betelgeuse.identity.realm import LOGIN_CALLBACK
from betelgeuse.kube import Obj, describe
from betelgeuse.secrets import recipes
from betelgeuse.settings import suggest
from betelgeuse.tree.clients import ANNOTATION, Client, client_of, declaration
from betelgeuse.tree.listeners import hostnames

SECRET_KEY: Final = "client-secret"  # noqa: S105 - the name of a key, as Envoy Gateway expects it

AUDIENCE: Final = "betelgeuse.io/oidc-audience"
"""Annotation of a workload that reads tokens itself: the audience it accepts."""

_ID: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_CALLBACK: Final = re.compile(r"/[A-Za-z0-9._~/-]*")
_KEYS: Final = ("id", "login", "audiences")
_LOGIN_KEYS: Final = ("host", "callback", "pkce")
BUILT_IN: Final = frozenset(
    {"account", "account-console", "admin-cli", "broker", "realm-management", "security-admin-console"}
)
"""Clients that Keycloak makes in every realm."""


def known_audiences(objects: Iterable[Obj]) -> set[str]:
    """Return every audience that a policy of the tree, or a server that reads tokens itself, accepts in a token."""
    listed = list(objects)
    policies = [obj for obj in listed if obj["kind"] == "SecurityPolicy"]
    providers = [entry for obj in policies for entry in (obj["spec"].get("jwt") or {}).get("providers") or ()]
    accepted = {str(audience) for provider in providers for audience in provider.get("audiences") or ()}
    own = ((obj["metadata"].get("annotations") or {}).get(AUDIENCE) for obj in listed)
    return accepted | {str(audience) for audience in own if audience}


def _only(value: Mapping[str, Any], keys: Sequence[str], where: str) -> None:
    for key in value:
        if key not in keys:
            message = f"{where}: unknown key {key!r}{suggest(str(key), list(keys))} (known: {', '.join(keys)})"
            raise UsageError(message)


def _login(value: object, domain: str, served: set[str], where: str) -> None:
    if not isinstance(value, dict):
        message = f"{where}: login must be {{host: <name below {domain}>, callback: <path>}}"
        raise UsageError(message)
    _only(value, _LOGIN_KEYS, f"{where}: login")
    if not isinstance(value.get("pkce", True), bool):
        message = f"{where}: login: pkce must be true or false, got {str(value['pkce'])[:20]!r}"
        raise UsageError(message)
    host, callback = f"{value.get('host')}.{domain}", str(value.get("callback"))
    if host not in served:
        names = sorted(name.removesuffix(f".{domain}") for name in served)
        near = suggest(str(value.get("host")), names)
        message = f"{where}: no listener of the tree serves {host}{near} (hosts: {', '.join(names) or 'none'})"
        raise UsageError(message)
    if not _CALLBACK.fullmatch(callback) or "//" in callback or "/../" in f"{callback}/":
        message = f"{where}: callback must be one exact path such as /oauth2/callback, got {callback[:60]!r}"
        raise UsageError(message)


def _audiences(value: object, known: set[str], where: str) -> None:
    if not isinstance(value, list) or not value:
        message = f"{where}: audiences must be a list of APIs, e.g. [llm]"
        raise UsageError(message)
    for audience in map(str, value):
        if audience not in known:
            near = suggest(audience, sorted(known))
            have = ", ".join(sorted(known)) or "none"
            message = f"{where}: nothing accepts the audience {audience!r}{near} (accepted: {have})"
            raise UsageError(message)


def _client(obj: Obj, domain: str, known: set[str], served: set[str]) -> Client:
    where = f"{describe(obj)}: annotation {ANNOTATION}"
    if obj["kind"] != "Secret":
        message = f"{where} belongs on the Secret that holds the client's key"
        raise UsageError(message)
    value = declaration(obj)
    if not isinstance(value, dict):
        message = f"{where} must be a map with `id` and either `login` or `audiences`"
        raise UsageError(message)
    _only(value, _KEYS, where)
    name = str(value.get("id"))
    if "id" not in value or not _ID.fullmatch(name):
        message = f"{where}: id must be lower-case letters, digits and dashes, got {name[:60]!r}"
        raise UsageError(message)
    if name in BUILT_IN:
        message = f"{where}: {name!r} is a client of Keycloak's own; choose another id"
        raise UsageError(message)
    if not {"login", "audiences"} & set(value):
        message = f"{where}: {name} needs `login` (people) or `audiences` (programs)"
        raise UsageError(message)
    if SECRET_KEY not in recipes(obj):
        message = f"{where}: the Secret's betelgeuse.io/generate has no recipe for {SECRET_KEY}, e.g. hex:32"
        raise UsageError(message)
    if "login" in value:
        _login(value["login"], domain, served, where)
    if "audiences" in value:
        _audiences(value["audiences"], known, where)
    if "audiences" in value and (value.get("login") or {}).get("callback") == LOGIN_CALLBACK:
        message = f"{where}: behind the gateway's login ({LOGIN_CALLBACK}) tokens are for {name} alone: no `audiences`"
        raise UsageError(message)
    return client_of(obj, value, domain)


def clients(objects: Sequence[Obj], domain: str) -> list[Client]:
    """Return the clients that the tree declares, by id; a wrong declaration is a UsageError that names it."""
    known, served = known_audiences(objects), hostnames(objects)
    found: dict[str, Client] = {}
    for obj in objects:
        if ANNOTATION not in (obj["metadata"].get("annotations") or {}):
            continue
        client = _client(obj, domain, known, served)
        if client.id in found:
            message = f"client {client.id!r} is declared twice: by {found[client.id].secret} and by {client.secret}"
            raise UsageError(message)
        found[client.id] = client
    return [found[name] for name in sorted(found)]
