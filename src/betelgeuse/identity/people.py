"""Accounts of people: made with a password for once, in groups that exist."""

from collections.abc import Sequence
from typing import Final

from betelgeuse.errors import UsageError
from betelgeuse.identity.admin import Api, user_id
from betelgeuse.identity.realm import REALM
from betelgeuse.settings import suggest

_AT: Final = f"/{REALM}"


def _ids(api: Api, groups: Sequence[str]) -> dict[str, str]:
    """Return the ids of groups; an unknown one is a UsageError."""
    known = {str(group["name"]): str(group["id"]) for group in api.get(f"{_AT}/groups") or []}
    for name in groups:
        if name not in known:
            message = (
                f"no group {name!r}{suggest(name, sorted(known))} (there are: {', '.join(sorted(known)) or 'none'})"
            )
            raise UsageError(message)
    return {name: known[name] for name in groups}


def _new(api: Api, name: str, email: str) -> str:
    # What Keycloak needs to know beyond this (a full name), it asks at the first login.
    body = {"username": name, "enabled": True} | ({"email": email, "emailVerified": True} if email else {})
    return api.post(f"{_AT}/users", body)


def ensure(api: Api, name: str, groups: Sequence[str], email: str, password: str) -> bool:
    """Make an account, or find it, and add it to groups; whether it is new.

    A `password` is good for one login, which then asks for a better one; empty leaves an old account's alone.
    """
    wanted = _ids(api, groups)
    found = user_id(api, REALM, name)
    identity = found or _new(api, name, email)
    for group in wanted.values():
        api.put(f"{_AT}/users/{identity}/groups/{group}", None)
    if password:
        body = {"type": "password", "value": password, "temporary": True}
        api.put(f"{_AT}/users/{identity}/reset-password", body)
    return not found


def exists(api: Api, name: str) -> bool:
    """Whether there is an account of this name."""
    return bool(user_id(api, REALM, name))
