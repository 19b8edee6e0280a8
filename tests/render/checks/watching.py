"""Checks that everything is watched: monitors, the ports they ask, alerts that say what to do."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from betelgeuse import paths
from betelgeuse.kube import Obj, describe
from betelgeuse.policy.selectors import matches
from betelgeuse.tree.alerts import alerts
from betelgeuse.tree.workloads import LASTING
from tests.render.exemptions import NO_TARGETS, NOT_WATCHED, OTHER_DOORS
from tests.render.trees import SOLVER, Pods, Tree

METRICS: Final = "betelgeuse.io/metrics"
PORTS: Final = ("metrics", "http")
"""What a port that Prometheus asks may be called: policies open these two names."""
_SAID: Final = "betelgeuse.io/not-watched"
"""Annotation of a workload: why nothing asks it."""
_KINDS: Final = {"PodMonitor": "podMetricsEndpoints", "ServiceMonitor": "endpoints"}
_SEVERITIES: Final = ("critical", "warning")
_ALWAYS: Final = "Watchdog"
"""Fires always, by intent: neither waits nor has a severity."""
_WORDS: Final = ("summary", "description", "action", "runbook")
_NAME: Final = re.compile(r"([A-Z][a-z0-9]*)+")


def _lasting(tree: Tree) -> list[Pods]:
    """Return the pods that run for good: of workloads, and of controllers."""
    kinds = tuple(f"{kind} " for kind in (*LASTING, "pods of"))
    return [pods for pods in tree.pods if pods is not SOLVER and pods.owner.startswith(kinds)]


def _spaces(tree: Tree, monitor: Obj) -> list[str]:
    """Return the namespaces in which a monitor looks."""
    chosen = monitor["spec"].get("namespaceSelector") or {}
    if chosen.get("any"):
        return sorted(tree.namespace_labels)
    return list(chosen.get("matchNames") or [monitor["metadata"]["namespace"]])


def _services(tree: Tree, monitor: Obj) -> list[Obj]:
    spaces = _spaces(tree, monitor)
    return [
        obj
        for obj in tree.kind("Service")
        if obj["metadata"]["namespace"] in spaces
        and matches(monitor["spec"]["selector"], obj["metadata"].get("labels") or {})
    ]


def _targets(tree: Tree, monitor: Obj) -> Iterator[tuple[Pods, int | str]]:
    """Yield pods and the port of theirs that a monitor asks; a port that they have not is left out."""
    endpoints: list[Mapping[str, Any]] = monitor["spec"].get(_KINDS[monitor["kind"]]) or []
    if monitor["kind"] == "PodMonitor":
        for space in _spaces(tree, monitor):
            for pods in tree.selected(space, monitor["spec"]["selector"]):
                asked = (each.get("port", each.get("portNumber", "")) for each in endpoints)
                yield from ((pods, port) for port in asked if port in pods.ports)
        return
    for service in _services(tree, monitor):
        numbers = {port.get("name", ""): port.get("targetPort", port["port"]) for port in service["spec"]["ports"]}
        selector = {"matchLabels": service["spec"].get("selector") or {"": ""}}
        for pods in tree.selected(service["metadata"]["namespace"], selector):
            asked = (numbers.get(each.get("port", ""), "") for each in endpoints)
            yield from ((pods, port) for port in asked if port in pods.ports)


def everything_is_watched(tree: Tree) -> Iterator[str]:
    """Every pod that runs for good is asked by a monitor; why not, its workload or the list of exemptions says."""
    watched = {pods.owner for monitor in tree.kind(*_KINDS) for pods, _ in _targets(tree, monitor)}
    said = {describe(obj): (obj["metadata"].get("annotations") or {}).get(_SAID) for obj in tree.kind(*LASTING)}
    for pods in _lasting(tree):
        reason = NOT_WATCHED.get(pods.owner) or said.get(pods.owner)
        if pods.owner not in watched and not reason:
            yield f"{pods.owner}: no PodMonitor or ServiceMonitor asks a port of it"
        if pods.owner in watched and said.get(pods.owner):
            yield f"{pods.owner}: is watched, and says why it is not ({_SAID})"


def monitors_ask_somebody(tree: Tree) -> Iterator[str]:
    """Every endpoint of a monitor is a port of pods of the tree."""
    for monitor in tree.kind(*_KINDS):
        if describe(monitor) in NO_TARGETS:
            continue
        # Several pages of one port are one.
        wanted = len(
            {each.get("port", each.get("portNumber", "")) for each in monitor["spec"][_KINDS[monitor["kind"]]]}
        )
        found = {port for _, port in _targets(tree, monitor)}
        if len(found) < max(wanted, 1):
            yield f"{describe(monitor)}: asks {wanted} ports, of which the tree's pods have {len(found)}"


def asked_ports_are_open(tree: Tree) -> Iterator[str]:
    """The label that opens a port to Prometheus names a port of the pod, the one that its monitor asks."""
    for pods in tree.pods:
        opened = pods.labels.get(METRICS)
        if opened is not None and (opened not in PORTS or opened not in pods.ports):
            yield f"{pods.owner}: label {METRICS} is {opened!r}; one of {PORTS} that is a port of the pod is needed"
    for monitor in tree.kind(*_KINDS):
        for pods, port in _targets(tree, monitor):
            opened = pods.labels.get(METRICS)
            if pods.spec.get("hostNetwork") or pods.owner in OTHER_DOORS:
                continue
            if port != opened:
                yield f"{describe(monitor)}: asks port {port!r} of {pods.owner}, whose label {METRICS} is {opened!r}"


def alerts_say_what_to_do(tree: Tree) -> Iterator[str]:
    """Every alert waits, has a severity, says what is the matter and what to do, and has its section of a runbook."""
    names = Counter(alert.name for alert in alerts(tree.objects))
    for alert in alerts(tree.objects):
        where = f"{alert.rule}: {alert.name}"
        missing = [word for word in _WORDS if not alert.annotations.get(word, "").strip()]
        yield from (f"{where}: no {word}" for word in missing)
        if not _NAME.fullmatch(alert.name) or names[alert.name] > 1:
            yield f"{where}: is there {names[alert.name]} times, or not in CamelCase"
        if alert.name != _ALWAYS and (not alert.wait or alert.labels.get("severity") not in _SEVERITIES):
            yield f"{where}: needs `for`, and a severity of {_SEVERITIES}"
        if "\n" in alert.annotations.get("summary", "").strip():
            yield f"{where}: the summary is longer than a line"
        if alert.annotations.get("runbook") != alert.anchor:
            yield f"{where}: its runbook is not {alert.anchor}"
        page = paths.ROOT / "docs" / "runbooks" / f"{alert.component}.md"
        if not page.is_file() or f"\n## {alert.name}\n" not in page.read_text("utf-8"):
            yield f"{where}: {page.relative_to(paths.ROOT)} has no section of it; `nox -s docs` writes it"


CHECKS: Final = (everything_is_watched, monitors_ask_somebody, asked_ports_are_open, alerts_say_what_to_do)
