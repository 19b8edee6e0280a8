"""A model of what watches the model platform: metrics, alerts, logs, traces, dashboards; breakable fault by fault."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

from betelgeuse.kube import Obj
from conformance.probes import canary
from conformance.probes.http import Answer, Request
from tests.conformance_suite import cluster
from tests.conformance_suite.cluster import FakeKube

OPEN = ("Cookie", "session=of-an-administrator")
SECRET = "correct-horse-battery-staple"  # noqa: S105 - of the model
WRITTEN = "2026-11-01T08:00:00.000000001Z"
_RULE = {
    "alert": "LlmDown",
    "expr": "up == 0",
    "annotations": {
        "summary": "It is down",
        "description": "It has not answered.",
        "action": "Look at it.",
        "runbook": "docs/runbooks/llm.md#llmdown",
    },
}
_DASHBOARD = """
title: Language model
panels:
  - {title: Up, query: up}
  - title: Both
    queries: [{query: scalar(up)}, {query: up}]
  - {title: Queue, query: queue, empty: nobody waits}
"""
_MONITORING = "monitoring.coreos.com/v1"


def _object(api_version: str, kind: str, name: str, namespace: str = "", **parts: Any) -> Obj:  # noqa: ANN401 - as objects are
    place = {"namespace": namespace} if namespace else {}
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, **place}, **parts}


def objects(https: int) -> list[Obj]:
    """Return what the tree has besides, where the platform is watched."""
    chosen = {"selector": {"matchLabels": {"app": "llm"}}}
    rules = [{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "backendRefs": [{}]}]
    found = [
        _object("v1", "Namespace", "observability", labels={}),
        _object("v1", "Service", "logs", "observability", spec={"ports": [{"port": 9428}]}),
        _object("v1", "Service", "collector", "observability-nodes", spec={"ports": [{"port": 4317}, {"port": 4318}]}),
        _object("apps/v1", "StatefulSet", "events", "observability", spec={}),
        _object("apiregistration.k8s.io/v1", "APIService", "v1beta1.metrics.k8s.io", spec={}),
        _object(
            _MONITORING,
            "PodMonitor",
            "llm",
            "ai",
            spec={**chosen, "podMetricsEndpoints": [{"port": "http"}]},
        ),
        _object(_MONITORING, "ServiceMonitor", "llm", "ai", spec={**chosen, "endpoints": [{"port": "http"}]}),
        _object(
            _MONITORING, "Probe", "edge", "ai", spec={"targets": {"staticConfig": {"static": ["https://llm.test/"]}}}
        ),
        _object(_MONITORING, "PrometheusRule", "llm", "ai", spec={"groups": [{"name": "llm", "rules": [_RULE]}]}),
        _object("v1", "ConfigMap", "llm", "ai", data={"dashboard.yaml": _DASHBOARD}),
    ]
    found[-1]["metadata"]["labels"] = {"betelgeuse.io/dashboard": "true"}
    template = {"metadata": {"labels": {"betelgeuse.io/uses-collector": "true"}}, "spec": {}}
    found.append(_object("apps/v1", "Deployment", "api-check", "ai", spec={"template": template}))
    for label in ("alerts", "grafana", "logs", "prometheus", "traces"):
        found += cluster._host(label, "observability", https, rules)
        allow = {"action": "Allow", "principal": {"jwt": {"claims": [{"name": "groups", "values": _groups(label)}]}}}
        login = {"provider": {"issuer": "https://model"}, "clientID": label, "logoutPath": "/oauth2/logout"}
        deny = {"defaultAction": "Deny", "rules": [allow]}
        found.append(cluster._policy(label, "observability", "login", oidc=login, authorization=deny))
    return found


def _groups(label: str) -> list[str]:
    return ["platform-admins", *(["researchers"] if label == "grafana" else [])]


def live(kube: FakeKube) -> None:
    """Give the cluster what only a living one has."""
    for pod in kube._of("Pod", None):
        for container in pod["spec"]["containers"]:
            container["ports"] = [{"containerPort": 8080, "name": "http"}]
        for status in pod["status"].get("containerStatuses", []):
            status["state"] = {"running": {"startedAt": WRITTEN}}
    ready = {"addresses": ["10.0.0.2"], "conditions": {"ready": True}}
    piece = _object("discovery.k8s.io/v1", "EndpointSlice", "llm-1", "ai", ports=[{"name": "http"}], endpoints=[ready])
    piece["metadata"]["labels"] = {"kubernetes.io/service-name": "llm"}
    kube.live.append(piece)
    service = kube.find("Service", "llm", "ai")
    service["metadata"]["labels"] = {"app": "llm"}
    service["spec"]["ports"] = [{"port": 80, "name": "http"}]
    kube.log = f"{WRITTEN} a line"


@dataclass
class Instruments:
    """Answers every request that the checks make, through the gateway and from pods."""

    kube: FakeKube
    faults: set[str]
    spans: dict[str, list[Obj]] = field(default_factory=dict)
    lines: list[dict[str, str]] = field(default_factory=list)

    def send(self, request: Request, _timeout: float = 0, _address: str = "") -> Answer:
        """Answer one request to the gateway."""
        label = request.host.partition(".")[0]
        parent = next((str(value) for name, value in request.headers if name == "traceparent"), "")
        if parent:
            self._note(request.host, *parent.split("-")[1:3])
            return Answer(200)
        opened = OPEN in request.headers or ("Cookie", "session=of-a-researcher") in request.headers
        if not opened and "open-door" not in self.faults:
            return Answer(HTTPStatus.UNAUTHORIZED)
        if ("Cookie", "session=of-a-researcher") in request.headers and "any-researcher" not in self.faults:
            return Answer(HTTPStatus.FORBIDDEN)
        if request.method != "GET":
            return Answer(HTTPStatus.NO_CONTENT if "ingest-open" in self.faults else HTTPStatus.NOT_FOUND)
        parts = urlsplit(request.path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        answers: dict[str, Any] = {
            "prometheus": self._prometheus,
            "alerts": self._alertmanager,
            "logs": self._logs,
            "traces": self._traces,
            "grafana": self._dashboards,
        }
        found: Answer = answers[label](parts.path, asked)
        return found

    def sweep(self, requests: Sequence[Request], _timeout: float = 0) -> list[Answer]:
        """Answer many."""
        return [self.send(request) for request in requests]

    def execute(self, _namespace: str, pod: str, argv: Sequence[str], **_: object) -> str:
        """Do what a pod's program would: connect to places, or send a span."""
        if "/v1/traces" in argv[2]:
            trace = argv[3]
            self.spans[trace] = [] if "spans-lost" in self.faults else [_span("canary", argv[4], "")]
            return "200"
        places = argv[3:]
        known = {place: place.startswith("collector.") and pod == "canary" for place in places}
        known |= {place: True for place in places if "stranger-reaches" in self.faults and pod == "stranger"}
        known |= {place: True for place in places if "label-opens-all" in self.faults and pod == "canary"}
        known |= {place: False for place in places if "collector-shut" in self.faults}
        return json.dumps(known)

    def identity(self) -> SimpleNamespace:
        """Return whom the checks appear as."""
        browser = SimpleNamespace(header=lambda _host: (("Cookie", "session=of-a-researcher"),))
        status = HTTPStatus.OK if "any-researcher" in self.faults else HTTPStatus.FORBIDDEN
        trail = [SimpleNamespace(answer=Answer(status))]
        return SimpleNamespace(
            credentials=lambda _host: (OPEN,),
            shared_person=lambda *_groups: SimpleNamespace(),
            logged_in=lambda _host, _person: (browser, trail),
            close=lambda: None,
        )

    def _note(self, host: str, trace: str, span: str) -> None:
        """Keep the spans and the line of a request."""
        named = "traces.other" if "edge-tells-another-host" in self.faults else host
        edge = _span("gateway", "e" * 16, span, **{"http.url": f"https://{named}/"})
        inner = [_span("api-check", "a" * 16, "e" * 16)] if host.startswith(("llm", "embeddings")) else []
        inner = [] if "no-inner-span" in self.faults else inner
        stray = [_span("stray", "b" * 16, "c" * 16)] if "stray-span" in self.faults else []
        broken = {"traces-lost", "new-trace-at-the-edge"} & self.faults
        self.spans[trace] = [] if broken else [edge, *inner, *stray]
        if "log-without-trace" not in self.faults:
            self.lines.append({"trace_id": trace, "host": host, "_msg": "GET /", "k8s.namespace.name": "gateway"})

    def _prometheus(self, path: str, asked: dict[str, str]) -> Answer:
        if path == "/api/v1/query" and "query" in asked:
            return self._query(asked["query"])
        if path == "/api/v1/parse_query":
            words = re.findall(r"[a-z_]+", asked["query"])
            return _told({"type": "call", "args": [{"type": "vectorSelector", "name": word} for word in words]})
        told: dict[str, Any] = {
            "/api/v1/targets": {"activeTargets": self._targets()},
            "/api/v1/rules": {"groups": self._groups()},
            "/api/v1/label/__name__/values": ["up", "scrape_samples_post_metric_relabeling"],
            "/api/v1/alerts": {"alerts": [] if "watchdog-silent" in self.faults else [_alert("Watchdog")]},
        }
        return _told(told.get(path))

    def _query(self, promql: str) -> Answer:
        if "panel-broken" in self.faults and promql == "up":
            return Answer(HTTPStatus.BAD_REQUEST, body=b'{"status": "error", "error": "no such function"}')
        if promql == "scalar(up)":
            return _told({"resultType": "scalar", "result": [0, "NaN" if "panel-nan" in self.faults else "1"]})
        labels = [] if promql == "queue" else [target["labels"] for target in self._targets()]
        labels = [] if "panel-empty" in self.faults and promql == "up" else labels
        measured = promql.startswith(("probe_", "scrape_"))
        value = "0" if "no-samples" in self.faults and measured else "5"
        return _told({"resultType": "vector", "result": [{"metric": each, "value": [0, value]} for each in labels]})

    def _targets(self) -> list[Obj]:
        pools = ["podMonitor/ai/llm/0", "serviceMonitor/ai/llm/0", "probe/ai/edge"]
        health = "down" if "target-down" in self.faults else "up"
        return [
            {"scrapePool": pool, "health": health, "lastError": "", "labels": {"job": pool}, "scrapeUrl": "http://x/"}
            for pool in (pools[1:] if "target-missing" in self.faults else pools)
        ]

    def _groups(self) -> list[Obj]:
        told = {**_RULE["annotations"]} if isinstance(_RULE["annotations"], dict) else {}
        told |= {"runbook": "docs/runbooks/llm.md#other"} if "no-runbook" in self.faults else {}
        told |= {"action": ""} if "no-action" in self.faults else {}
        rule = {
            "name": "LlmDown",
            "query": "upp" if "metric-misspelt" in self.faults else "up",
            "health": "err" if "rule-fails" in self.faults else "ok",
            "lastError": "many-to-many" if "rule-fails" in self.faults else "",
            "type": "alerting",
            "annotations": told,
        }
        return (
            [] if "rule-missing" in self.faults else [{"file": "/rules/ai-llm-1.yaml", "name": "llm", "rules": [rule]}]
        )

    def _alertmanager(self, _path: str, _asked: dict[str, str]) -> Answer:
        lost = {"watchdog-unheard", "watchdog-silent"} & self.faults
        return Answer(200, body=json.dumps([] if lost else [_alert("Watchdog")]).encode())

    def _dashboards(self, _path: str, _asked: dict[str, str]) -> Answer:
        title = "Another" if "dashboard-forgotten" in self.faults else "Language model"
        queries = ["scalar(up)", "queue", *([] if "panel-forgotten" in self.faults else ["up"])]
        spec = {"display": {"name": title}, "panels": {"a": {"queries": queries}}}
        shown = [{"metadata": {"name": "x"}, "spec": spec}]
        return Answer(200, body=json.dumps(shown).encode())

    def _traces(self, path: str, _asked: dict[str, str]) -> Answer:
        found = self.spans.get(path.rpartition("/")[2])
        return Answer(200, body=json.dumps(found).encode()) if found else Answer(HTTPStatus.NOT_FOUND)

    def _logs(self, path: str, asked: dict[str, str]) -> Answer:
        if path != "/select/logsql/query":
            return Answer(200 if path.startswith("/select/") else HTTPStatus.NOT_FOUND)
        query = asked["query"]
        if "stats by" in query:
            found = self._newest()
        elif "stats count" in query:
            found = [{"lines": str(len(self._sung()))}]
        elif '"k8s.pod.name":="canary"' in query:
            found = self._sung()
        elif "trace_id" in query:
            found = [line for line in self.lines if line["trace_id"] in query]
        elif ':="events"' in query:
            found = [] if "events-lost" in self.faults else [{"_msg": "Scheduled"}]
        else:
            found = [{"_msg": f"login with {SECRET}" if "secret-logged" in self.faults else "somebody logged in"}]
        return Answer(200, body="\n".join(map(json.dumps, found)).encode())

    def _newest(self) -> list[dict[str, str]]:
        """Return the newest entry of each container: of the moment at which it was written."""
        newest = "2026-11-01T07:00:00Z" if "store-behind" in self.faults else WRITTEN
        return [
            {
                "k8s.namespace.name": pod["metadata"]["namespace"],
                "k8s.pod.name": pod["metadata"]["name"],
                "k8s.container.name": status["name"],
                "newest": newest,
            }
            for pod in self.kube._of("Pod", None)
            for status in pod["status"].get("containerStatuses", [])
            if not {"container-forgotten", "container-silent"} & self.faults or pod["metadata"]["name"] != "llm-0"
        ]

    def _sung(self) -> list[dict[str, str]]:
        """Return the entries of the canary's lines."""
        pod = next(iter(each for each in self.kube._of("Pod", None) if each["metadata"]["name"] == "canary"))
        mark = pod["spec"]["containers"][0]["command"][-1]
        meta = pod["metadata"]
        known = {
            "k8s.namespace.name": meta["namespace"],
            "k8s.pod.name": meta["name"],
            "k8s.container.name": "canary",
            "k8s.node.name": "" if "no-node" in self.faults else "node-1",
            "k8s.workload.name": "canary",
        }
        texts = canary.texts(mark)
        if "line-cut" in self.faults:
            texts["long"] = texts["long"][:1024]
        if "line-bent" in self.faults:
            texts["plain"] = texts["plain"].replace("ä", "?")
        pieces = [(kind, text) for kind, text in texts.items() if f"lost-{kind}" not in self.faults]
        if "stack-split" in self.faults:
            pieces = [(kind, line) for kind, text in pieces for line in text.split("\n")]
        if "line-twice" in self.faults:
            pieces.append(("plain", texts["plain"]))
        told = {"json": {"severity": "info" if "level-lost" in self.faults else "ERROR", "trace_id": mark}}
        return [{**known, **told.get(kind, {}), "_msg": text} for kind, text in pieces]


def _told(data: object) -> Answer:
    return Answer(200, body=json.dumps({"status": "success", "data": data}).encode())


def _alert(name: str) -> Obj:
    return {"labels": {"alertname": name}, "state": "firing"}


def _span(service: str, own: str, parent: str, **tags: str) -> Obj:
    found: Obj = {"id": own, "localEndpoint": {"serviceName": service}, "tags": tags}
    return {**found, "parentId": parent} if parent else found
