"""Keycloak by its back door: the Admin API for people and programs that live as long as a run, and the token endpoint.

Refusals are answers here, as everywhere among the probes; only what keeps the suite from preparing its people raises.
"""

import secrets
import string
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import requests

from betelgeuse.errors import BetelgeuseError
from conformance.secrecy import MASKER, Secret
from conformance.timeouts import TIMEOUTS

PREFIX: Final = "conformance-"
"""Of every user and client that a run makes."""
MADE: Final = "betelgeuse.conformance.made"
"""Attribute of a client with the second it was made at: a run that was killed leaves it, the next one removes it."""
_OLD: Final = 15 * 60
_ADMIN_TOKEN: Final = 40.0
"""Seconds an administrator's token is used; it lives for a minute."""
_ALPHABET: Final = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True)
class Person:
    """A user for the time of a run."""

    name: str
    id: str
    password: Secret
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Crowd:
    """Groups for the time of a run, inside one group."""

    id: str
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Machine:
    """A client that gets tokens by itself, for the time of a run."""

    name: str
    id: str
    secret: Secret


_KINDS: Final[Mapping[type, str]] = {Person: "users", Crowd: "groups", Machine: "clients"}


@dataclass(frozen=True, slots=True)
class Grant:
    """What the token endpoint said."""

    status: int
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def token(self, name: str = "access_token") -> str:
        """Return a token, masked everywhere from here on; empty when there is none."""
        value = str(self.data.get(name) or "")
        MASKER.learn(value)
        return value

    def __str__(self) -> str:
        """Tell the status and the reason, never a token."""
        words = " ".join(str(self.data.get(key, "")) for key in ("error", "error_description"))
        return f"HTTP {self.status} {words.strip()}".strip()


def fresh_password() -> str:
    """Return a password that any sensible policy takes."""
    return "Aa1!" + "".join(secrets.choice(_ALPHABET) for _ in range(28))


def _shell(name: str) -> str:
    return f"$PASSWORD_OF_{name.upper().replace('-', '_')}"


class Keycloak:
    """One Keycloak at a local address, with its administrator."""

    def __init__(self, base: str, realm: str, username: str, password: Secret) -> None:
        """Prepare a session; nothing is asked yet."""
        self.base = base
        self.realm = realm
        self._username = username
        self._password = password
        self._session = requests.Session()
        # The proxies of the environment do not lead to this machine's own ports.
        self._session.trust_env = False
        self._until = 0.0
        # Keycloak refuses a second login of a user while the first is being checked.
        self._login = threading.Lock()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def ask(self, method: str, path: str, **parts: Any) -> requests.Response:  # noqa: ANN401 - as requests takes them
        """Send one request; raise BetelgeuseError when nobody answers."""
        try:
            return self._session.request(
                method, f"{self.base}{path}", timeout=TIMEOUTS.login, allow_redirects=False, **parts
            )
        except requests.RequestException as error:
            words = " ".join(str(error).split())[-200:]
            message = f"Keycloak does not answer through the port-forward: {words}"
            raise BetelgeuseError(message) from None

    def grant(self, form: Mapping[str, str], realm: str = "") -> Grant:
        """Ask the token endpoint."""
        path = f"/realms/{realm or self.realm}/protocol/openid-connect/token"
        answer = self.ask("POST", path, data=dict(form))
        try:
            data = answer.json()
        except ValueError:
            data = {}
        return Grant(answer.status_code, data if isinstance(data, dict) else {})

    def machine_grant(self, client: str, secret: Secret) -> Grant:
        """Ask for a client's own token."""
        return self.grant({"grant_type": "client_credentials", "client_id": client, "client_secret": secret.reveal()})

    def administrator(self) -> Grant:
        """Ask for the administrator's token, which the realm master signs."""
        form = {"grant_type": "password", "client_id": "admin-cli"}
        return self.grant({**form, "username": self._username, "password": self._password.reveal()}, "master")

    def _renew(self) -> None:
        """Get the administrator a token where the last one is over, or soon will be."""
        if time.monotonic() <= self._until:
            return
        grant = self.administrator()
        if grant.status != HTTPStatus.OK:
            message = f"Keycloak gives its administrator no token: {grant}; see Secret auth/keycloak-admin"
            raise BetelgeuseError(message)
        self._session.headers["Authorization"] = f"Bearer {grant.token()}"
        self._until = time.monotonic() + _ADMIN_TOKEN

    def admin(self, method: str, path: str, body: object = None) -> requests.Response:
        """Call the Admin API below the realm's address; raise BetelgeuseError with its words when it refuses."""
        with self._login:
            self._renew()
        answer = self.ask(method, f"/admin/realms/{self.realm}{path}", json=body)
        if answer.status_code >= HTTPStatus.BAD_REQUEST:
            message = f"Keycloak refuses {method} {path or '/'}: HTTP {answer.status_code} {answer.text[:200]}"
            raise BetelgeuseError(message)
        return answer

    def settings(self) -> dict[str, Any]:
        """Return the realm's representation."""
        found: dict[str, Any] = self.admin("GET", "").json()
        return found

    def client(self, name: str) -> dict[str, Any] | None:
        """Return a client's representation, without its secret."""
        found = self.admin("GET", f"/clients?clientId={name}").json()
        return next((dict(entry, secret="") for entry in found if entry["clientId"] == name), None)

    def add_person(self, run: str, *groups: str) -> Person:
        """Make a user who may log in at once."""
        name = f"{PREFIX}{run}-{secrets.token_hex(3)}"
        word = fresh_password()
        MASKER.learn(word)
        # Names and a mail address: without them Keycloak asks for them before it lets anyone go on.
        told = {"firstName": "Conformance", "lastName": "Suite", "email": f"{name}@example.org", "emailVerified": True}
        password = {"type": "password", "value": word, "temporary": False}
        body = {"username": name, "enabled": True, **told, "credentials": [password]}
        answer = self.admin("POST", "/users", {**body, "groups": [f"/{group}" for group in groups]})
        return Person(name, answer.headers["Location"].rpartition("/")[2], Secret(word, _shell(name)), groups)

    def add_crowd(self, run: str, count: int) -> Crowd:
        """Make so many groups, with names as long as those of real projects."""
        above = f"{PREFIX}{run}-{secrets.token_hex(3)}"
        names = [f"{above}-a-project-of-many-{at:02d}" for at in range(count)]
        inner = [{"name": name, "path": f"/{above}/{name}"} for name in names]
        mark = {MADE: [str(int(time.time()))]}
        body = {"name": above, "path": f"/{above}", "attributes": mark, "subGroups": inner}
        self.admin("POST", "/partialImport", {"ifResourceExists": "FAIL", "groups": [body]})
        (made,) = self.admin("GET", f"/groups?search={above}&exact=true&populateHierarchy=false").json()
        return Crowd(made["id"], tuple(f"{above}/{name}" for name in names))

    def rename(self, person: Person, first: str, last: str) -> None:
        """Give a person another name."""
        self.admin("PUT", f"/users/{person.id}", {"firstName": first, "lastName": last})

    def add_machine(
        self, run: str, scopes: Sequence[str], mappers: Sequence[object] = (), **attributes: str
    ) -> Machine:
        """Make a client with an account of its own; `attributes` as Keycloak names them, `_` for `.`."""
        name = f"{PREFIX}{run}-{secrets.token_hex(3)}"
        word = fresh_password()
        MASKER.learn(word)
        known = {key.replace("_", "."): value for key, value in attributes.items()}
        body = {
            "clientId": name,
            "secret": word,
            "protocol": "openid-connect",
            "publicClient": False,
            "serviceAccountsEnabled": True,
            "standardFlowEnabled": False,
            "directAccessGrantsEnabled": False,
            "fullScopeAllowed": False,
            "attributes": {MADE: str(int(time.time())), **known},
            "defaultClientScopes": list(scopes),
            "optionalClientScopes": [],
            "protocolMappers": list(mappers),
        }
        answer = self.admin("POST", "/clients", body)
        return Machine(name, answer.headers["Location"].rpartition("/")[2], Secret(word, _shell(name)))

    def remove(self, *things: Person | Crowd | Machine) -> None:
        """Remove what a run has made."""
        for thing in things:
            self.admin("DELETE", f"/{_KINDS[type(thing)]}/{thing.id}")

    def remove_leftovers(self) -> None:
        """Remove what runs left that were killed; what is young may belong to a run beside this one."""
        now = time.time()
        for user in self.admin("GET", f"/users?search={PREFIX}&max=1000&briefRepresentation=true").json():
            if user["username"].startswith(PREFIX) and now - user.get("createdTimestamp", 0) / 1000 > _OLD:
                self.admin("DELETE", f"/users/{user['id']}")
        for client in self.admin("GET", f"/clients?clientId={PREFIX}&search=true&max=1000").json():
            made = client.get("attributes", {}).get(MADE, "")
            if client["clientId"].startswith(PREFIX) and made.isdigit() and now - int(made) > _OLD:
                self.admin("DELETE", f"/clients/{client['id']}")
        for group in self.admin("GET", f"/groups?search={PREFIX}&briefRepresentation=false").json():
            (made,) = group.get("attributes", {}).get(MADE, [""])
            if group["name"].startswith(PREFIX) and made.isdigit() and now - int(made) > _OLD:
                self.admin("DELETE", f"/groups/{group['id']}")

    def sessions(self, person: Person) -> list[dict[str, Any]]:
        """Return the sessions a user has: their refresh tokens work, those of others do not."""
        found: list[dict[str, Any]] = self.admin("GET", f"/users/{person.id}/sessions").json()
        return found

    def end_sessions(self, person: Person) -> None:
        """End every session of a user."""
        self.admin("POST", f"/users/{person.id}/logout")

    def disable(self, person: Person) -> None:
        """Disable a user, as one does whose account is stolen."""
        self.admin("PUT", f"/users/{person.id}", {"enabled": False})

    def is_locked(self, person: Person) -> bool:
        """Whether brute-force protection keeps the user out at this moment."""
        return bool(self.admin("GET", f"/attack-detection/brute-force/users/{person.id}").json().get("disabled"))
