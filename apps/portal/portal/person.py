"""From the headers that the gateway sets to a person. They are believed: nobody else reaches this server."""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_PARTS_OF_A_TOKEN: Final = 3
_BEARER: Final = "Bearer "


@dataclass(frozen=True)
class Person:
    """Who is asking."""

    name: str
    groups: tuple[str, ...] = ()
    may_log_out: bool = True
    """With a password there is no session to end."""


def _claims(token: str) -> dict[str, Any]:
    """Return a token's claims; an unreadable one has none."""
    parts = token.split(".")
    if len(parts) != _PARTS_OF_A_TOKEN:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}


def person(environ: Mapping[str, Any]) -> Person | None:
    """Return who asks: from the verified access token, or from the password gate; None when neither says."""
    authorization = str(environ.get("HTTP_AUTHORIZATION", ""))
    if authorization.startswith(_BEARER):
        claims = _claims(authorization.removeprefix(_BEARER))
        name = claims.get("preferred_username") or claims.get("sub")
        groups = claims.get("groups")
        if isinstance(name, str) and name:
            return Person(name, tuple(map(str, groups)) if isinstance(groups, list) else ())
    if user := str(environ.get("HTTP_X_FORWARDED_USER", "")):
        return Person(user, may_log_out=False)
    return None
