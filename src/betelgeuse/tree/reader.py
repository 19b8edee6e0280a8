"""What a rendered tree declares: hosts and what stands before them, ports, workloads, certificates, clients. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from betelgeuse.kube import Obj
from betelgeuse.tree import clients, gates, listeners
from betelgeuse.tree.clients import Client
from betelgeuse.tree.gates import Gate
from betelgeuse.tree.listeners import ANY_HOST, Listener
from betelgeuse.tree.matches import Match, matches
from betelgeuse.tree.refs import Ref, ref
from betelgeuse.tree.workloads import LASTING

_START: Final = "betelgeuse.io/start"
STORE: Final = "betelgeuse.io/store"
"""Label of a Secret that declares an account; its value names the store."""
STORE_ADMIN: Final = "betelgeuse.io/store-admin"
"""Label of the Secret with a store's administrator; its value names the store."""


@dataclass(frozen=True, slots=True)
class Route:
    """One route of an application, with what stands before it."""

    ref: Ref
    gate: Gate
    shows_token: bool = False
    """Whether it takes nothing but requests that show a token."""

    def __str__(self) -> str:
        """Show the name."""
        return str(self.ref)


@dataclass(frozen=True, slots=True)
class Host:
    """One public name with what stands behind it."""

    name: str
    namespace: str
    listeners: tuple[Listener, ...]
    routes: tuple[Ref, ...]
    matches: tuple[Match, ...]
    gate: Gate
    entrance: str = ""
    """The page people begin at, where its routes alone do not tell one (betelgeuse.io/start)."""
    token_gate: Gate | None = None
    """What stands before requests that show a token, where these have a gate of their own."""
    otherwise: Gate | None = None
    """Of a door for tokens: what stands before all other requests."""

    @property
    def doors(self) -> "tuple[Host, ...]":
        """The host as everybody meets it, and as those do who show a token, where these have a gate of their own."""
        if self.token_gate is None:
            return (self,)
        return (self, replace(self, gate=self.token_gate, token_gate=None, otherwise=self.gate))

    @property
    def label(self) -> str:
        """The first label: `llm` of llm.betelgeuse.test."""
        return self.name.partition(".")[0]

    @property
    def door(self) -> Match:
        """A request that the application itself must answer: a GET if a route takes one, on the shortest path.

        One that a route names comes before one that it would take among all others.
        """
        if self.entrance:
            return Match(self.entrance, "GET", exact=True)

        def order(match: Match) -> tuple[bool, bool, int]:
            return match.method not in {"", "GET"}, not match.exact, len(match.path)

        choices = sorted(self.matches, key=order)
        return choices[0] if choices else Match("/", "", exact=False)

    def __str__(self) -> str:
        """Show the name."""
        return self.name


@dataclass(frozen=True, slots=True)
class TlsName:
    """A name a TLS client asks for, with its listener; the default listener answers for the domain itself."""

    name: str
    listener: Listener

    def __str__(self) -> str:
        """Show the name."""
        return self.name


@dataclass(frozen=True, slots=True, order=True)
class TcpHost:
    """A public port of the gateway behind which a database or a broker ends TLS itself."""

    name: str
    port: int
    owner: Ref
    """Its ListenerSet; the server's Certificate has the same name."""
    by_sni: bool
    """Whether the name that a client asks for tells the way, or the port alone."""

    def __str__(self) -> str:
        """Show both."""
        return f"{self.name}:{self.port}"


class Tree:
    """The rendered objects of one environment, read through the eyes of a client."""

    def __init__(self, objects: Iterable[Obj], domain: str) -> None:
        """Keep the objects."""
        self.objects = list(objects)
        self.domain = domain

    def kind(self, *kinds: str) -> Iterator[Obj]:
        """Yield the objects of these kinds."""
        return (obj for obj in self.objects if obj["kind"] in kinds)

    @cached_property
    def listeners(self) -> tuple[Listener, ...]:
        """Every listener of every Gateway and ListenerSet."""
        return listeners.listeners(self.objects)

    @cached_property
    def ports(self) -> tuple[int, ...]:
        """Every TCP port a listener declares."""
        return tuple(sorted({listener.port for listener in self.listeners if listener.protocol != "UDP"}))

    @cached_property
    def tls_names(self) -> tuple[TlsName, ...]:
        """Every name under which TLS is terminated."""
        names = {
            listener.hostname or self.domain: TlsName(listener.hostname or self.domain, listener)
            for listener in self.listeners
            if listener.certificates
        }
        return tuple(names[name] for name in sorted(names))

    @cached_property
    def tcp_hosts(self) -> tuple[TcpHost, ...]:
        """Every database and broker that is reached from outside."""
        names = {(c.namespace, c.name): self.find(c)["spec"].get("dnsNames", [""])[0] for c in self.certificates}
        return tuple(
            sorted(
                TcpHost(
                    listener.hostname or names[listener.owner.namespace, listener.owner.name],
                    listener.port,
                    listener.owner,
                    by_sni=listener.protocol == "TLS",
                )
                for listener in self.listeners
                if listener.protocol in {"TCP", "TLS"}
            )
        )

    @cached_property
    def stores(self) -> tuple[str, ...]:
        """Every store that keeps accounts of applications, by its name."""
        labels = (secret["metadata"].get("labels") or {} for secret in self.kind("Secret"))
        return tuple(sorted({found[STORE_ADMIN] for found in labels if STORE_ADMIN in found}))

    @cached_property
    def hosts(self) -> tuple[Host, ...]:
        """Every application's host: named by an HTTPS listener or a route; the catch-all is no application.

        A name that a TLS listener passes on belongs to a database or a broker, which no browser asks.
        """
        names = {listener.hostname for listener in self.listeners if listener.hostname and listener.protocol == "HTTPS"}
        for route in self.kind("HTTPRoute"):
            names.update(route["spec"].get("hostnames", []))
        return tuple(self.host(name) for name in sorted(names))

    def host(self, name: str) -> Host:
        """Return what stands behind a public name."""
        owned = tuple(
            listener for listener in self.listeners if listener.hostname == name and listener.protocol == "HTTPS"
        )
        routes = [route for route in self.kind("HTTPRoute") if name in self._route_names(route)]
        refs = tuple(ref(route) for route in routes)
        found = {match for route in routes for match in matches(route)}
        namespace = (refs[0] if refs else owned[0].owner).namespace
        own = [route for route in self.routes if route.ref in refs]
        gate = gates.of_host([route.gate for route in own if not route.shows_token])
        tokens = [route.gate for route in own if route.shows_token]
        starts = ((route["metadata"].get("annotations") or {}).get(_START, "") for route in routes)
        entrance = next((start for start in starts if start), "")
        token_gate = gates.of_host(tokens) if tokens else None
        return Host(name, namespace, owned, refs, tuple(sorted(found)), gate, entrance, token_gate)

    @cached_property
    def routes(self) -> tuple[Route, ...]:
        """Every route to an application, with its gate; what only redirects or refuses is none."""
        found = [route for route in self.kind("HTTPRoute") if gates.has_backend(route)]
        return tuple(Route(ref(route), self.gate(route), gates.shows_token(route)) for route in found)

    def gate(self, route: Obj) -> Gate:
        """Return what stands before a route."""
        # Each counts where its implementation serves, and is paper elsewhere.
        mute = bool(self.without_policies)
        policies, filters = ([] if mute else self.kind("SecurityPolicy")), self.kind("AuthenticationFilter")
        return gates.of_route(route, self.owners(route), list(policies), list(filters) if mute else [])

    @cached_property
    def without_policies(self) -> tuple[Ref, ...]:
        """The Gateways at which no SecurityPolicy asks anybody."""
        return tuple(map(ref, gates.without_policies(self.objects)))

    def behind(self, kind: str) -> tuple[Host, ...]:
        """Return the hosts with one class of gate: each as those meet it who come in by that one."""
        return tuple(door for host in self.hosts for door in host.doors if door.gate.kind == kind)

    @cached_property
    def clients(self) -> tuple[Client, ...]:
        """Every OAuth client."""
        return clients.clients(self.objects, self.domain)

    def owners(self, route: Obj) -> Iterator[Ref]:
        """Yield what a route hangs on: ListenerSets and Gateways."""
        namespace = route["metadata"].get("namespace", "")
        for parent in route["spec"].get("parentRefs", []):
            yield Ref(parent.get("kind", "Gateway"), parent.get("namespace", namespace), parent["name"])

    def _route_names(self, route: Obj) -> set[str]:
        """Return the names a route serves: its own, or those of the listeners it hangs on."""
        own = route["spec"].get("hostnames")
        if own:
            return set(own)
        names = set()
        for parent, owner in zip(route["spec"].get("parentRefs", []), self.owners(route), strict=True):
            names |= {
                listener.hostname
                for listener in self.listeners
                if listener.owner.same(owner) and parent.get("sectionName", listener.name) == listener.name
            }
        return names - {ANY_HOST}

    @cached_property
    def workloads(self) -> tuple[Ref, ...]:
        """Everything that runs pods for good."""
        return tuple(sorted(ref(obj) for obj in self.kind(*LASTING)))

    @cached_property
    def namespaces(self) -> tuple[str, ...]:
        """The platform's namespaces: declared, or used by what is declared."""
        declared = {obj["metadata"]["name"] for obj in self.kind("Namespace")}
        return tuple(sorted(declared | {workload.namespace for workload in self.workloads}))

    @cached_property
    def declared(self) -> tuple[Ref, ...]:
        """Every object."""
        return tuple(sorted(ref(obj) for obj in self.objects))

    @cached_property
    def gateways(self) -> tuple[Ref, ...]:
        """Every Gateway."""
        return tuple(sorted(ref(obj) for obj in self.kind("Gateway")))

    @cached_property
    def certificates(self) -> tuple[Ref, ...]:
        """Every cert-manager Certificate."""
        return tuple(sorted(ref(obj) for obj in self.kind("Certificate")))

    @cached_property
    def acme_servers(self) -> tuple[str, ...]:
        """The ACME servers of the issuers."""
        issuers = self.kind("ClusterIssuer", "Issuer")
        return tuple(sorted({issuer["spec"]["acme"]["server"] for issuer in issuers if "acme" in issuer["spec"]}))

    def find(self, wanted: Ref) -> Obj:
        """Return the object of a Ref."""
        return next(obj for obj in self.objects if ref(obj) == wanted)

    def certificate_for(self, secret: Ref) -> Ref | None:
        """Return the Certificate that fills a Secret."""
        for obj in self.kind("Certificate"):
            place = (obj["metadata"].get("namespace", ""), obj["spec"]["secretName"])
            if place == (secret.namespace, secret.name):
                return ref(obj)
        return None
