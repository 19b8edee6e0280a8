"""Alerts that the tree's PrometheusRules declare."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from betelgeuse.kube import Obj, api_group

GROUP: Final = "monitoring.coreos.com"
RUNBOOKS: Final = "docs/runbooks"


@dataclass(frozen=True)
class Alert:
    """One alert as its rule declares it."""

    rule: str
    """namespace/name of the PrometheusRule."""
    name: str
    expression: str
    wait: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    @property
    def component(self) -> str:
        """Return what it is about: the page of its runbook; empty when it names none."""
        page, _, _ = self.annotations.get("runbook", "").partition("#")
        return PurePosixPath(page).stem if page.startswith(f"{RUNBOOKS}/") else ""

    @property
    def anchor(self) -> str:
        """Return the link that its runbook must have."""
        return f"{RUNBOOKS}/{self.component}.md#{self.name.lower()}"


def rules(objects: Iterable[Obj]) -> Iterator[Obj]:
    """Yield the PrometheusRules."""
    yield from (obj for obj in objects if (api_group(obj), obj["kind"]) == (GROUP, "PrometheusRule"))


def alerts(objects: Iterable[Obj]) -> Iterator[Alert]:
    """Yield every alert, in the tree's order."""
    for obj in rules(objects):
        where = f"{obj['metadata'].get('namespace', '')}/{obj['metadata']['name']}"
        for group in obj["spec"].get("groups") or ():
            for rule in group.get("rules") or ():
                if "alert" in rule:
                    yield Alert(
                        where,
                        rule["alert"],
                        str(rule["expr"]).strip(),
                        rule.get("for", ""),
                        rule.get("labels") or {},
                        rule.get("annotations") or {},
                    )
