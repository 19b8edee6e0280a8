"""Where a dashboard leads besides: the same component's logs, traces, alerts, and the raw numbers."""

import json
from dataclasses import dataclass
from urllib.parse import quote

from .model import Dashboard


@dataclass(frozen=True)
class Link:
    """A place, and what a person finds there."""

    name: str
    address: str
    tip: str


def _explore(domain: str, source: str, query: dict[str, str]) -> str:
    """Return the address of a question to a source of Grafana's, which is called as its kind."""
    asked = {"refId": "A", "datasource": {"type": source, "uid": source}, **query}
    pane = {"datasource": source, "queries": [asked], "range": {"from": "now-1h", "to": "now"}}
    return f"https://grafana.{domain}/explore?schemaVersion=1&orgId=1&panes={quote(json.dumps({'a': pane}), safe='')}"


def _stores(namespace: str, domain: str, *, explore: bool) -> tuple[str, str]:
    """Return where the logs of a namespace and where traces are looked at."""
    if explore:
        logs = _explore(domain, "loki", {"expr": f'{{k8s_namespace_name="{namespace}"}}'})
        return logs, _explore(domain, "tempo", {"queryType": "traceql", "query": "{}"})
    query = quote(f'{{"k8s.namespace.name"="{namespace}"}}', safe="")
    return f"https://logs.{domain}/select/vmui/?#/?query={query}", f"https://traces.{domain}/zipkin/"


def links(dashboard: Dashboard, domain: str, *, explore: bool = False) -> tuple[Link, ...]:
    """Return the links of a dashboard; none where no domain is known.

    `explore`: logs and traces have no pages of their own, and are looked at in the platform's Grafana.
    """
    if not domain:
        return ()
    namespace = dashboard.origin.namespace
    logs, traces = _stores(namespace, domain, explore=explore)
    return (
        Link("Logs", logs, f"Log lines of {namespace}"),
        Link("Traces", traces, "Where the time of a request went"),
        Link("Alerts", f"https://alerts.{domain}/", "What is firing, and silences"),
        Link("Prometheus", f"https://prometheus.{domain}/", "Queries of your own"),
    )
