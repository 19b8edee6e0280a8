"""Dashboards: each is shown, and each of its panels has something to show."""

from collections.abc import Iterator
from typing import Any, Final

import pytest
import yaml

from betelgeuse.kube import Obj
from betelgeuse.tree import Ref
from conformance import telemetry
from conformance.probes import prometheus
from conformance.site import Site
from conformance.timeouts import TIMEOUTS
from conformance.verdict import demand, poll, require_none

pytestmark = [pytest.mark.feature("observability"), pytest.mark.feature("dashboards")]

_KEY: Final = "dashboard.yaml"


def _described(obj: Obj) -> dict[str, Any]:
    """Return a dashboard as its component describes it."""
    try:
        found: dict[str, Any] | None = yaml.safe_load(obj["data"][_KEY])
        shown = ""
    except yaml.YAMLError as error:
        found, shown = None, str(error)
    return demand(
        found,
        where=f"ConfigMap {obj['metadata']['namespace']}/{obj['metadata']['name']}",
        want=f"YAML in {_KEY}",
        got=shown,
        reproduce=f"kubectl -n {obj['metadata']['namespace']} get configmap {obj['metadata']['name']} -o yaml",
    )


def _queries(described: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """Return each query of a dashboard, with its panel."""
    return [
        (panel, each["query"])
        for panel in described["panels"]
        for each in panel.get("queries") or ({"query": panel["query"]},)
    ]


def _faults(site: Site, queries: list[tuple[dict[str, Any], str]]) -> list[str]:
    """Return what is wrong with queries of panels; one that may be empty need only be understood."""
    answers = telemetry.attempt(site, [promql for _, promql in queries])
    found = []
    for (panel, promql), (samples, error) in zip(queries, answers, strict=True):
        if error:
            found.append(f"panel {panel['title']!r}: {promql}: {error}")
        elif not prometheus.has_data(samples) and not panel.get("empty"):
            found.append(f"panel {panel['title']!r}: no data for {promql}")
    return found


def test_panels_have_data(site: Site, dashboard: Ref) -> None:
    """Every panel shows something, or says itself why it may be empty."""
    queries = _queries(_described(site.tree.find(dashboard)))

    seen, _ = poll(
        lambda: _faults(site, queries),
        lambda seen: not seen,
        telemetry.patience(site, "panels", TIMEOUTS.reaction),
    )

    require_none(
        seen,
        where=f"{dashboard}, {len(queries)} queries",
        want="data, or a reason (`empty`) in the panel's description",
        reproduce=f"a browser at https://{site.host(telemetry.DASHBOARDS)}/",
    )


def _words(text: str) -> str:
    """Return a text without what a line break more or less changes in it."""
    return " ".join(text.split())


def _texts(node: object) -> Iterator[str]:
    """Yield every text of what the server answers."""
    if isinstance(node, str):
        yield _words(node)
    for each in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _texts(each)


def _offered(site: Site) -> dict[str, set[str]]:
    """Return what the server offers: title -> every text of it."""
    found = telemetry.data(site, telemetry.DASHBOARDS, "/api/v1/dashboards")
    return {
        str((each["spec"].get("display") or {}).get("name") or each["metadata"]["name"]): set(_texts(each))
        for each in found
    }


def test_dashboard_is_offered(site: Site, dashboard: Ref) -> None:
    """The server of dashboards offers each one that a component describes, with the queries of all its panels."""
    described = _described(site.tree.find(dashboard))
    title = described["title"]

    def faults() -> list[str]:
        offered = _offered(site)
        if title not in offered:
            return [f"{title!r} is not among {sorted(offered)}"]
        wanted = _queries(described)
        return [f"{panel['title']!r} lacks {query}" for panel, query in wanted if _words(query) not in offered[title]]

    seen, _ = poll(faults, lambda seen: not seen, telemetry.patience(site, "dashboards", TIMEOUTS.scrape))

    require_none(
        seen,
        where=f"https://{site.host(telemetry.DASHBOARDS)}",
        want=f"a dashboard {title!r} with all its panels",
        reproduce=f"a browser at https://{site.host(telemetry.DASHBOARDS)}/",
    )
