"""Accounts of people: made with a password for once, in groups that exist."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from betelgeuse.errors import UsageError
from betelgeuse.identity.admin import Api, KeycloakError, user_id
from betelgeuse.identity.realm import REALM
from betelgeuse.settings import suggest

_AT: Final = f"/{REALM}"
_BARRED: Final = r"<>&\"$%!#?§;*~/\\|^=\[\]{}()\x00-\x1f\x7f-\x9f\u2028\u2029"
_LONGEST: Final = 255
_SHAPES: Final = {
    "name": (rf"[^\s{_BARRED}',:`]{{3,{_LONGEST}}}", "3 to 255 letters, digits, '.', '_', '-' or '@'"),
    "email": (rf"[^@\s{_BARRED}]{{1,64}}@[^@\s{_BARRED}]+\.[^@\s{_BARRED}]+", "a mail address"),
    "first_name": (rf"[^\s{_BARRED}]([^{_BARRED}]*[^\s{_BARRED}])?", "a name without signs like ( ) / & or #"),
    "last_name": (rf"[^\s{_BARRED}]([^{_BARRED}]*[^\s{_BARRED}])?", "a name without signs like ( ) / & or #"),
}
"""What Keycloak takes for each detail of a person, and in words."""
_FIELDS: Final = {"username": "name", "email": "email", "firstName": "first_name", "lastName": "last_name"}
"""Keycloak's names of them -> ours."""


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


@dataclass(frozen=True)
class Person:
    """Who an account is for; what is None was not said. A value that Keycloak would refuse is a UsageError."""

    name: str
    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None

    def __post_init__(self) -> None:
        """Check before anybody is asked: Keycloak takes an empty name for no name, and finds everybody."""
        for name, (shape, want) in _SHAPES.items():
            value = getattr(self, name)
            if value is not None and not (re.fullmatch(shape, value) and len(value) <= _LONGEST):
                message = f"{_option(name)} must be {want}, got {value[:60]!r}"
                raise UsageError(message)

    @property
    def details(self) -> dict[str, Any]:
        """What was said, as Keycloak names it; an address that an administrator gives needs no proof."""
        said = {field: getattr(self, name) for field, name in _FIELDS.items() if field != "username"}
        said = {field: value for field, value in said.items() if value is not None}
        return said | ({"emailVerified": True} if "email" in said else {})

    @property
    def missing(self) -> list[str]:
        """Which options would spare the person a question at the first login."""
        return [_option(name) for name in _FIELDS.values() if getattr(self, name) is None]


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


def _refused(person: Person, error: KeycloakError) -> Exception:
    """Return what to tell where Keycloak does not take a person's details: which option, and what is right."""
    for problem in error.problems:
        name = _FIELDS.get(problem.field, "")
        if name:
            return UsageError(f"{_option(name)} must be {_SHAPES[name][1]}, got {getattr(person, name)!r}: {error}")
        if "exists with same" in problem.words:
            return UsageError(f"--email: another account has the address {person.email!r}")
    return error


def _set(api: Api, identity: str, person: Person) -> list[str]:
    """Set what was said of an existing account and differs; return Keycloak's names of it."""
    path = f"{_AT}/users/{identity}"
    live = api.get(path) or {}
    changed = {field: value for field, value in person.details.items() if live.get(field) != value}
    if changed:
        # The whole of it: what a representation leaves out, Keycloak may empty.
        api.put(path, {**live, **changed})
    return [field for field in changed if field != "emailVerified"]


def ensure(api: Api, person: Person, groups: Sequence[str], password: str) -> tuple[bool, list[str]]:
    """Make an account, or find it and set what was said of it, and add it to groups.

    Return whether it is new, and which details of an old one were set. A `password` is good for one login, which then
    asks for a better one; empty leaves an old account's alone. Details that Keycloak refuses are a UsageError.
    """
    wanted = _ids(api, groups)
    found, changed = user_id(api, REALM, person.name), []
    try:
        if found:
            changed = _set(api, found, person)
        body = {"username": person.name, "enabled": True, **person.details}
        identity = found or api.post(f"{_AT}/users", body)
    except KeycloakError as error:
        raise _refused(person, error) from None
    for group in wanted.values():
        api.put(f"{_AT}/users/{identity}/groups/{group}", None)
    if password:
        body = {"type": "password", "value": password, "temporary": True}
        api.put(f"{_AT}/users/{identity}/reset-password", body)
    return not found, changed


def exists(api: Api, name: str) -> bool:
    """Whether there is an account of this name."""
    return bool(user_id(api, REALM, name))
