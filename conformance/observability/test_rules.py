"""Rules: loaded, evaluated, about metrics that exist, and with a page that says what to do."""

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Final

import pytest

from betelgeuse import paths
from betelgeuse.kube import Obj
from betelgeuse.tree import Ref
from conformance import telemetry
from conformance.probes.prometheus import Group, Rule
from conformance.site import Site
from conformance.timeouts import TIMEOUTS
from conformance.verdict import poll, require, require_none

pytestmark = pytest.mark.feature("observability")

_WATCHDOG: Final = "Watchdog"
"""Fires always: when it is not heard, nothing would be."""


def _loaded(site: Site, obj: Obj) -> dict[str, Group]:
    """Return the groups of one object as they are evaluated; the operator writes a file for each object."""
    meta = obj["metadata"]
    begin = f"{meta['namespace']}-{meta['name']}-"
    found = (group for group in telemetry.groups(site) if group.file.rpartition("/")[2].startswith(begin))
    return {group.name: group for group in found}


def _by_hand(site: Site) -> str:
    return f"a browser at https://{site.host(telemetry.METRICS)}/rules"


def _faults(site: Site, obj: Obj) -> list[str]:
    loaded = _loaded(site, obj)
    found = []
    for group in obj["spec"]["groups"]:
        rules = loaded[group["name"]].rules if group["name"] in loaded else ()
        wanted = sorted(rule.get("alert") or rule["record"] for rule in group["rules"])
        seen = sorted(rule.name for rule in rules)
        found += [f"group {group['name']} has {seen}, not {wanted}"] if seen != wanted else []
        found += [f"{rule.name} is {rule.health}: {rule.error}" for rule in rules if rule.health != "ok" or rule.error]
    return found


def test_rules_are_evaluated(site: Site, rules: Ref) -> None:
    """Every rule of the tree is loaded and evaluated without an error."""
    obj = site.tree.find(rules)

    seen, _ = poll(
        lambda: _faults(site, obj), lambda seen: not seen, telemetry.patience(site, "rules", TIMEOUTS.scrape)
    )

    require_none(seen, where=str(rules), want="every group loaded, every rule ok", reproduce=_by_hand(site))


def _rules(site: Site, obj: Obj) -> list[Rule]:
    return [rule for group in _loaded(site, obj).values() for rule in group.rules]


def test_rules_speak_of_metrics_that_exist(site: Site, rules: Ref) -> None:
    """Every metric that a rule names exists, or is listed with the reason why it may be missing."""
    obj = site.tree.find(rules)

    loaded, there = _rules(site, obj), telemetry.known(site)
    parsed = telemetry.names(site, (rule.expression for rule in loaded))
    named = {name: rule.name for rule in loaded for name in parsed[rule.expression]}

    require_none(
        [
            f"{name} (in {rule})"
            for name, rule in sorted(named.items())
            if name not in there and not site.exemptions.may_miss(name)
        ],
        where=str(rules),
        want="metrics that exist, or stand in conformance/exemptions.yaml, metrics",
        reproduce=_by_hand(site),
    )


def test_alerts_have_a_runbook(site: Site, rules: Ref) -> None:
    """Every alert tells in a line what is wrong, what to do, and where it is explained: on a page that is there."""
    obj = site.tree.find(rules)
    alerts = [rule for rule in _rules(site, obj) if rule.alert]

    require_none(
        [f"{alert.name}: {fault}" for alert in alerts for fault in _told(alert)],
        where=str(rules),
        want="summary, description, action, and a runbook with a heading of the alert's name",
        reproduce=_by_hand(site),
    )


def _told(alert: Rule) -> list[str]:
    found = [f"no {name}" for name in ("summary", "description", "action") if not alert.annotations.get(name)]
    page, _, anchor = alert.annotations.get("runbook", "").partition("#")
    file = paths.ROOT / page
    if not page.startswith("docs/runbooks/") or not file.is_file():
        return [*found, f"no page {page!r}"]
    headings = {line.lstrip("#").strip().lower() for line in file.read_text("utf-8").splitlines() if line[:1] == "#"}
    return [*found, *([] if anchor == alert.name.lower() and anchor in headings else [f"no heading {anchor!r}"])]


def _named(alerts: Iterable[Mapping[str, str]]) -> set[str]:
    return {alert["alertname"] for alert in alerts}


def test_watchdog_is_heard(site: Site) -> None:
    """The alert that always fires does, and has come to Alertmanager."""

    def heard() -> tuple[bool, bool]:
        return _WATCHDOG in _named(telemetry.firing(site)), _WATCHDOG in _named(telemetry.notified(site))

    seen, seconds = poll(heard, all, TIMEOUTS.scrape)

    site.facts["alerts that fire"] = ", ".join(sorted(_named(telemetry.firing(site)))) or "none"
    require(
        all(seen),
        where=f"https://{site.host(telemetry.ALERTS)}",
        want=f"{_WATCHDOG} firing, and told to Alertmanager",
        got=f"firing {seen[0]}, told {seen[1]} after {seconds:.0f} s",
        reproduce=f"a browser at https://{site.host(telemetry.ALERTS)}/",
    )


def test_no_listed_metric_is_stale(site: Site) -> None:
    """Every metric that is listed as one that may be missing is named by a rule or a panel of the tree."""
    texts = [rule.expression for group in telemetry.groups(site) for rule in group.rules]
    # Of areas, too, that this profile leaves out.
    texts += [path.read_text("utf-8") for path in (paths.ROOT / "base").rglob("*.yaml")]
    words = {word for text in texts for word in re.findall(r"[a-zA-Z_:][\w:]*", text)}

    require_none(
        [
            entry.metric
            for entry in site.exemptions.metrics
            if not any(fnmatchcase(word, entry.metric) for word in words)
        ],
        where="conformance/exemptions.yaml, metrics",
        want="no entry that nothing needs",
        reproduce=_by_hand(site),
    )
