"""What the rendered tree declares, as the subjects the checks are parametrised by. Pure: no cluster, no network."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from betelgeuse.policy.access import DEFAULT, Access, Account
from conformance import gates
from conformance.gates import Client, Gate
from conformance.refs import Raw, Ref, ref

__all__ = ["Client", "Gate", "Host", "Listener", "Match", "Raw", "Ref", "Route", "TlsName", "Tree", "ref"]

WORKLOAD_KINDS: Final = ("Deployment", "StatefulSet", "DaemonSet")
LISTENER_KINDS: Final = ("Gateway", "ListenerSet")
ANY_HOST: Final = ""
_START: Final = "betelgeuse.io/start"


@dataclass(frozen=True, slots=True)
class Listener:
    """One listener of a Gateway or ListenerSet; an empty hostname takes every name."""

    owner: Ref
    name: str
    port: int
    protocol: str
    hostname: str
    certificates: tuple[Ref, ...]


@dataclass(frozen=True, slots=True, order=True)
class Match:
    """What one rule of a route lets through; an empty method is any."""

    path: str
    method: str
    exact: bool


@dataclass(frozen=True, slots=True)
class Route:
    """One route of an application, with what stands before it."""

    ref: Ref
    gate: Gate

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


def _match(match: Raw) -> Match:
    path = match.get("path", {})
    return Match(path.get("value", "/"), match.get("method", ""), exact=path.get("type") == "Exact")


class Tree:
    """The rendered objects of one environment, read through the eyes of a client."""

    def __init__(self, objects: Iterable[Raw], domain: str) -> None:
        """Keep the objects."""
        self.objects = list(objects)
        self.domain = domain

    def kind(self, *kinds: str) -> Iterator[Raw]:
        """Yield the objects of these kinds."""
        return (obj for obj in self.objects if obj["kind"] in kinds)

    @cached_property
    def listeners(self) -> tuple[Listener, ...]:
        """Every listener of every Gateway and ListenerSet."""
        found = []
        for owner in self.kind(*LISTENER_KINDS):
            for listener in owner["spec"].get("listeners", []):
                refs = listener.get("tls", {}).get("certificateRefs", [])
                namespace = owner["metadata"].get("namespace", "")
                secrets = tuple(Ref("Secret", r.get("namespace", namespace), r["name"], "v1") for r in refs)
                hostname = listener.get("hostname", ANY_HOST)
                found.append(
                    Listener(ref(owner), listener["name"], listener["port"], listener["protocol"], hostname, secrets)
                )
        return tuple(found)

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
    def hosts(self) -> tuple[Host, ...]:
        """Every application's host: named by an HTTPS listener or a route; the catch-all is no application."""
        names = {listener.hostname for listener in self.listeners if listener.hostname}
        for route in self.kind("HTTPRoute"):
            names.update(route["spec"].get("hostnames", []))
        return tuple(self._host(name) for name in sorted(names))

    def _host(self, name: str) -> Host:
        listeners = tuple(listener for listener in self.listeners if listener.hostname == name)
        routes = [route for route in self.kind("HTTPRoute") if name in self._route_names(route)]
        refs = tuple(ref(route) for route in routes)
        matches = {
            _match(match)
            for route in routes
            for rule in route["spec"].get("rules", [])
            # A rule without a backend redirects or refuses: what it matches is no page of the application.
            if rule.get("backendRefs")
            for match in rule.get("matches", [{}])
        }
        namespace = (refs[0] if refs else listeners[0].owner).namespace
        gate = gates.of_host([route.gate for route in self.routes if route.ref in refs])
        starts = ((route["metadata"].get("annotations") or {}).get(_START, "") for route in routes)
        entrance = next((start for start in starts if start), "")
        return Host(name, namespace, listeners, refs, tuple(sorted(matches)), gate, entrance)

    @cached_property
    def routes(self) -> tuple[Route, ...]:
        """Every route to an application, with its gate; what only redirects or refuses is none."""
        policies = list(self.kind("SecurityPolicy"))
        found = [route for route in self.kind("HTTPRoute") if gates.has_backend(route)]
        return tuple(Route(ref(route), gates.of_route(route, self._owners(route), policies)) for route in found)

    def behind(self, kind: str) -> tuple[Host, ...]:
        """Return the hosts with one class of gate."""
        return tuple(host for host in self.hosts if host.gate.kind == kind)

    @cached_property
    def clients(self) -> tuple[Client, ...]:
        """Every OAuth client."""
        return gates.clients(self.objects)

    def _owners(self, route: Raw) -> Iterator[Ref]:
        """Yield what a route hangs on: ListenerSets and Gateways."""
        namespace = route["metadata"].get("namespace", "")
        for parent in route["spec"].get("parentRefs", []):
            yield Ref(parent.get("kind", "Gateway"), parent.get("namespace", namespace), parent["name"])

    def _route_names(self, route: Raw) -> set[str]:
        """Return the names a route serves: its own, or those of the listeners it hangs on."""
        own = route["spec"].get("hostnames")
        if own:
            return set(own)
        namespace = route["metadata"].get("namespace", "")
        names = set()
        for parent in route["spec"].get("parentRefs", []):
            owner = (parent.get("kind", "Gateway"), parent.get("namespace", namespace), parent["name"])
            names |= {
                listener.hostname
                for listener in self.listeners
                if (listener.owner.kind, listener.owner.namespace, listener.owner.name) == owner
                and parent.get("sectionName", listener.name) == listener.name
            }
        return names - {ANY_HOST}

    @cached_property
    def workloads(self) -> tuple[Ref, ...]:
        """Everything that runs pods for good."""
        return tuple(sorted(ref(obj) for obj in self.kind(*WORKLOAD_KINDS)))

    @cached_property
    def accounts(self) -> tuple[Account, ...]:
        """Every service account that the tree declares or binds, and the default one of every namespace."""
        found = {Account(o["metadata"]["namespace"], o["metadata"]["name"]) for o in self.kind("ServiceAccount")}
        found |= Access.read(self.objects).bound() | {Account(namespace, DEFAULT) for namespace in self.namespaces}
        return tuple(sorted(found))

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

    def find(self, wanted: Ref) -> Raw:
        """Return the raw object of a Ref."""
        return next(obj for obj in self.objects if ref(obj) == wanted)

    def certificate_for(self, secret: Ref) -> Ref | None:
        """Return the Certificate that fills a Secret."""
        for obj in self.kind("Certificate"):
            place = (obj["metadata"].get("namespace", ""), obj["spec"]["secretName"])
            if place == (secret.namespace, secret.name):
                return ref(obj)
        return None
