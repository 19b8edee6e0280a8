"""Where a dashboard leads besides: the same component's logs, traces, alerts, and the raw numbers."""

from dataclasses import dataclass
from urllib.parse import quote

from .model import Dashboard


@dataclass(frozen=True)
class Link:
    """A place, and what a person finds there."""

    name: str
    address: str
    tip: str


def links(dashboard: Dashboard, domain: str) -> tuple[Link, ...]:
    """Return the links of a dashboard; none where no domain is known."""
    if not domain:
        return ()
    query = quote(f'{{"k8s.namespace.name"="{dashboard.origin.namespace}"}}', safe="")
    return (
        Link(
            "Logs", f"https://logs.{domain}/select/vmui/?#/?query={query}", f"Log lines of {dashboard.origin.namespace}"
        ),
        Link("Traces", f"https://traces.{domain}/zipkin/", "Where the time of a request went"),
        Link("Alerts", f"https://alerts.{domain}/", "What is firing, and silences"),
        Link("Prometheus", f"https://prometheus.{domain}/", "Queries of your own"),
    )
