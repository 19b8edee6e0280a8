"""Small changes to how the platform is watched, each of which a check must notice."""

from typing import Final

from tests.render.changes import Mutation, Objects, container, drop_field, remove, set_field

_WATCHED: Final = "everything_is_watched"
_ASK: Final = "monitors_ask_somebody"
_OPEN: Final = "asked_ports_are_open"
_SAY: Final = "alerts_say_what_to_do"
_ALERT: Final = "spec/groups/0/rules/0"
_ENDPOINT: Final = "spec/podMetricsEndpoints/0/port"


def _label(value: str) -> Mutation:
    def change(objects: Objects) -> None:
        objects.one("Deployment", "llm")["spec"]["template"]["metadata"]["labels"]["betelgeuse.io/metrics"] = value

    return Mutation(f"metrics open at {value!r}", _OPEN, change)


def _shut(objects: Objects) -> None:
    del objects.one("Deployment", "llm")["spec"]["template"]["metadata"]["labels"]["betelgeuse.io/metrics"]


def _service_monitor(objects: Objects) -> None:
    spec = {"selector": {"matchLabels": {"app.kubernetes.io/name": "llm"}}, "endpoints": [{"port": "htp"}]}
    meta = {"name": "llm", "namespace": "ai"}
    kind = {"apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitor"}
    objects.all.append({**kind, "metadata": meta, "spec": spec})


def _same_name(objects: Objects) -> None:
    first, second, *_ = objects.one("PrometheusRule", "llm")["spec"]["groups"][0]["rules"]
    second["alert"] = first["alert"]


WATCHING: Final = (
    Mutation("monitor gone", _WATCHED, remove("PodMonitor", "llm")),
    Mutation("proxies' monitor gone", _WATCHED, remove("PodMonitor", "envoy")),
    Mutation("monitor of another port", _WATCHED, set_field("PodMonitor", "llm", _ENDPOINT, "htp")),
    Mutation(
        "reason for nothing",
        _WATCHED,
        set_field("Deployment", "llm", "metadata/annotations", {"betelgeuse.io/not-watched": "it is shy"}),
    ),
    Mutation("monitor's port typo", _ASK, set_field("PodMonitor", "llm", _ENDPOINT, "htp")),
    Mutation(
        "monitor's selector typo",
        _ASK,
        set_field("PodMonitor", "llm", "spec/selector/matchLabels", {"app.kubernetes.io/name": "lllm"}),
    ),
    Mutation(
        "monitor of another namespace",
        _ASK,
        set_field("PodMonitor", "llm", "spec/namespaceSelector", {"matchNames": ["auth"]}),
    ),
    Mutation("monitor of a Service's missing port", _ASK, _service_monitor),
    Mutation("metrics not open", _OPEN, _shut),
    Mutation(
        "metrics of the proxies not open",
        _OPEN,
        drop_field("EnvoyProxy", "gateway", "spec/provider/kubernetes/envoyDaemonSet/pod/labels"),
    ),
    _label("htp"),
    _label("other"),
    Mutation("opened port renamed", _OPEN, container("llm", lambda each: each["ports"][0].update(name="api"))),
    *(
        Mutation(f"alert without {word}", _SAY, drop_field("PrometheusRule", "llm", f"{_ALERT}/annotations/{word}"))
        for word in ("summary", "description", "action", "runbook")
    ),
    Mutation("alert that does not wait", _SAY, drop_field("PrometheusRule", "llm", f"{_ALERT}/for")),
    Mutation("alert of no severity", _SAY, set_field("PrometheusRule", "llm", f"{_ALERT}/labels", {"severity": "bad"})),
    Mutation("alert twice", _SAY, _same_name),
    Mutation("alert without a section", _SAY, set_field("PrometheusRule", "llm", f"{_ALERT}/alert", "LlmGone")),
    Mutation(
        "alert of another runbook",
        _SAY,
        set_field("PrometheusRule", "llm", f"{_ALERT}/annotations/runbook", "docs/runbooks/portal.md#llmdown"),
    ),
)
