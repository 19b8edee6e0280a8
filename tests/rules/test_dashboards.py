"""Every query of every dashboard is one that the server understands."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from dashboards.catalogue import LABEL, catalogue

from betelgeuse.clusters.local import target
from betelgeuse.kube import Obj
from betelgeuse.render import render
from tests.rules.test_rules import _promtool


@pytest.fixture(scope="module", params=["local", "single-node"])
def described(request: pytest.FixtureRequest) -> Sequence[Obj]:
    """Give the ConfigMaps that describe dashboards, of everything that an environment can run: its own stores'."""
    target.prepare_tree()
    return [obj for obj in render(request.param, "full") if LABEL in (obj["metadata"].get("labels") or {})]


def _complaints(promtool: str, folder: Path, queries: Sequence[str]) -> str:
    """Let promtool read queries as the expressions of rules."""
    rules = [{"record": f"query_{index}", "expr": query} for index, query in enumerate(queries)]
    file = folder / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}, width=10000), "utf-8")
    return _promtool(promtool, "check", "rules", str(file))


def test_every_query_parses(promtool: str, described: Sequence[Obj], tmp_path: Path) -> None:
    """Not only its shape: names of functions, kinds of arguments, labels that are matched."""
    found = catalogue(described)
    queries = [query.expression for each in found.dashboards for panel in each.panels for query in panel.queries]

    assert queries
    assert not found.mistakes
    assert not _complaints(promtool, tmp_path, queries)


def test_a_wrong_query_is_noticed(promtool: str, tmp_path: Path) -> None:
    """A function that nobody has."""
    assert "rat" in _complaints(promtool, tmp_path, ["sum(up)", "rat(up[5m])"])
