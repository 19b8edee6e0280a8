"""Traces: a request is one trace from the edge inwards, and its line in the log names it."""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import pytest

from betelgeuse.kube import Obj
from betelgeuse.tree import Host
from betelgeuse.tree.workloads import LASTING, labels
from conformance import canary, telemetry
from conformance.inside import Inside
from conformance.probes.http import Request
from conformance.site import Site
from conformance.subjects import MODELS
from conformance.timeouts import TIMEOUTS
from conformance.verdict import poll, require, require_none

pytestmark = [pytest.mark.feature("observability"), pytest.mark.feature("traces")]

_SEND: Final = """
import json, sys, time, urllib.request
trace, span, place = sys.argv[1:]
now = time.time_ns()
one = {"traceId": trace, "spanId": span, "name": "canary", "kind": 2,
       "startTimeUnixNano": str(now - 10**6), "endTimeUnixNano": str(now)}
named = {"attributes": [{"key": "service.name", "value": {"stringValue": "canary"}}]}
body = json.dumps({"resourceSpans": [{"resource": named, "scopeSpans": [{"spans": [one]}]}]}).encode()
asked = urllib.request.Request(f"http://{place}/v1/traces", body, {"Content-Type": "application/json"})
print(urllib.request.urlopen(asked, timeout=10).status)
"""
_COLLECTOR: Final = "collector.observability-nodes:4318"


@dataclass(frozen=True)
class Asked:
    """A request with a trace of its own."""

    trace: str
    span: str
    status: int = 0


def _request(site: Site, host: Host, asked: Asked) -> Request:
    """Return a request with its trace, to a model for what it must read itself."""
    model = host.label in MODELS
    known = site.credentials_if_any(host) if model else ()
    parent = ("traceparent", f"00-{asked.trace}-{asked.span}-01")
    return Request(host.name, "/v1/models" if model else host.door.path, headers=(parent, *known))


def _requests(site: Site) -> tuple[Mapping[str, Asked], float]:
    """Ask every host, each with its own trace, all at once; return the traces, and when we stop waiting for them."""

    def look() -> tuple[Mapping[str, Asked], float]:
        asked = [(host, Asked(secrets.token_hex(16), secrets.token_hex(8))) for host in site.tree.hosts]
        answers = site.sweep([_request(site, host, one) for host, one in asked])
        found = {
            host.name: replace(one, status=answer.status) for (host, one), answer in zip(asked, answers, strict=True)
        }
        return found, time.monotonic() + TIMEOUTS.traced

    return site.once(("traced requests",), look)


def _inner(site: Site, host: Host) -> set[str]:
    """Return the workloads behind a host that send spans of their own, as their pods' label says."""
    found = site.tree.kind(*LASTING) if host.label in MODELS else ()
    return {
        obj["metadata"]["name"]
        for obj in found
        if obj["metadata"].get("namespace") == host.namespace and labels(obj).get(canary.SENDS) == "true"
    }


def _service(span: Obj) -> str:
    return str((span.get("localEndpoint") or {}).get("serviceName", ""))


def _faults(site: Site, host: Host, asked: Asked) -> list[str]:
    """Return what is wrong with the trace of a request."""
    spans = telemetry.trace(site, asked.trace)
    if not spans:
        return ["no such trace"]
    ids = {asked.span, *(span["id"] for span in spans)}
    edge = [span for span in spans if span.get("parentId") == asked.span]
    found = [f"{len(edge)} spans follow ours: {[_service(span) for span in edge]}"] if len(edge) != 1 else []
    tags = [span.get("tags") or {} for span in edge]
    found += [
        f"the edge's span tells of {told}" for told in tags if not any(host.name in str(it) for it in told.values())
    ]
    found += [f"span {span.get('name')!r} follows nothing" for span in spans if span.get("parentId", "none") not in ids]
    missing = _inner(site, host) - {_service(span) for span in spans}
    return [*found, *(f"no span of {name} (the request got {asked.status})" for name in sorted(missing))]


def test_request_is_one_trace(site: Site, host: Host) -> None:
    """A request with a trace of its own is one trace: the edge's span follows the caller's, the others follow it."""
    traces, end = _requests(site)
    asked = traces[host.name]

    seen, _ = poll(lambda: _faults(site, host, asked), lambda seen: not seen, max(0.0, end - time.monotonic()))

    require_none(
        seen,
        where=f"https://{host}, trace {asked.trace}",
        want=f"one tree of spans within {TIMEOUTS.traced:.0f} s",
        reproduce=telemetry.trace_page(site, asked.trace),
    )


@pytest.mark.feature("logs")
def test_log_names_the_trace(site: Site, host: Host) -> None:
    """The edge's line about a request is in the log store, with the trace that the caller began."""
    traces, end = _requests(site)
    asked = traces[host.name]
    wanted = f'_time:1h "trace_id":="{asked.trace}" "k8s.namespace.name":="gateway"'

    seen, _ = poll(lambda: telemetry.logs(site, wanted), bool, max(0.0, end - time.monotonic()))

    require(
        len(seen) == 1 and host.name in str(seen[0]),
        where=f"the gateway's lines in the store, trace {asked.trace}",
        want=f"one, about {host}",
        got=seen or "none",
        reproduce=telemetry.log_query(site, wanted),
    )


def test_program_sends_spans(site: Site, inside: Inside) -> None:
    """A pod with the label sends a span to the collector on its node, and it comes to the store of traces."""
    pod, trace = canary.writer(site, inside), secrets.token_hex(16)

    status = pod.run(_SEND, trace, secrets.token_hex(8), _COLLECTOR)
    seen, seconds = poll(lambda: telemetry.trace(site, trace), bool, TIMEOUTS.traced)

    site.facts["a span in the store"] = f"after {seconds:.1f} s"
    require(
        [_service(span) for span in seen] == [canary.NAME],
        where=f"http://{_COLLECTOR}/v1/traces, from {pod.place}",
        want="200, and the span in the store",
        got=f"{status}, {seen or 'no span'} after {seconds:.0f} s",
        reproduce=telemetry.trace_page(site, trace),
    )
