"""From cases to promtool's own format.

A file of this folder is named after a component (the page of its runbook) and holds cases by alert:

    LlmDown:
      - series: {'up{job="llm"}': 0x20}     # one value a minute, in promtool's notation
        at: 10m                             # when it is looked; 30m where it is not said
        fires: [{}]                         # the labels of each alert besides those of its rule; [] is silence

A file in promtool's own format (with `tests:`) is taken too; its `rule_files` are not read.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from betelgeuse.kube import Obj
from betelgeuse.tree.alerts import Alert

_AT: Final = "30m"

Cases = Mapping[str, Any]


def bare(rules: Sequence[Obj]) -> dict[str, Any]:
    """Return the groups of PrometheusRules without annotations, whose words no case repeats."""
    groups = []
    for obj in rules:
        meta = obj["metadata"]
        for group in obj["spec"]["groups"]:
            kept = [{key: value for key, value in rule.items() if key != "annotations"} for rule in group["rules"]]
            name = f"{meta['namespace']}/{meta['name']}/{group['name']}"
            groups.append({**group, "name": name, "rules": kept})
    return {"groups": groups}


def asked(rules: Sequence[Obj], tests: Sequence[Mapping[str, Any]]) -> list[Obj]:
    """Return the PrometheusRules that cases are about, and those that record what alerts may ask for."""
    names = {one["alertname"] for test in tests for one in test.get("alert_rule_test", ())}
    found = []
    for obj in rules:
        inner = [rule for group in obj["spec"]["groups"] for rule in group["rules"]]
        if any("record" in rule or rule.get("alert") in names for rule in inner):
            found.append(obj)
    return found


def _ours(content: Cases) -> Iterator[dict[str, Any]]:
    for name, cases in content.items():
        for case in cases:
            expected = {"eval_time": case.get("at", _AT), "alertname": name}
            yield {
                "interval": "1m",
                "input_series": [{"series": key, "values": str(value)} for key, value in case["series"].items()],
                "alert_rule_test": [{**expected, "exp_alerts": [{"exp_labels": each} for each in case["fires"]]}],
            }


def tests(content: Cases, alerts: Sequence[Alert]) -> list[dict[str, Any]]:
    """Return promtool's tests of a file; each expected alert has its rule's own labels too."""
    labels = {alert.name: dict(alert.labels) for alert in alerts}
    found = copy.deepcopy(content["tests"]) if "tests" in content else list(_ours(content))
    for test in found:
        for asked in test.get("alert_rule_test", ()):
            asked["exp_alerts"] = [
                {"exp_labels": {**labels.get(asked["alertname"], {}), **(each.get("exp_labels") or {})}}
                for each in asked.get("exp_alerts") or ()
            ]
    return found


def tried(content: Cases) -> Iterator[tuple[str, bool]]:
    """Yield (alert, whether it must fire) of every case."""
    for test in content["tests"] if "tests" in content else _ours(content):
        for asked in test.get("alert_rule_test", ()):
            yield asked["alertname"], bool(asked.get("exp_alerts"))
