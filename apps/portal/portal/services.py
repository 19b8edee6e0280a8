"""From routes, EndpointSlices, gates and namespaces, as the API server gives them, to a list of services."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

Obj = Mapping[str, Any]

GATE: Final = "betelgeuse.io/gate"
PUBLIC: Final = "betelgeuse.io/public"
DESCRIPTION: Final = "betelgeuse.io/description"
START: Final = "betelgeuse.io/start"
CONNECT: Final = "betelgeuse.io/connect"
TITLE: Final = "betelgeuse.io/title"
GATES: Final = ("login", "token", "password")
_SERVICE_OF_SLICE: Final = "kubernetes.io/service-name"
_ASKED: Final = 'read -rs word; echo "$word"'
"""What a shell puts in the place of a password: it asks for it, and nothing is shown or kept."""


@dataclass(frozen=True)
class Line:
    """What a person copies to connect, and for what."""

    name: str
    text: str


@dataclass(frozen=True)
class Service:
    """One host of the platform, or one port of it; `trouble` is empty when it can be used."""

    host: str
    namespace: str
    gate: str
    description: str
    start: str
    ready: int
    trouble: str
    area: str = ""
    """The title of its namespace."""
    groups: tuple[str, ...] = ()
    """Who may come in, where the gateway decides."""
    lines: tuple[Line, ...] = ()

    @property
    def name(self) -> str:
        """Return what it is called: the first part of its host."""
        return self.host.partition(".")[0]

    @property
    def address(self) -> str:
        """Return where its link leads."""
        return f"https://{self.host}{self.start}"


@dataclass(frozen=True)
class World:
    """Everything that is asked of the API server, each a list of objects."""

    routes: Iterable[Obj]
    slices: Iterable[Obj]
    tcp: Iterable[Obj] = ()
    """TCPRoutes and TLSRoutes: what is reached without HTTP."""
    listeners: Iterable[Obj] = ()
    """ListenerSets, which know the ports of those."""
    policies: Iterable[Obj] = ()
    namespaces: Iterable[Obj] = ()


def _backends(route: Obj) -> list[tuple[str, str]]:
    """Return (namespace, name) of the Services a route leads to."""
    own = route["metadata"]["namespace"]
    refs = [ref for rule in route["spec"].get("rules", ()) for ref in rule.get("backendRefs", ())]
    found = [(ref.get("namespace", own), ref["name"]) for ref in refs if ref.get("kind", "Service") == "Service"]
    return list(dict.fromkeys(found))


def _ready(slices: Iterable[Obj]) -> dict[tuple[str, str], int]:
    """Count the ready endpoints of each Service."""
    counts: dict[tuple[str, str], int] = {}
    for each in slices:
        meta = each["metadata"]
        key = (meta["namespace"], (meta.get("labels") or {}).get(_SERVICE_OF_SLICE, ""))
        # An endpoint that says nothing about itself counts as ready: so the API defines it.
        ready = [one for one in each.get("endpoints") or () if (one.get("conditions") or {}).get("ready") is not False]
        counts[key] = counts.get(key, 0) + len(ready)
    return counts


def _refusals(route: Obj) -> Iterator[str]:
    """Yield why a gateway does not serve the route."""
    parents = (route.get("status") or {}).get("parents") or ()
    if not parents:
        yield "no gateway has taken it up yet"
    for parent in parents:
        for condition in parent.get("conditions", ()):
            if condition["type"] in {"Accepted", "ResolvedRefs"} and condition["status"] != "True":
                yield condition.get("message") or condition.get("reason") or f"not {condition['type']}"


def _notes(obj: Obj) -> Mapping[str, str]:
    return obj["metadata"].get("annotations") or {}


def _gate(meta: Obj, notes: Mapping[str, str]) -> str:
    gate = (meta.get("labels") or {}).get(GATE, "")
    if gate in GATES:
        return str(gate)
    return "public" if notes.get(PUBLIC) else "unknown"


def _start(notes: Mapping[str, str]) -> str:
    """Return the path to start at; anything but a path of this host is ignored."""
    start = notes.get(START, "/")
    return start if start.startswith("/") and not start.startswith("//") and "\\" not in start else "/"


def _lines(notes: Mapping[str, str], **known: str) -> tuple[Line, ...]:
    """Return what connects, `name: text` in each line of the annotation; fields that only a person knows are named."""
    fields = {"user": "USER", "root": "stores-ca.pem", "password": _ASKED, **known}
    found = []
    for line in notes.get(CONNECT, "").splitlines():
        name, colon, text = line.partition(": ")
        if not colon:
            continue
        for field, value in fields.items():
            text = text.replace(f"{{{field}}}", value)
        found.append(Line(name.strip(), text.strip()))
    return tuple(found)


def _groups(policies: Iterable[Obj]) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return the groups that a login gate lets in, by namespace and name of its route."""
    found = {}
    for policy in policies:
        spec = policy["spec"]
        rules = (spec.get("authorization") or {}).get("rules") or ()
        claims = [
            claim for rule in rules for claim in ((rule.get("principal") or {}).get("jwt") or {}).get("claims", ())
        ]
        groups = tuple(str(value) for claim in claims if claim.get("name") == "groups" for value in claim["values"])
        for ref in spec.get("targetRefs") or ():
            found[policy["metadata"]["namespace"], ref["name"]] = groups
    return found


def _titles(namespaces: Iterable[Obj]) -> dict[str, str]:
    return {obj["metadata"]["name"]: title for obj in namespaces if (title := _notes(obj).get(TITLE))}


def _trouble(route: Obj, backends: list[tuple[str, str]], counts: Mapping[tuple[str, str], int]) -> str:
    nothing = [f"nothing ready behind {'/'.join(key)}" for key in backends if not counts.get(key)]
    return "; ".join([*_refusals(route), *nothing])


def _hosts(world: World, counts: Mapping[tuple[str, str], int]) -> Iterator[Service]:
    """Yield the service of each route with a host and a backend; others redirect only."""
    groups = _groups(world.policies)
    for route in world.routes:
        meta, notes, backends = route["metadata"], _notes(route), _backends(route)
        for host in route["spec"].get("hostnames", ()) if backends else ():
            yield Service(
                host=host,
                namespace=meta["namespace"],
                gate=_gate(meta, notes),
                description=notes.get(DESCRIPTION, ""),
                start=_start(notes),
                ready=sum(counts.get(key, 0) for key in backends),
                trouble=_trouble(route, backends, counts),
                groups=groups.get((meta["namespace"], meta["name"]), ()),
                lines=_lines(notes, host=host, port="443"),
            )


def _servers(world: World, counts: Mapping[tuple[str, str], int], domain: str) -> Iterator[Service]:
    """Yield the service of each database and broker that is reached by a port of its own."""
    ports = {
        (obj["metadata"]["namespace"], obj["metadata"]["name"]): obj["spec"]["listeners"] for obj in world.listeners
    }
    for route in world.tcp:
        meta, backends = route["metadata"], _backends(route)
        (listener, *_) = ports.get((meta["namespace"], meta["name"])) or [{}]
        # A listener that routes by its port alone has no host name.
        host = listener.get("hostname") or f"{meta['name']}.{domain}"
        yield Service(
            host=host,
            namespace=meta["namespace"],
            gate="account",
            description="",
            start="",
            ready=sum(counts.get(key, 0) for key in backends),
            trouble=_trouble(route, backends, counts),
            lines=_lines(_notes(route), host=host, port=str(listener.get("port", ""))),
        )


def _joined(one: Service, other: Service) -> Service:
    """Return what two routes of one host say together; the one with trouble speaks for it."""
    first, second = (other, one) if other.trouble and not one.trouble else (one, other)
    return replace(first, lines=(*one.lines, *other.lines), description=first.description or second.description)


def services(world: World) -> list[Service]:
    """Return one service per host, in order of areas and names.

    What is reached without HTTP adds its lines to the page of the same name, or is a service of its own.
    """
    counts, titles = _ready(world.slices), _titles(world.namespaces)
    found: dict[str, Service] = {}
    for service in _hosts(world, counts):
        found[service.host] = _joined(found[service.host], service) if service.host in found else service
    domain = next(iter(found), "").partition(".")[2]
    for service in _servers(world, counts, domain):
        found[service.host] = _joined(found[service.host], service) if service.host in found else service
    named = [replace(each, area=titles.get(each.namespace, each.namespace)) for each in found.values()]
    return sorted(named, key=lambda service: (service.area.lower(), service.host))
