"""Alerts of a tree, and the runbooks made of them."""

from pathlib import Path
from typing import Any

from betelgeuse import runbooks
from betelgeuse.tree.alerts import alerts


def _rule(name: str, *entries: dict[str, Any], kind: str = "PrometheusRule") -> dict[str, Any]:
    spec = {"groups": [{"name": "g", "rules": list(entries)}, {"name": "empty"}]}
    meta = {"name": name, "namespace": "shop"}
    return {"apiVersion": "monitoring.coreos.com/v1", "kind": kind, "metadata": meta, "spec": spec}


def _alert(name: str, page: str = "docs/runbooks/web.md", **more: Any) -> dict[str, Any]:  # noqa: ANN401 - fields of a rule
    words = {
        "summary": "It is down",
        "description": "{{ $labels.pod }} has {{ $value | humanize }} of\n it.",
        "action": "See {{ $labels.namespace }}.",
        "runbook": f"{page}#{name.lower()}",
    }
    rule = {"alert": name, "expr": "up == 0\n", "for": "5m", "labels": {"severity": "critical"}, "annotations": words}
    return {**rule, **more}


def test_alerts_of_a_tree() -> None:
    """Recording rules and other kinds are none; component and link come from the runbook's page."""
    tree = [_rule("a", {"record": "x:y", "expr": "1"}, _alert("WebDown")), _rule("b", _alert("No"), kind="PodMonitor")]

    [found] = alerts(tree)

    assert (found.rule, found.name, found.expression, found.wait) == ("shop/a", "WebDown", "up == 0", "5m")
    assert (found.component, found.anchor) == ("web", "docs/runbooks/web.md#webdown")


def test_alert_without_a_page_of_ours_has_no_component() -> None:
    """Another project's address, or nothing at all."""
    tree = [_rule("a", _alert("A", "https://example.org/x"), {"alert": "B", "expr": 1})]

    assert [each.component for each in alerts(tree)] == ["", ""]


def test_pages_hold_a_section_of_each_alert() -> None:
    """By component, with what templates would fill in as words; the same rule twice is one section."""
    tree = [_rule("a", _alert("WebDown"), _alert("DbDown", "docs/runbooks/db.md")), _rule("a", _alert("WebDown"))]
    tree[1]["metadata"]["namespace"] = "shop"

    made = runbooks.pages(alerts(tree))

    assert list(made) == ["db.md", "web.md", "README.md"]
    assert made["web.md"] == (
        "# web\n\n`nox -s docs` writes this page from the rules in the tree.\n\n"
        "## WebDown\n\nIt is down.\n\n"
        "- **What it says:** POD has VALUE of it.\n"
        "- **What to do:** See NAMESPACE.\n"
        "- **Severity:** critical, after 5m\n\n"
        "```promql\nup == 0\n```\n"
    )
    assert "| [WebDown](web.md#webdown) | critical | It is down |\n" in made["README.md"]


def test_alert_that_does_not_wait() -> None:
    """Said in words."""
    [page, _] = runbooks.pages(alerts([_rule("a", _alert("WebDown", **{"for": ""}))])).values()

    assert "critical, after no time at all" in page


def test_pages_of_what_is_gone_are_removed(tmp_path: Path) -> None:
    """The folder holds what the tree says, and nothing of before."""
    (tmp_path / "old.md").write_text("# old\n", "utf-8")

    runbooks.write(tmp_path / "made", alerts([_rule("a", _alert("WebDown"))]))
    runbooks.write(tmp_path, alerts([_rule("a", _alert("WebDown"))]))

    assert {path.name for path in tmp_path.iterdir()} == {"made", "web.md", "README.md"}
    assert (tmp_path / "made" / "web.md").read_text("utf-8").startswith("# web\n")
