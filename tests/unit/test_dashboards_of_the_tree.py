"""Which objects of a tree describe dashboards."""

from betelgeuse.tree.dashboards import LABEL, dashboards
from tests.unit.fakes import obj


def test_only_configmaps_with_the_label() -> None:
    """Another kind with the label is none, nor a ConfigMap without labels or with others."""
    described = obj("v1", "ConfigMap", "llm", "ai", labels={LABEL: "true"})
    others = [
        obj("v1", "Secret", "llm", "ai", labels={LABEL: "true"}),
        obj("v1", "ConfigMap", "bare", "ai"),
        obj("v1", "ConfigMap", "other", "ai", labels={"app.kubernetes.io/name": "llm"}),
    ]

    assert dashboards([*others, described]) == [described]
