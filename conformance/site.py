"""The platform under test, as the checks see it: the declared tree, the public door, and the cluster behind it."""

import hashlib
import ssl
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from betelgeuse.errors import BetelgeuseError
from betelgeuse.kube import Obj
from betelgeuse.settings import Settings
from betelgeuse.tree import Host, Tree
from conformance import restarts
from conformance.exemptions import Exemptions
from conformance.identity import Forward, Identity, no_way
from conformance.parallel import gather
from conformance.probes import hello, tls
from conformance.probes.etcd import Etcd, Exec, members, no_exec
from conformance.probes.http import Answer, Endpoint, Header, Request
from conformance.probes.k8s import Cluster
from conformance.probes.pool import Pool
from conformance.recorder import Picture
from conformance.secrecy import Secret
from conformance.timeouts import TIMEOUTS
from conformance.verdict import PromiseBrokenError, poll

_T = TypeVar("_T")


def random_label() -> str:
    """Return a name nobody has."""
    return f"nobody-{uuid.uuid4().hex[:12]}"


@dataclass
class Site:
    """Everything a check may look at; observations that several checks share are made once."""

    settings: Settings
    tree: Tree
    exemptions: Exemptions
    cluster: Cluster
    ca: Path | None
    features: dict[str, bool]
    forward: Forward = no_way
    pictures: list[Picture] = field(default_factory=list)
    execute: Exec = no_exec
    facts: dict[str, str] = field(default_factory=dict)
    """What the report tells about the run besides its results: how many cells, ports, accounts were looked at."""
    before: Mapping[restarts.Key, restarts.Container] = field(default_factory=dict)
    """The platform's containers as the run found them."""
    killed: set[str] = field(default_factory=set)
    """The uids of pods that checks ended on purpose."""
    sent: int = 0
    """Requests made so far; the report tells how many a family of checks took."""
    _pool: Pool = field(default_factory=Pool)
    _seen: dict[object, object] = field(default_factory=dict)
    _locks: dict[object, threading.Lock] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def once(self, key: object, look: Callable[[], _T]) -> _T:
        """Return the shared observation of a key, made at the first call."""
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._seen:
                self._seen[key] = look()
            return self._seen[key]  # type: ignore[return-value] # one key, one type: the caller's own

    @property
    def trusted(self) -> str:
        """Whom clients trust, in words."""
        return str(
            self.ca or f"the system's CAs (there is no bundle; `invoke ca --env={self.settings.env}` writes one)"
        )

    @property
    def https(self) -> int:
        """The port of the listeners that terminate TLS."""
        return next((listener.port for listener in self.tree.listeners if listener.certificates), 443)

    @property
    def http(self) -> int:
        """The port of the listener that only redirects."""
        return next((listener.port for listener in self.tree.listeners if listener.protocol == "HTTP"), 80)

    @cached_property
    def addresses(self) -> tuple[str, ...]:
        """The gateway's public addresses: as configured, else (kind) as the Gateway's status reports them."""
        if self.settings.gateway_addresses:
            return self.settings.gateway_addresses
        statuses = [self.cluster.get(gateway) or {} for gateway in self.tree.gateways]
        return tuple(a["value"] for status in statuses for a in status.get("status", {}).get("addresses", []))

    def endpoint(self, address: str = "") -> Endpoint:
        """Return the public door (at one address)."""
        door = address or (self.addresses[0] if self.addresses else "no-gateway-address.invalid")
        return Endpoint(door, self.https, self.http, self.ca, self._is_ours)

    def _is_ours(self, _name: str, der: bytes) -> bool:
        """Whether the certificate is one the cluster keeps: then its holder may see our keys.

        That it is the right one for the host is the certificate checks' promise, and theirs alone to turn red.
        """
        shown = hashlib.sha256(der).hexdigest()
        known = self.once(("pins",), set[str])
        if shown not in known:
            places = {place for tls_name in self.tree.tls_names for place in tls_name.listener.certificates}
            stored = [self.cluster.secret(place, "tls.crt") for place in places]
            known.update(hashlib.sha256(_leaf(text)).hexdigest() for text in stored if text is not None)
        return shown in known

    def send(self, request: Request, timeout: float = TIMEOUTS.answer, address: str = "") -> Answer:
        """Send a request to the gateway, on a connection of its own."""
        self._count(1)
        return self.endpoint(address).send(request, timeout)

    def sweep(self, requests: Sequence[Request], timeout: float = TIMEOUTS.answer) -> list[Answer]:
        """Send many requests, on connections that stay open between them; return the answers in their order."""
        self._count(len(requests))
        endpoint = self.endpoint()
        return gather(lambda request: self._pool.send(endpoint, request, timeout), requests)

    def _count(self, number: int) -> None:
        with self._lock:
            self.sent += number

    def send_raw(self, request: Request, data: bytes) -> list[Answer]:
        """Send bytes to the gateway as they are."""
        self._count(1)
        return self.endpoint().send_raw(request, data, TIMEOUTS.connect, TIMEOUTS.silence)

    def leave(self, request: Request, stay: float) -> int:
        """Send a request to the gateway and hang up after some seconds; return how many bytes came."""
        self._count(1)
        return self.endpoint().leave(request, TIMEOUTS.connect, stay)

    def curl(self, request: Request, address: str = "") -> str:
        """Return the command that repeats a request."""
        return self.endpoint(address).curl(request)

    def handshake(self, name: str | None) -> tls.Handshake:
        """Shake hands for a name (None: without SNI), once per run."""
        return self.once(("handshake", name), lambda: self.fresh_handshake(name))

    def fresh_handshake(self, name: str | None) -> tls.Handshake:
        """Shake hands for a name now."""
        return tls.handshake(self.endpoint().address, self.https, name, ca=self.ca, timeout=TIMEOUTS.connect)

    def offer(self, offer: hello.Offer) -> hello.Reply:
        """Make a raw TLS offer."""
        return hello.offer_to(self.endpoint().address, self.https, offer, TIMEOUTS.connect)

    def s_client(self, name: str | None, *options: str) -> str:
        """Return the openssl command that looks at a handshake."""
        server_name = f"-servername {name}" if name else "-noservername"
        ca = f" -CAfile {self.ca}" if self.ca is not None else ""
        tail = f" {' '.join(options)}" if options else ""
        return f"openssl s_client -connect {self.endpoint().address}:{self.https} {server_name}{ca}{tail} </dev/null"

    @cached_property
    def etcd(self) -> tuple[Etcd, ...]:
        """The members of etcd; none where the control plane is somebody else's."""
        return members(self.cluster, self.execute)

    @cached_property
    def identity(self) -> Identity:
        """Whom the checks appear as."""
        return Identity(self.settings.env, self.tree, self.cluster, self.forward, self.send)

    def close(self) -> None:
        """Remove the run's people and programs, and close what is open."""
        self.identity.close()
        self._pool.close()

    def credentials(self, host: Host) -> tuple[Header, ...]:
        """Return the headers that open a host; none when it asks for none."""
        return self.identity.credentials(host)

    def credentials_if_any(self, host: Host) -> tuple[Header, ...]:
        """Return the headers that open a host, none where they cannot be had.

        For checks that hold with and without them: that nobody gets a credential is for others to say.
        """
        try:
            return self.identity.credentials(host)
        except (BetelgeuseError, PromiseBrokenError):
            return ()

    def containers(self) -> dict[restarts.Key, restarts.Container]:
        """Return the platform's containers as they are now."""
        pods = (pod for space in self.tree.namespaces for pod in self.cluster.fresh("v1", "Pod", space))
        return restarts.containers(pods)

    def kill(self, pod: Obj) -> None:
        """Delete a pod on purpose: its end is no fault of the platform's."""
        self.killed.add(pod["metadata"]["uid"])
        self.cluster.kube.delete(pod)

    def pods(self, host: Host) -> list[Obj]:
        """Return the running pods behind a host, found through its routes' Services as a request would find them."""
        services = {(obj["metadata"]["namespace"], obj["metadata"]["name"]): obj for obj in self.tree.kind("Service")}
        rules = ((route, rule) for route in host.routes for rule in self.tree.find(route)["spec"].get("rules", []))
        names = {(route.namespace, backend["name"]) for route, rule in rules for backend in rule.get("backendRefs", [])}
        found = (pod for name in sorted(names) for pod in self.cluster.behind(services[name]))
        return [pod for pod in found if pod["status"].get("phase") == "Running"]

    def replaced(self, host: Host, old: Sequence[Obj], timeout: float) -> tuple[bool, float]:
        """Wait until other pods than the killed ones are behind a host; return whether they are, and after how long."""
        gone = {pod["metadata"]["uid"] for pod in old}

        def others() -> bool:
            # While an old one ends it still answers.
            found = {pod["metadata"]["uid"] for pod in self.pods(host)}
            return bool(found) and not found & gone

        return poll(others, bool, timeout)

    def host(self, label: str) -> Host:
        """Return the application's host by its first label."""
        return next(host for host in self.tree.hosts if host.label == label)


def _leaf(stored: Secret) -> bytes:
    """Return the first certificate of a PEM chain as DER; nothing when there is none."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    body = stored.reveal().partition(begin)[2].partition(end)[0]
    return ssl.PEM_cert_to_DER_cert(f"{begin}{body}{end}") if body else b""
