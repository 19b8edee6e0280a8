"""Keycloak's Admin API: a session of the administrator, plain data in and out, every failure one line."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, Protocol
from urllib.parse import quote

import requests

from betelgeuse.errors import BetelgeuseError

_SECONDS: Final = 60.0
"""Longest a single answer may take: the first request after a start loads what Keycloak defers, on a busy node."""


_RECOVERY_SECONDS: Final = 20.0
"""How long Keycloak may fail inside: after a restart of its database, until its old connections are used up."""
_PAUSE: Final = 1.0
_MASTER: Final = "master"
RESCUE: Final = "rescue"
"""Administrator that docs/how-to/identity.md has made when nobody knows the password of the ordinary one."""


@dataclass(frozen=True)
class Problem:
    """What Keycloak has against a request: its words, and the field where they are about one."""

    words: str
    field: str = ""


class KeycloakError(BetelgeuseError):
    """Keycloak answered with a failure, or not at all (status 0)."""

    def __init__(self, message: str, status: int = 0, problems: Sequence[Problem] = ()) -> None:
        """Keep the status and the problems, which decide what to do next."""
        super().__init__(message)
        self.status = status
        self.problems = tuple(problems)


class Api(Protocol):
    """What a reconcile needs of the Admin API; paths are relative to /admin/realms."""

    def get(self, path: str) -> Any:  # noqa: ANN401 - plain data of any shape
        """Return what a path holds, None when it does not exist."""

    def post(self, path: str, body: object) -> str:
        """Create something and return its id, empty where it has none."""

    def put(self, path: str, body: object) -> None:
        """Set something that exists."""

    def delete(self, path: str, body: object = None) -> None:
        """Remove something; what is gone already is no failure."""


@dataclass(frozen=True)
class Credentials:
    """The administrator's, as the cluster keeps them."""

    username: str
    password: str = field(repr=False)
    previous: tuple[str, ...] = field(default=(), repr=False)
    """Passwords that Keycloak may still have when a rotation was interrupted."""


def problems(content: bytes) -> list[Problem]:
    """Return what Keycloak has against a request; of several fields it makes a list."""
    try:
        body = json.loads(content)
    except ValueError:
        body = {}
    found: list[Problem] = []
    listed = body.get("errors") if isinstance(body, dict) else None
    for entry in listed if isinstance(listed, list) else [body]:
        if isinstance(entry, dict):
            words = str(entry.get("error_description") or entry.get("errorMessage") or entry.get("error") or "")
            found += [Problem(" ".join(words.split())[:200], str(entry.get("field") or ""))] if words else []
    return found


def reason(status: int, content: bytes) -> str:
    """Return Keycloak's own words for a failure, on one line."""
    words = "; ".join(problem.words for problem in problems(content))
    return f"{words or 'no explanation'} (HTTP {status})"


def _reason(answer: requests.Response) -> str:
    return reason(answer.status_code, answer.content)


class Admin:
    """The Admin API of one Keycloak, used as its administrator."""

    def __init__(self, base: str, username: str) -> None:
        """Prepare a session with the server at `base`, e.g. http://127.0.0.1:40001."""
        self.base = base
        self.username = username
        self.session = requests.Session()
        # Proxies of the environment do not lead to this machine's own ports.
        self.session.trust_env = False
        self._password = ""

    def close(self) -> None:
        """Close the connections."""
        self.session.close()

    def _send(self, method: str, url: str, **parts: Any) -> requests.Response:  # noqa: ANN401 - as requests takes them
        try:
            return self.session.request(method, url, timeout=_SECONDS, allow_redirects=False, **parts)
        except requests.RequestException as error:
            words = " ".join(str(error).split()).rpartition(": ")[2][:200]
            message = f"Keycloak does not answer: {words}; `invoke status` says whether it is ready"
            raise KeycloakError(message) from None

    def _patiently(self, method: str, url: str, **parts: Any) -> requests.Response:  # noqa: ANN401 - as requests takes them
        """Send what may be sent twice; repeat it while Keycloak fails inside."""
        deadline = time.monotonic() + _RECOVERY_SECONDS
        while True:
            answer = self._send(method, url, **parts)
            if answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR or time.monotonic() > deadline:
                return answer
            time.sleep(_PAUSE)

    def login(self, password: str, username: str = "") -> bool:
        """Get a token, as another user where one is named; False when Keycloak refuses the password."""
        name = username or self.username
        form = {"grant_type": "password", "client_id": "admin-cli", "username": name, "password": password}
        url = f"{self.base}/realms/master/protocol/openid-connect/token"
        answer = self._patiently("POST", url, data=form)
        if answer.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.BAD_REQUEST}:
            return False
        if answer.status_code != HTTPStatus.OK:
            message = f"Keycloak gives its administrator no token: {_reason(answer)}"
            raise KeycloakError(message, answer.status_code)
        self._password = password
        self.session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return True

    def _call(self, method: str, path: str, body: object = None) -> requests.Response:
        url = f"{self.base}/admin/realms{path}"
        send = self._send if method == "POST" else self._patiently
        answer = send(method, url, json=body)
        # The administrator's token lives a minute; a long reconcile outlives it.
        if answer.status_code == HTTPStatus.UNAUTHORIZED and self.login(self._password):
            answer = send(method, url, json=body)
        if answer.status_code >= HTTPStatus.BAD_REQUEST and answer.status_code != HTTPStatus.NOT_FOUND:
            message = f"Keycloak refuses {method} {path or '/'}: {_reason(answer)}"
            raise KeycloakError(message, answer.status_code, problems(answer.content))
        return answer

    def _must_exist(self, method: str, path: str, answer: requests.Response) -> None:
        if answer.status_code == HTTPStatus.NOT_FOUND:
            message = f"Keycloak refuses {method} {path}: {_reason(answer)}"
            raise KeycloakError(message, answer.status_code)

    def get(self, path: str) -> Any:  # noqa: ANN401 - plain data of any shape
        """Return what a path holds, None when it does not exist."""
        answer = self._call("GET", path)
        return None if answer.status_code == HTTPStatus.NOT_FOUND else answer.json()

    def post(self, path: str, body: object) -> str:
        """Create something and return its id, empty where it has none."""
        answer = self._call("POST", path, body)
        self._must_exist("POST", path, answer)
        return answer.headers.get("Location", "").rpartition("/")[2]

    def put(self, path: str, body: object) -> None:
        """Set something that exists."""
        self._must_exist("PUT", path, self._call("PUT", path, body))

    def delete(self, path: str, body: object = None) -> None:
        """Remove something; what is gone already is no failure."""
        self._call("DELETE", path, body)


def user_id(api: Api, realm: str, username: str) -> str:
    """Return the id of a realm's user; empty when there is none of that name."""
    found = api.get(f"/{realm}/users?exact=true&username={quote(username, safe='')}") or []
    # Keycloak keeps names in lower case, and takes an empty one for no question at all.
    same = [user for user in found if str(user["username"]).casefold() == username.casefold()]
    return str(same[0]["id"]) if same else ""


def _set_password(admin: Admin, credentials: Credentials) -> None:
    user = user_id(admin, _MASTER, credentials.username)
    if not user:
        message = f"Keycloak has no user {credentials.username!r} in the realm master"
        raise KeycloakError(message)
    new = {"type": "password", "value": credentials.password, "temporary": False}
    admin.put(f"/{_MASTER}/users/{user}/reset-password", new)
    if not admin.login(credentials.password):
        message = "Keycloak took the administrator's new password and then refused it"
        raise KeycloakError(message, HTTPStatus.UNAUTHORIZED)


def settle(admin: Admin, credentials: Credentials, *, dry_run: bool) -> list[str]:
    """Log in, and make Keycloak's administrator have the password that the cluster keeps; return what changed.

    Whatever a rotation got to before it ended, one of the passwords works: the new one is written beside the old one
    before Keycloak hears of it, and the old one is dropped after.
    """
    if admin.login(credentials.password):
        return []
    rescued = not any(map(admin.login, credentials.previous))
    if rescued and not admin.login(credentials.password, RESCUE):
        message = (
            f"Keycloak refuses the password that the cluster has for its administrator {credentials.username!r}; "
            "somebody changed it there: docs/how-to/identity.md says how to set it back"
        )
        raise KeycloakError(message, HTTPStatus.UNAUTHORIZED)
    if not dry_run:
        _set_password(admin, credentials)
        if rescued:
            admin.delete(f"/{_MASTER}/users/{user_id(admin, _MASTER, RESCUE)}")
    return [f"administrator {credentials.username}: password set to the cluster's"]
