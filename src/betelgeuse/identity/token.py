"""Ask Keycloak for a token as a program does: from outside, through the gateway, by the client's own key."""

import ssl
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import urllib3

from betelgeuse.errors import BetelgeuseError, UsageError
from betelgeuse.identity.admin import reason
from betelgeuse.identity.declarations import SECRET_KEY
from betelgeuse.identity.realm import REALM
from betelgeuse.kube import Kube
from betelgeuse.rotation import value
from betelgeuse.settings import Settings, suggest
from betelgeuse.tree import Client

_SECONDS: Final = 20.0
_HTTPS: Final = 443

PATH: Final = f"/realms/{REALM}/protocol/openid-connect/token"
"""Where Keycloak gives tokens, on its host."""


def machine(clients: Sequence[Client], name: str) -> Client:
    """Return the client of a name that may ask for tokens by itself; any other is a UsageError."""
    found = {client.id: client for client in clients if client.is_program}
    if name in found:
        return found[name]
    have = ", ".join(sorted(found)) or "none"
    if any(client.id == name for client in clients):
        message = f"client {name!r} is for people who log in; programs use {have}"
    else:
        message = f"no client {name!r}{suggest(name, sorted(found))} (programs use: {have})"
    raise UsageError(message)


def key(kube: Kube, client: Client, env: str) -> str:
    """Return a client's own key, as the cluster keeps it; BetelgeuseError when its Secret holds none."""
    found = value(kube.get("v1", "Secret", client.secret.name, client.secret.namespace), SECRET_KEY)
    if not found:
        message = f"{client.secret} holds no key yet; `invoke deploy --env={env}` makes it"
        raise BetelgeuseError(message)
    return found


def _pool(host: str, address: str, roots: Path | None) -> urllib3.HTTPSConnectionPool:
    context = ssl.create_default_context(cafile=str(roots) if roots else None)
    return urllib3.HTTPSConnectionPool(
        address, _HTTPS, ssl_context=context, server_hostname=host, assert_hostname=host, retries=False
    )


def _words(error: Exception) -> str:
    return " ".join(str(getattr(error, "reason", None) or error).split()).rpartition(": ")[2][:200]


def fetch(settings: Settings, client: Client, secret: str, roots: Path | None) -> str:
    """Return a token of a client; raise BetelgeuseError with one line where the gateway or Keycloak gives none.

    `roots` are the CAs to trust, None for the system's. The gateway's first address is used, so no name service needs
    to know the host; without one the name decides.
    """
    host = f"auth.{settings.domain}"
    address = settings.gateway_addresses[0] if settings.gateway_addresses else host
    where = f"https://{host}" + (f" at {address}" if address != host else "")
    body = urlencode({"grant_type": "client_credentials"})
    headers = {"Host": host, "Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    headers |= urllib3.make_headers(basic_auth=f"{client.id}:{secret}")
    try:
        with _pool(host, address, roots) as pool:
            answer = pool.request("POST", PATH, body=body, headers=headers, timeout=_SECONDS, redirect=False)
    except urllib3.exceptions.SSLError as error:
        message = f"{where} is not who we trust: {_words(error)}; `invoke ca --env={settings.env}` renews the roots"
        raise BetelgeuseError(message) from None
    except urllib3.exceptions.HTTPError as error:
        message = (
            f"{where} does not answer: {_words(error)}; `invoke status --env={settings.env}` says what is not ready"
        )
        raise BetelgeuseError(message) from None
    return _read(answer, client, settings, where)


def _read(answer: urllib3.BaseHTTPResponse, client: Client, settings: Settings, where: str) -> str:
    try:
        if answer.status == HTTPStatus.OK:
            return str(answer.json()["access_token"])
    except (ValueError, KeyError, TypeError):
        message = f"{where} answered without a token"
        raise BetelgeuseError(message) from None
    hint = f"`invoke deploy --env={settings.env}` brings the realm to what the tree says"
    message = f"{where} gives client {client.id} no token: {reason(answer.status, answer.data)}; {hint}"
    raise BetelgeuseError(message)
