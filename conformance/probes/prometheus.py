"""What Prometheus' HTTP API answers, read into what the checks compare. Pure."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from betelgeuse.kube import Obj

_POOLS: Final = {
    "PodMonitor": "podMonitor",
    "Probe": "probe",
    "ScrapeConfig": "scrapeConfig",
    "ServiceMonitor": "serviceMonitor",
}
"""How the operator begins the name of a job, by the kind of the object that asks for it."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One series of an answer, with its value now."""

    labels: Mapping[str, str]
    value: float

    def of(self, target: "Target") -> bool:
        """Whether it is a target's own."""
        return target.labels.items() <= self.labels.items()


@dataclass(frozen=True, slots=True)
class Target:
    """One place that is scraped."""

    pool: str
    url: str
    health: str
    error: str
    labels: Mapping[str, str]

    def __str__(self) -> str:
        """Show what is wrong with it."""
        return f"{self.url} is {self.health}: {self.error or 'no error told'}"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule as it is evaluated."""

    name: str
    expression: str
    health: str
    error: str
    alert: bool
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are evaluated together."""

    file: str
    name: str
    rules: tuple[Rule, ...]


def samples(answer: Obj) -> tuple[Sample, ...]:
    """Read the answer to an instant query; a scalar is one series without labels."""
    found = answer.get("data") or {}
    result = found.get("result") or []
    if found.get("resultType") in {"scalar", "string"}:
        return (Sample({}, float(result[1])),)
    return tuple(Sample(each.get("metric", {}), float(each["value"][1])) for each in result)


def has_data(found: tuple[Sample, ...]) -> bool:
    """Whether a picture of these samples would show anything: not a number is nothing."""
    return any(not math.isnan(sample.value) for sample in found)


def pool(monitor: Obj) -> str:
    """Return how the names of a monitor's scrape pools begin; each ends with a slash."""
    meta = monitor["metadata"]
    return f"{_POOLS[monitor['kind']]}/{meta['namespace']}/{meta['name']}/"


def targets(answer: Obj) -> tuple[Target, ...]:
    """Read /api/v1/targets."""
    return tuple(
        Target(
            pool=f"{each.get('scrapePool', '')}/",
            url=each.get("scrapeUrl", ""),
            health=each.get("health", ""),
            error=each.get("lastError", ""),
            labels=each.get("labels", {}),
        )
        for each in (answer.get("data") or {}).get("activeTargets") or ()
    )


def groups(answer: Obj) -> tuple[Group, ...]:
    """Read /api/v1/rules."""
    return tuple(
        Group(each.get("file", ""), each["name"], tuple(map(_rule, each.get("rules") or ())))
        for each in (answer.get("data") or {}).get("groups") or ()
    )


def _rule(rule: Obj) -> Rule:
    return Rule(
        name=rule["name"],
        expression=rule.get("query", ""),
        health=rule.get("health", ""),
        error=rule.get("lastError", ""),
        alert=rule.get("type") == "alerting",
        annotations=rule.get("annotations") or {},
    )


def names(tree: object) -> frozenset[str]:
    """Return the metrics that a parsed expression selects by their names."""
    return frozenset(_names(tree))


def _names(node: Any) -> Iterator[str]:  # noqa: ANN401 - whatever JSON holds
    if isinstance(node, list):
        for each in node:
            yield from _names(each)
    if isinstance(node, dict):
        if node.get("type") in {"vectorSelector", "matrixSelector"} and node.get("name"):
            yield str(node["name"])
        for each in node.values():
            yield from _names(each)
