"""Metrics, alerts, logs, traces and dashboards, asked for through their public doors by a person who may see them."""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urlencode

from betelgeuse.kube import Obj
from conformance.probes import prometheus
from conformance.probes.http import Answer, Request
from conformance.probes.prometheus import Group, Sample, Target
from conformance.site import Site
from conformance.timeouts import TIMEOUTS
from conformance.verdict import demand, require

METRICS: Final = "prometheus"
ALERTS: Final = "alerts"
LOGS: Final = "logs"
TRACES: Final = "traces"
DASHBOARDS: Final = "grafana"
DOORS: Final = (ALERTS, DASHBOARDS, LOGS, METRICS, TRACES)
"""The first labels of the public hosts."""
AREAS: Final = ("observability", "observability-nodes")
"""The namespaces of what watches."""
MONITORS: Final = ("PodMonitor", "Probe", "ScrapeConfig", "ServiceMonitor")
_QUIET: Final = ("X-Requested-With", "XMLHttpRequest")
"""A program's mark: whose session has ended is told so, instead of being led to a login page."""


def patience(site: Site, what: str, seconds: float) -> float:
    """Return how long something may still take: all that wait for the same wait once."""
    end = site.once(("awaited", what), lambda: time.monotonic() + seconds)
    return max(0.0, end - time.monotonic())


def request(site: Site, label: str, path: str, asked: Mapping[str, str] | None = None) -> Request:
    """Return a question to one of the doors, with a session of somebody who may ask it."""
    host = site.host(label)
    query = f"?{urlencode(asked)}" if asked else ""
    return Request(host.name, f"{path}{query}", headers=(_QUIET, *site.credentials(host)))


def ask(
    site: Site,
    label: str,
    path: str,
    asked: Mapping[str, str] | None = None,
    also: Iterable[int] = (),
) -> Answer:
    """Ask one of the doors; demand 200, or a status of `also`."""
    question = request(site, label, path, asked)
    answer = site.sweep([question], TIMEOUTS.telemetry)[0]
    require(
        answer.status in {HTTPStatus.OK, *also} and not answer.error,
        where=f"https://{question.host}{path}",
        want="200, for a person who may ask",
        got=answer,
        reproduce=site.curl(question),
    )
    return answer


def data(site: Site, label: str, path: str, asked: Mapping[str, str] | None = None, also: Iterable[int] = ()) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Ask one of the doors for JSON; None for a status of `also`."""
    answer = ask(site, label, path, asked, also)
    if answer.status != HTTPStatus.OK:
        return None
    return demand(
        _parsed(answer),
        where=f"https://{site.host(label)}{path}",
        want="JSON",
        got=answer,
        reproduce=f"a browser at https://{site.host(label)}{path}",
    )


def _parsed(answer: Answer) -> Any:  # noqa: ANN401 - whatever JSON holds
    try:
        return json.loads(answer.body)
    except ValueError:
        return None


def query(site: Site, promql: str) -> tuple[Sample, ...]:
    """Return what a PromQL expression says now."""
    return prometheus.samples(data(site, METRICS, "/api/v1/query", {"query": promql}))


def attempt(site: Site, expressions: Sequence[str]) -> list[tuple[tuple[Sample, ...], str]]:
    """Return what each PromQL expression says now, or why it says nothing at all."""
    # Made here, in the thread that keeps the way to Keycloak open.
    questions = [request(site, METRICS, "/api/v1/query", {"query": promql}) for promql in expressions]
    found: list[tuple[tuple[Sample, ...], str]] = []
    for answer in site.sweep(questions, TIMEOUTS.telemetry):
        told = _parsed(answer)
        if isinstance(told, dict) and answer.status == HTTPStatus.OK:
            found.append((prometheus.samples(told), ""))
        else:
            found.append(((), str(told.get("error", told) if isinstance(told, dict) else answer)))
    return found


def targets(site: Site) -> tuple[Target, ...]:
    """Return what is scraped now."""
    return prometheus.targets(data(site, METRICS, "/api/v1/targets", {"state": "active"}))


def groups(site: Site) -> tuple[Group, ...]:
    """Return the rules that are evaluated now."""
    return prometheus.groups(data(site, METRICS, "/api/v1/rules"))


def names(site: Site, expressions: Iterable[str]) -> dict[str, frozenset[str]]:
    """Return the metrics that each expression speaks of, as the server's own parser reads it."""
    wanted = sorted(set(expressions))
    questions = [request(site, METRICS, "/api/v1/parse_query", {"query": promql}) for promql in wanted]
    parsed = [_parsed(answer) or {} for answer in site.sweep(questions, TIMEOUTS.telemetry)]
    require(
        all(each.get("status") == "success" for each in parsed),
        where=f"https://{site.host(METRICS)}/api/v1/parse_query",
        want=f"{len(wanted)} expressions read",
        got=[each for each in parsed if each.get("status") != "success"],
        reproduce=f"a browser at https://{site.host(METRICS)}/rules",
    )
    return {promql: prometheus.names(each.get("data")) for promql, each in zip(wanted, parsed, strict=True)}


def known(site: Site) -> frozenset[str]:
    """Return the name of every metric that there is, read once per run."""
    return site.once(
        ("metrics",), lambda: frozenset(data(site, METRICS, "/api/v1/label/__name__/values").get("data") or ())
    )


def log_lines(site: Site, logsql: str) -> bytes:
    """Return the entries that a LogsQL query finds, an object of JSON in each line, in whatever order."""
    return ask(site, LOGS, "/select/logsql/query", {"query": logsql}).body


def logs(site: Site, logsql: str) -> list[dict[str, str]]:
    """Return the entries of the log store that a LogsQL query finds."""
    return [json.loads(line) for line in log_lines(site, logsql).splitlines() if line.strip()]


def log_query(site: Site, logsql: str) -> str:
    """Return the command that repeats a search for log lines."""
    return f"a browser at https://{site.host(LOGS)}/select/vmui/?#/?query={quote(logsql)}"


def trace(site: Site, trace_id: str) -> list[Obj]:
    """Return the spans of a trace; none while the store does not know it."""
    found = data(site, TRACES, f"/zipkin/api/v2/trace/{trace_id}", also=(HTTPStatus.NOT_FOUND,))
    return list(found or ())


def trace_page(site: Site, trace_id: str) -> str:
    """Return where a person looks at a trace."""
    return f"a browser at https://{site.host(TRACES)}/zipkin/traces/{trace_id}"


def firing(site: Site) -> list[Mapping[str, str]]:
    """Return the labels of the alerts that Prometheus says are firing."""
    found = data(site, METRICS, "/api/v1/alerts").get("data") or {}
    return [alert["labels"] for alert in found.get("alerts", []) if alert["state"] == "firing"]


def notified(site: Site) -> list[Mapping[str, str]]:
    """Return the labels of the alerts that have reached Alertmanager and are not over."""
    return [alert["labels"] for alert in data(site, ALERTS, "/api/v2/alerts")]
