"""Whom the checks appear as: people and programs that exist for the time of a run, and the tree's own clients.

Everything is made on first use through Keycloak's Admin API, reached by a port-forward, and removed at the end.
"""

import base64
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from betelgeuse.errors import BetelgeuseError
from betelgeuse.kube import Obj
from betelgeuse.tree import Client, Host, Ref, Tree, gates
from betelgeuse.tree.clients import ANNOTATION
from conformance.kept import kept
from conformance.probes.http import Answer, Header, Request
from conformance.probes.k8s import Cluster
from conformance.probes.keycloak import Crowd, Keycloak, Machine, Person
from conformance.probes.oidc import Browser, Hop, told
from conformance.secrecy import MASKER, Secret
from conformance.timeouts import TIMEOUTS
from conformance.verdict import demand, require

_T = TypeVar("_T")
Forward = Callable[[str, str, int], AbstractContextManager[str]]
"""(namespace, pod, port) -> the address on this machine that leads there, while it is held."""

SERVICE: Final = Ref("Service", "auth", "keycloak", "v1")
ADMINISTRATOR: Final = Ref("Secret", "auth", "keycloak-admin", "v1")
DEFAULT_REALM: Final = "betelgeuse"
_PORT: Final = 8080
_FRESH: Final = 200.0
"""Seconds a token or a session is used; it lives for 300."""


def no_way(namespace: str, pod: str, port: int) -> AbstractContextManager[str]:
    """Refuse: a site that was given no way to a pod."""
    message = f"no way to port {port} of {namespace}/{pod} was given to this site"
    raise BetelgeuseError(message)


@dataclass
class _Kept:
    """Something that is made once and made anew when it grows old."""

    value: Any
    until: float


@dataclass
class Identity:
    """The people and programs of one run."""

    env: str
    tree: Tree
    cluster: Cluster
    forward: Forward
    ask: Callable[[Request, float], Answer]
    """Sends a request to the gateway; waits so many seconds for the answer."""
    run: str = field(default_factory=lambda: secrets.token_hex(3))
    made: list[Person | Crowd | Machine] = field(default_factory=list)
    _stack: ExitStack = field(default_factory=ExitStack)
    _keycloak: Keycloak | None = None
    _kept: dict[object, _Kept] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def _fresh(self, key: object, make: Callable[[], _T], seconds: float = _FRESH) -> _T:
        """Return what was made under a key, or make it (again)."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or time.monotonic() > kept.until:
                kept = self._kept[key] = _Kept(make(), time.monotonic() + seconds)
            value: _T = kept.value
            return value

    @property
    def realm(self) -> str:
        """The realm that the gates trust."""
        return next((host.gate.realm for host in self.tree.hosts if host.gate.issuer), DEFAULT_REALM)

    @property
    def issuer(self) -> str:
        """The issuer that the gates trust."""
        domain = self.tree.domain
        found = (host.gate.issuer for host in self.tree.hosts if host.gate.issuer)
        return next(found, f"https://auth.{domain}/realms/{self.realm}")

    @property
    def host(self) -> Host:
        """The realm's public host."""
        name = urlsplit(self.issuer).hostname
        return next(host for host in self.tree.hosts if host.name == name)

    @property
    def keycloak(self) -> Keycloak:
        """Keycloak by its back door."""
        with self._lock:
            if self._keycloak is None:
                self._keycloak = self._open()
                if not self.made:
                    # Later, what this run made may count as old.
                    self._keycloak.remove_leftovers()
            return self._keycloak

    def _pod(self) -> str:
        services = self.tree.kind("Service")
        service = next((obj for obj in services if _is(obj, SERVICE)), None)
        pods = self.cluster.behind(service) if service else ()
        running = [pod for pod in pods if pod["status"].get("phase") == "Running" and ready(pod)]
        require(
            running,
            where=str(SERVICE),
            want="a ready pod of Keycloak's, to prepare people and programs for this run",
            got=f"{len(pods)} pods, none of them ready" if service else "no such Service in the tree",
            reproduce=f"kubectl -n {SERVICE.namespace} get pods",
        )
        return str(running[0]["metadata"]["name"])

    def _open(self) -> Keycloak:
        username, password = (kept(self.cluster, ADMINISTRATOR, key) for key in ("username", "password"))
        base = self._stack.enter_context(self.forward(SERVICE.namespace, self._pod(), _PORT))
        found = Keycloak(base, self.realm, username.reveal(), password)
        self._stack.callback(found.close)
        return found

    def reopen(self) -> None:
        """Forget the way to Keycloak: its pod is another one now."""
        with self._lock:
            self._stack.close()
            self._keycloak = None

    def renew(self) -> None:
        """Forget the way to Keycloak, sessions and tokens: the realm is another, or was put back. People stay."""
        self.reopen()
        with self._lock:
            self._kept = {key: kept for key, kept in self._kept.items() if isinstance(kept.value, Person)}

    def close(self) -> None:
        """Remove what was made, and go."""
        with self._lock:
            if self._keycloak is not None:
                for thing in self.made:
                    # What cannot be removed now is removed by the next run.
                    with suppress(BetelgeuseError):
                        self._keycloak.remove(thing)
            self.made.clear()
            self._stack.close()
            self._keycloak = None

    def person(self, *groups: str) -> Person:
        """Return a new person in these groups."""
        made = self.keycloak.add_person(self.run, *groups)
        self.made.append(made)
        return made

    def shared_person(self, *groups: str) -> Person:
        """Return the run's person in these groups: for whoever leaves him as he was."""
        return self._fresh(("person", groups), lambda: self.person(*groups), float("inf"))

    def machine(self, *audiences: str, mappers: Sequence[object] = (), **attributes: str) -> Machine:
        """Return a new program with tokens for these audiences."""
        scopes = ["basic", *(f"audience-{audience}" for audience in audiences)]
        made = self.keycloak.add_machine(self.run, scopes, mappers, **attributes)
        self.made.append(made)
        return made

    def crowd(self, count: int) -> tuple[str, ...]:
        """Return so many new groups, as `person` takes them."""
        made = self.keycloak.add_crowd(self.run, count)
        self.made.append(made)
        return made.groups

    def client_secret(self, client: Client) -> Secret:
        """Return the secret of a declared client, as the cluster keeps it."""
        place = Ref("Secret", client.secret.namespace, client.secret.name, "v1")
        return demand(
            self.cluster.secret(place, "client-secret"),
            where=f"client {client}",
            want=f"its secret in {place}",
            got="no such key",
            reproduce=place.kubectl("describe"),
        )

    def client_for(self, audience: str, without: str = "") -> Client | None:
        """Return the declared program with tokens for one audience, and not for another."""
        listed = (client for client in self.tree.clients if client.is_program and audience in client.audiences)
        return next((client for client in listed if without not in client.audiences), None)

    def granted(self, name: str, secret: Secret) -> str:
        """Return a program's token."""
        grant = self.keycloak.machine_grant(name, secret)
        require(
            grant.status == HTTPStatus.OK,
            where=f"client {name}",
            want="a token by its own secret",
            got=grant,
            reproduce=f"invoke token --client={name} --env={self.env}",
        )
        return grant.token()

    def token(self, audience: str) -> Secret:
        """Return a token for an API: of the declared program that may have one."""
        client = demand(
            self.client_for(audience),
            where=f"audience {audience}",
            want=f"a Secret with {ANNOTATION} that names it",
            got=[f"{each}: {', '.join(each.audiences) or each.host}" for each in self.tree.clients],
            reproduce="invoke render | grep -A3 oidc-client",
        )
        text = self._fresh(("token", client.id), lambda: self.granted(client.id, self.client_secret(client)))
        return Secret(text, f"$(invoke token --client={client.id} --env={self.env})")

    def browser(self) -> Browser:
        """Return a browser that nobody has used."""
        return Browser(self.send)

    def send(self, request: Request) -> Answer:
        """Send a step of a login."""
        return self.ask(request, TIMEOUTS.login)

    def logged_in(self, host: Host, person: Person) -> tuple[Browser, list[Hop]]:
        """Log a person in at a host; return the browser with its cookies, and the way it went."""
        browser = self.browser()
        return browser, browser.login(f"https://{host}{host.door.path}", person.name, person.password)

    def right_group(self, host: Host) -> str:
        """Return a group that a host lets in: the least of them."""
        return host.gate.groups[-1] if host.gate.groups else ""

    def session(self, host: Host) -> Browser:
        """Return a browser in which somebody of the right group is logged in at a host; not to be logged out."""

        def login() -> Browser:
            browser, trail = self.logged_in(host, self.shared_person(self.right_group(host)))
            require(
                trail[-1].answer.status == HTTPStatus.OK and trail[-1].host == host.name,
                where=f"login at https://{host}",
                want=f"the application's page, for a member of {self.right_group(host)}",
                got=told(trail),
                reproduce=f"a browser at https://{host}{host.door.path}",
            )
            return browser

        return self._fresh(("session", host.name), login)

    def credentials(self, host: Host) -> tuple[Header, ...]:
        """Return the headers that open a host; none where it asks for none."""
        gate = host.gate
        if gate.kind == gates.TOKEN and gate.audiences:
            token = self.token(gate.audiences[0])
            return (("Authorization", Secret(f"Bearer {token.reveal()}", f"Bearer {token.shell}")),)
        if gate.kind == gates.LOGIN:
            return self.session(host).header(host.name)
        if gate.kind == gates.PASSWORD and gate.users is not None:
            return self._basic(gate.users)
        return ()

    def _basic(self, users: Ref) -> tuple[Header, ...]:
        """Return the credential of the password gate: its Secret keeps the password beside the hash."""
        hashed = self.cluster.secret(users, ".htpasswd")
        word = self.cluster.secret(users, "password")
        if hashed is None or word is None:
            return ()
        name = hashed.reveal().partition(":")[0]
        text = base64.b64encode(f"{name}:{word.reveal()}".encode()).decode()
        MASKER.learn(text)
        return (("Authorization", Secret(f"Basic {text}", f"Basic $(printf {name}:%s {word.shell} | base64)")),)


def _is(obj: Obj, wanted: Ref) -> bool:
    return (obj["metadata"].get("namespace", ""), obj["metadata"]["name"]) == (wanted.namespace, wanted.name)


def ready(pod: Obj) -> bool:
    """Tell whether a pod is called ready."""
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
