"""Who may look, and who may write: nobody who was not meant to."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import pytest

from betelgeuse.tree import Host, gates
from conformance import canary, telemetry
from conformance.inside import Inside
from conformance.probes.http import Answer, Request
from conformance.site import Site
from conformance.timeouts import TIMEOUTS
from conformance.verdict import require_none

pytestmark = pytest.mark.feature("observability")

_READ: Final[Mapping[str, tuple[str, ...]]] = {
    telemetry.METRICS: ("/api/v1/query?query=up", "/api/v1/targets", "/metrics", "/graph"),
    telemetry.ALERTS: ("/api/v2/alerts", "/api/v2/status", "/metrics"),
    telemetry.LOGS: ("/select/logsql/query?query=*", "/select/vmui/", "/metrics"),
    telemetry.TRACES: ("/zipkin/api/v2/services", "/api/v2/traces", "/metrics"),
    telemetry.DASHBOARDS: ("/api/v1/dashboards", "/metrics"),
}
"""What each door shows, to those who may see it."""
_WRITE: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    telemetry.METRICS: (
        ("POST", "/api/v1/write"),
        ("POST", "/api/v1/otlp/v1/metrics"),
        ("POST", "/api/v1/admin/tsdb/delete_series?match[]=up"),
        ("POST", "/-/reload"),
        ("POST", "/-/quit"),
    ),
    telemetry.ALERTS: (("POST", "/-/reload"), ("POST", "/api/v2/alerts")),
    telemetry.LOGS: (
        ("POST", "/insert/jsonline"),
        ("POST", "/insert/opentelemetry/v1/logs"),
        ("POST", "/insert/loki/api/v1/push"),
        ("POST", "/select/../insert/jsonline"),
        ("GET", "/internal/force_flush"),
        ("POST", "/internal/insert"),
        ("POST", "/delete/run_task"),
    ),
    telemetry.TRACES: (
        ("POST", "/api/v2/spans"),
        ("POST", "/zipkin/api/v2/spans"),
        ("POST", "/api/v1/spans"),
    ),
    telemetry.DASHBOARDS: (
        ("POST", "/api/v1/projects"),
        ("POST", "/api/v1/globaldatasources"),
        ("PUT", "/api/v1/projects/betelgeuse"),
        ("DELETE", "/api/v1/projects/betelgeuse"),
    ),
}
"""What no door lets even its administrators do: stores are filled from inside, and the tree says what there is."""
_REFUSED: Final = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.METHOD_NOT_ALLOWED,
    }
)
_RESEARCHER: Final = "researchers"
_CONNECT: Final = """
import json, socket, sys, concurrent.futures
def reached(place):
    host, _, port = place.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 3).close()
    except ConnectionRefusedError:
        return True
    except OSError as error:
        return f"{type(error).__name__}: {error}" if isinstance(error, socket.gaierror) else False
    return True
with concurrent.futures.ThreadPoolExecutor(16) as pool:
    print(json.dumps(dict(zip(sys.argv[1:], pool.map(reached, sys.argv[1:])))))
"""
_OTLP: Final = re.compile(r"collector\.observability-nodes:(4317|4318)")


def _doors(site: Site) -> list[Host]:
    """Return the hosts that the gateway guards; what signs people in itself is not among them."""
    return [host for host in site.tree.behind(gates.LOGIN) if host.label in telemetry.DOORS]


def test_strangers_see_nothing(site: Site) -> None:
    """Without a session no door shows a number, a line, a span or a picture: a program gets 401, a person the login."""
    requests = [
        Request(host.name, path, headers=headers)
        for host in _doors(site)
        for path in _READ[host.label]
        for headers in ((), (("X-Requested-With", "XMLHttpRequest"),), (("Authorization", "Bearer none"),))
    ]

    answers = site.sweep(requests)

    shut = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.FOUND, HTTPStatus.NOT_FOUND}
    require_none(
        [
            f"{request.host}{request.path}: {answer}"
            for request, answer in zip(requests, answers, strict=True)
            if answer.status not in shut
        ],
        where=f"{len(requests)} requests without a session",
        want="401, or a redirect to the login",
        reproduce=site.curl(requests[0]),
    )


def _without(site: Site, group: str) -> list[Host]:
    return [host for host in _doors(site) if group not in host.gate.groups]


def test_researchers_see_dashboards_only(site: Site) -> None:
    """A researcher, who may look at dashboards, is refused where raw metrics, logs, traces and alerts are."""
    person = site.identity.shared_person(_RESEARCHER)
    faults = []
    for host in _without(site, _RESEARCHER):
        browser, trail = site.identity.logged_in(host, person)
        status = trail[-1].answer.status
        faults += [f"{host}: {status} after the login"] if status != HTTPStatus.FORBIDDEN else []
        asked = [Request(host.name, path, headers=browser.header(host.name)) for path in _READ[host.label]]
        faults += [
            f"{host}{request.path}: {answer}"
            for request, answer in zip(asked, site.sweep(asked), strict=True)
            if answer.status == HTTPStatus.OK
        ]

    require_none(
        faults,
        where="the doors of those who run the platform",
        want="403 for a researcher",
        reproduce=f"a browser at https://{site.host(telemetry.METRICS)}/, as a researcher",
    )


def _attempt(site: Site, host: Host, method: str, path: str) -> Answer:
    credentials = site.credentials(host)
    body = b"[]" if method in {"POST", "PUT"} else b""
    headers = (("Content-Type", "application/json"), *credentials)
    return site.send(Request(host.name, path, method=method, headers=headers, body=body), TIMEOUTS.answer)


def test_nothing_is_written_through_a_door(site: Site) -> None:
    """Even an administrator's session writes no metric, line or span through the gateway, and stops no server."""
    faults = [
        f"{method} {host}{path}: {answer}"
        for host in _doors(site)
        for method, path in _WRITE[host.label]
        if (answer := _attempt(site, host, method, path)).status not in _REFUSED
    ]

    require_none(
        faults,
        where="the doors, with an administrator's session",
        want="404, 405 or another refusal",
        reproduce=f"curl -X POST https://{site.host(telemetry.METRICS)}/-/quit, with a session's cookies",
    )


def _places(site: Site) -> list[str]:
    """Return every port of a Service of those who watch."""
    return sorted(
        f"{obj['metadata']['name']}.{obj['metadata']['namespace']}:{port['port']}"
        for obj in site.tree.kind("Service")
        if obj["metadata"].get("namespace") in telemetry.AREAS
        for port in obj["spec"].get("ports") or ()
        if port.get("protocol", "TCP") == "TCP" and obj["spec"].get("clusterIP") != "None"
    )


def test_pod_without_a_label_reaches_none_of_it(site: Site, inside: Inside) -> None:
    """A pod reaches no store, no collector, no server of metrics; with the label, the collector's OTLP ports alone."""
    places = _places(site)
    wanted = {place for place in places if _OTLP.fullmatch(place)}

    stranger = canary.stranger(site, inside).run(_CONNECT, *places)
    sender = canary.writer(site, inside).run(_CONNECT, *places)

    faults = [f"a pod without a label: {place} {seen}" for place, seen in stranger.items() if seen]
    faults += [
        f"a pod with the label: {place} {seen}" for place, seen in sender.items() if seen and place not in wanted
    ]
    faults += [f"a pod with the label does not reach {place}" for place in sorted(wanted) if sender[place] is not True]
    require_none(
        faults if wanted else [*faults, "the tree has no Service of the collector's"],
        where=f"{len(places)} ports in {' and '.join(telemetry.AREAS)}, from {inside.namespace}",
        want=f"none reached, but with {canary.SENDS} {', '.join(sorted(wanted))}",
        reproduce="a pod in any namespace: nc -z -w 2 logs.observability 9428",
    )
