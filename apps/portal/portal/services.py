"""From HTTPRoutes and EndpointSlices, as the API server gives them, to a list of services."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

Obj = Mapping[str, Any]

GATE: Final = "betelgeuse.io/gate"
PUBLIC: Final = "betelgeuse.io/public"
DESCRIPTION: Final = "betelgeuse.io/description"
START: Final = "betelgeuse.io/start"
GATES: Final = ("login", "token", "password")
_SERVICE_OF_SLICE: Final = "kubernetes.io/service-name"


@dataclass(frozen=True)
class Service:
    """One host of the platform; `trouble` is empty when it can be used."""

    host: str
    namespace: str
    gate: str
    description: str
    start: str
    ready: int
    trouble: str

    @property
    def address(self) -> str:
        """Return where its link leads."""
        return f"https://{self.host}{self.start}"


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


def _gate(meta: Obj) -> str:
    gate = (meta.get("labels") or {}).get(GATE, "")
    if gate in GATES:
        return str(gate)
    return "public" if (meta.get("annotations") or {}).get(PUBLIC) else "unknown"


def _start(notes: Mapping[str, str]) -> str:
    """Return the path to start at; anything but a path of this host is ignored."""
    start = notes.get(START, "/")
    return start if start.startswith("/") and not start.startswith("//") and "\\" not in start else "/"


def services(routes: Iterable[Obj], slices: Iterable[Obj]) -> list[Service]:
    """Return one service per host, in order of their names; routes that lead to no Service only redirect."""
    counts = _ready(slices)
    found: dict[str, Service] = {}
    for route in routes:
        meta, backends = route["metadata"], _backends(route)
        if not backends:
            continue
        notes = meta.get("annotations") or {}
        trouble = list(_refusals(route))
        trouble += [f"nothing ready behind {'/'.join(key)}" for key in backends if not counts.get(key)]
        for host in route["spec"].get("hostnames", ()):
            service = Service(
                host=host,
                namespace=meta["namespace"],
                gate=_gate(meta),
                description=notes.get(DESCRIPTION, ""),
                start=_start(notes),
                ready=sum(counts.get(key, 0) for key in backends),
                trouble="; ".join(trouble),
            )
            # Two routes of one host are one service; the one with trouble speaks for it.
            if host not in found or (service.trouble and not found[host].trouble):
                found[host] = service
    return [found[host] for host in sorted(found)]
