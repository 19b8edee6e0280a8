"""From ConfigMaps to what a folder should hold, and to what is wrong with them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from . import grafana, perses
from .model import LONG_AGO, Dashboard, Origin, Wrong, parse

LABEL: Final = "betelgeuse.io/dashboard"
KEY: Final = "dashboard.yaml"


class Format(Enum):
    """The server that shows them."""

    PERSES = "perses"
    GRAFANA = "grafana"


@dataclass(frozen=True)
class Catalogue:
    """The dashboards, and the mistakes by the ConfigMap that makes them: `namespace/name`."""

    dashboards: tuple[Dashboard, ...]
    mistakes: Mapping[str, tuple[str, ...]]


def _origin(meta: Mapping[str, Any]) -> Origin:
    created = meta.get("creationTimestamp") or LONG_AGO
    # Kubernetes keeps who set which field, and when.
    times = [each["time"] for each in meta.get("managedFields") or () if each.get("time")]
    return Origin(meta.get("namespace", ""), created, max(times, default=created))


def catalogue(configmaps: Iterable[Mapping[str, Any]]) -> Catalogue:
    """Read ConfigMaps, in the order of their names. Of two with one name in their address, the first has it."""
    found: dict[str, tuple[str, Dashboard]] = {}
    mistakes: dict[str, tuple[str, ...]] = {}
    for each in sorted(configmaps, key=lambda one: (one["metadata"].get("namespace", ""), one["metadata"]["name"])):
        origin = _origin(each["metadata"])
        where = f"{origin.namespace}/{each['metadata']['name']}"
        text = (each.get("data") or {}).get(KEY)
        if text is None:
            mistakes[where] = (f"has no key {KEY}",)
            continue
        try:
            dashboard = parse(text, origin)
        except Wrong as wrong:
            mistakes[where] = wrong.mistakes
            continue
        if dashboard.name in found:
            mistakes[where] = (f"its title {dashboard.title!r} is taken by {found[dashboard.name][0]}",)
            continue
        found[dashboard.name] = (where, dashboard)
    return Catalogue(tuple(dashboard for _, dashboard in found.values()), mistakes)


def _text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def files(of: Catalogue, form: Format, domain: str, prometheus: str, *, explore: bool = False) -> dict[str, str]:
    """Return the files of a server's folder by their path in it.

    `explore`: Grafana's links to logs and traces lead to the platform's own Grafana.
    """
    if form is Format.GRAFANA:
        return {grafana.path(each): _text(grafana.dashboard(each, domain, explore=explore)) for each in of.dashboards}
    since = min((each.origin.created for each in of.dashboards), default=LONG_AGO)
    shared = {path: _text(content) for path, content in perses.shared(prometheus, since).items()}
    return {**shared, **{perses.path(each): _text(perses.dashboard(each, domain)) for each in of.dashboards}}
