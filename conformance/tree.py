"""What the rendered tree declares, as the subjects the checks are parametrised by. Pure: no cluster, no network."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

Raw = dict[str, Any]

WORKLOAD_KINDS: Final = ("Deployment", "StatefulSet", "DaemonSet")
LISTENER_KINDS: Final = ("Gateway", "ListenerSet")
ANY_HOST: Final = ""


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """The name of one object."""

    kind: str
    namespace: str
    name: str
    api_version: str = ""

    def __str__(self) -> str:
        """Show it as the ids of the checks do: `Deployment/ai/llm`."""
        return "/".join(part for part in (self.kind, self.namespace, self.name) if part)

    def kubectl(self, verb: str) -> str:
        """Return the command that looks at it."""
        group = self.api_version.partition("/")[0] if "/" in self.api_version else ""
        kind = f"{self.kind}.{group}".lower() if group.count(".") else self.kind.lower()
        place = f" -n {self.namespace}" if self.namespace else ""
        return f"kubectl{place} {verb} {kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Listener:
    """One listener of a Gateway or ListenerSet; an empty hostname takes every name."""

    owner: Ref
    name: str
    port: int
    protocol: str
    hostname: str
    certificates: tuple[Ref, ...]


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where an API key comes from and how a client sends it."""

    secret: Ref
    header: str

    def value(self, key: str) -> str:
        """Return the header's value for a key: Authorization has a scheme, other headers carry the key alone."""
        return f"Bearer {key}" if self.header.lower() == "authorization" else key


@dataclass(frozen=True, slots=True, order=True)
class Match:
    """What one rule of a route lets through; an empty method is any."""

    path: str
    method: str
    exact: bool


@dataclass(frozen=True, slots=True)
class Host:
    """One public name with what stands behind it."""

    name: str
    namespace: str
    listeners: tuple[Listener, ...]
    routes: tuple[Ref, ...]
    matches: tuple[Match, ...]
    keys: tuple[KeySource, ...]

    @property
    def label(self) -> str:
        """The first label: `llm` of llm.betelgeuse.test."""
        return self.name.partition(".")[0]

    @property
    def door(self) -> Match:
        """A request that the application itself must answer: a GET if a route takes one, on the shortest path."""
        choices = sorted(self.matches, key=lambda match: (match.method not in {"", "GET"}, len(match.path)))
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


def ref(obj: Raw) -> Ref:
    """Return the name of a raw object."""
    meta = obj["metadata"]
    return Ref(obj["kind"], meta.get("namespace", ""), meta["name"], obj["apiVersion"])


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
        keys = tuple(self._keys({str(r) for r in refs} | {str(listener.owner) for listener in listeners}))
        return Host(name, namespace, listeners, refs, tuple(sorted(matches)), keys)

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

    def _keys(self, targets: set[str]) -> Iterator[KeySource]:
        for policy in self.kind("SecurityPolicy"):
            spec, namespace = policy["spec"], policy["metadata"].get("namespace", "")
            if "apiKeyAuth" not in spec:
                continue
            refs = spec.get("targetRefs") or [spec["targetRef"]]
            if not any(f"{r['kind']}/{namespace}/{r['name']}" in targets for r in refs):
                continue
            headers = [
                name for source in spec["apiKeyAuth"].get("extractFrom", []) for name in source.get("headers", [])
            ]
            for secret in spec["apiKeyAuth"]["credentialRefs"]:
                place = Ref("Secret", secret.get("namespace", namespace), secret["name"], "v1")
                yield KeySource(place, (headers or ["Authorization"])[0])

    @cached_property
    def workloads(self) -> tuple[Ref, ...]:
        """Everything that runs pods for good."""
        return tuple(sorted(ref(obj) for obj in self.kind(*WORKLOAD_KINDS)))

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
