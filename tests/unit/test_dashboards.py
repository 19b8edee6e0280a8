"""Dashboards: from a neutral description to what the two servers show, and to what is wrong with it."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from dashboards.catalogue import KEY, LABEL, Format, catalogue, files
from dashboards.folder import bring
from dashboards.grid import places
from dashboards.links import links
from dashboards.model import Colour, Kind, Origin, Query, Threshold, Unit, Wrong, parse
from dashboards.watch import CONFIGMAPS, Watch
from serving.cluster import ClusterError

DOMAIN = "example.org"
AI = Origin("ai")
PROMETHEUS = "http://prometheus:9090"


def panel(**said: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    """Return a panel's description."""
    return {"title": "Rain", "description": "Much is wet.", "query": "sum(rate(rain_total[5m]))", **said}


def text(*panels: dict[str, Any], **said: Any) -> str:  # noqa: ANN401 - any JSON value
    """Return a dashboard's description."""
    whole = {"title": "The Weather", "description": "What comes.", "panels": list(panels or [panel()]), **said}
    return yaml.safe_dump(whole)


def configmap(name: str, content: str | None, namespace: str = "ai") -> dict[str, Any]:
    """Return a ConfigMap as the API server lists it."""
    meta = {"name": name, "namespace": namespace, "labels": {LABEL: "true"}}
    return {"metadata": meta, "data": {KEY: content} if content is not None else None}


def mistakes(content: str) -> tuple[str, ...]:
    """Return everything that is wrong with a description."""
    with pytest.raises(Wrong) as caught:
        parse(content, AI)
    return caught.value.mistakes


def test_what_is_not_said_has_a_value() -> None:
    """A title, a description and a query are enough; the kind decides the size."""
    found = parse(text(), AI)

    assert (found.name, found.title, found.origin) == ("the-weather", "The Weather", AI)
    (only,) = found.panels
    assert (only.unit, only.kind, only.width, only.height) == (Unit.SHORT, Kind.TIMESERIES, 12, 8)
    assert only.queries == (Query("sum(rate(rain_total[5m]))"),)
    assert only.thresholds == ()


def test_everything_that_may_be_said_is_kept() -> None:
    """Several queries, each with its name; thresholds; why there may be no data."""
    said = panel(
        queries=[{"query": "a", "legend": "{{pod}}"}, {"query": "b"}],
        unit="percent",
        kind="gauge",
        thresholds=[{"value": 0, "colour": "green"}, {"value": 0.9, "colour": "red"}],
        empty="it is dry",
        width=4,
        height=5,
    )
    del said["query"]

    (only,) = parse(text(said), AI).panels

    assert only.queries == (Query("a", "{{pod}}"), Query("b"))
    assert (only.unit, only.kind, only.width, only.height) == (Unit.PERCENT, Kind.GAUGE, 4, 5)
    assert only.thresholds == (Threshold(0.0, Colour.GREEN), Threshold(0.9, Colour.RED))
    assert only.description == "Much is wet. Without data: it is dry"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"unit": "litres"}, "panels[0].unit is 'litres', not one of short, percent, seconds, bytes, bytes/s,"),
        ({"kind": "pie"}, "panels[0].kind is 'pie', not one of timeseries, stat, gauge, table"),
        ({"title": ""}, "panels[0].title is not a text"),
        ({"description": None}, "panels[0].description is missing"),
        ({"querry": "up"}, "panels[0].querry is not known; known: title, description, query,"),
        ({"queries": [{"query": "up"}]}, "panels[0] has not exactly one of query and queries"),
        ({"width": 25}, "panels[0].width is 25, not a whole number from 1 to 24"),
        ({"height": True}, "panels[0].height is True, not a whole number from 2 to 24"),
        ({"thresholds": "high"}, "panels[0].thresholds is not a list"),
        ({"thresholds": [{"value": "x", "colour": "red"}]}, "panels[0].thresholds[0].value is 'x', not a number"),
        (
            {"thresholds": [{"value": 1, "colour": "pink"}]},
            "panels[0].thresholds[0].colour is 'pink', not one of green,",
        ),
        (
            {"thresholds": [{"value": 1, "colour": "red"}, {"value": 1, "colour": "blue"}]},
            "panels[0].thresholds do not rise",
        ),
    ],
)
def test_a_mistake_is_named_with_its_place(said: dict[str, Any], expected: str) -> None:
    """One mistake is one line."""
    (found,) = mistakes(text(panel(**said)))

    assert found.startswith(expected)


def test_all_mistakes_are_named_at_once() -> None:
    """Nobody deploys once for each."""
    bad = {"title": "Rain", "description": "x", "queries": [], "legend": "x"}

    assert mistakes(text(bad, {**panel(), "unit": 3}, titel="x", title=None)) == (
        "titel is not known; known: title, description, panels",
        "title is missing",
        "panels[0].legend belongs to each of queries",
        "panels[0].queries is empty",
        "panels[1].unit is 3, not one of short, percent, seconds, bytes, bytes/s, requests/s, tokens/s, cores",
        "two panels are called 'Rain'",
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a: b: c", "is not YAML: mapping values are not allowed here"),
        ("[]", "the description is not a mapping"),
        (yaml.safe_dump({"title": "T", "description": "D"}), "panels is empty"),
        (yaml.safe_dump({"title": "T", "description": "D", "panels": [3]}), "panels[0] is not a mapping"),
        (text(title="...!"), "title has neither a letter nor a digit"),
    ],
)
def test_what_is_no_description_is_refused(content: str, expected: str) -> None:
    """It never raises anything else."""
    assert mistakes(content)[0].startswith(expected)


def placed(*sizes: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Return where panels of these sizes stand, and how large they are shown."""
    said = [panel(title=f"P{index}", width=width, height=height) for index, (width, height) in enumerate(sizes)]
    return [(place.x, place.y, place.width, place.height) for place in places(parse(text(*said), AI).panels)]


def test_panels_stand_beside_each_other_while_there_is_room() -> None:
    """A new row begins below the highest of the last."""
    assert placed((12, 4), (12, 4), (24, 3), (6, 2), (18, 2)) == [
        (0, 0, 12, 4),
        (12, 0, 12, 4),
        (0, 4, 24, 3),
        (0, 7, 6, 2),
        (6, 7, 18, 2),
    ]


def test_no_row_has_a_gap() -> None:
    """Its panels share the room that is left, and all are as high as its highest."""
    assert placed((6, 4), (12, 8), (12, 8), (7, 4), (7, 4), (7, 4)) == [
        (0, 0, 8, 8),
        (8, 0, 16, 8),
        (0, 8, 15, 8),
        (15, 8, 9, 8),
        (0, 16, 12, 4),
        (12, 16, 12, 4),
    ]


def test_links_lead_to_the_same_component() -> None:
    """Its namespace's log lines; nothing where no domain is known."""
    found = links(parse(text(), AI), DOMAIN)

    assert [each.name for each in found] == ["Logs", "Traces", "Alerts", "Prometheus"]
    assert found[0].address == (
        "https://logs.example.org/select/vmui/?#/?query=%7B%22k8s.namespace.name%22%3D%22ai%22%7D"
    )
    assert links(parse(text(), AI), "") == ()


def test_links_lead_to_the_platforms_grafana() -> None:
    """Where logs and traces have no pages of their own, a question to each of its sources is asked there."""
    logs, traces, *others = links(parse(text(), AI), DOMAIN, explore=True)
    asked = [json.loads(parse_qs(urlsplit(each.address).query)["panes"][0])["a"] for each in (logs, traces)]

    assert {urlsplit(each.address).netloc for each in (logs, traces)} == {"grafana.example.org"}
    assert asked[0]["queries"][0]["expr"] == '{k8s_namespace_name="ai"}'
    assert [each["datasource"] for each in asked] == ["loki", "tempo"]
    assert others == list(links(parse(text(), AI), DOMAIN)[2:])
    assert links(parse(text(), AI), "", explore=True) == ()


def rendered(form: Format, *panels: dict[str, Any]) -> dict[str, Any]:
    """Return one dashboard as a server gets it."""
    found = files(catalogue([configmap("weather", text(*panels))]), form, DOMAIN, PROMETHEUS)
    path = "dashboards/platform/the-weather.json" if form is Format.PERSES else "the-weather.json"
    whole: dict[str, Any] = json.loads(found[path])
    return whole


def test_perses_gets_a_dashboard_of_its_own_kind() -> None:
    """Every field that it shows."""
    said = panel(unit="percent", kind="stat", legend="{{pod}}", thresholds=[{"value": 1, "colour": "red"}])

    whole = rendered(Format.PERSES, said)

    assert (whole["kind"], whole["metadata"]) == (
        "Dashboard",
        {
            "name": "the-weather",
            "project": "platform",
            "createdAt": "2000-01-01T00:00:00Z",
            "updatedAt": "2000-01-01T00:00:00Z",
            "version": 0,
        },
    )
    spec = whole["spec"]
    assert spec["display"] == {"name": "The Weather", "description": "What comes."}
    assert spec["panels"] == {
        "panel0": {
            "kind": "Panel",
            "spec": {
                "display": {"name": "Rain", "description": "Much is wet."},
                "plugin": {
                    "kind": "StatChart",
                    "spec": {
                        "calculation": "last-number",
                        "format": {"unit": "percent-decimal"},
                        "thresholds": {"mode": "absolute", "steps": [{"value": 1.0, "color": "#c62828"}]},
                    },
                },
                "links": [
                    {"name": link.name, "url": link.address, "tooltip": link.tip, "targetBlank": True}
                    for link in links(parse(text(), AI), DOMAIN)
                ],
                "queries": [
                    {
                        "kind": "TimeSeriesQuery",
                        "spec": {
                            "plugin": {
                                "kind": "PrometheusTimeSeriesQuery",
                                "spec": {"query": "sum(rate(rain_total[5m]))", "seriesNameFormat": "{{pod}}"},
                            }
                        },
                    }
                ],
            },
        }
    }
    assert spec["layouts"][0]["spec"]["items"] == [
        {"x": 0, "y": 0, "width": 24, "height": 4, "content": {"$ref": "#/spec/panels/panel0"}}
    ]


@pytest.mark.parametrize(
    ("kind", "plugin"),
    [("timeseries", "TimeSeriesChart"), ("stat", "StatChart"), ("gauge", "GaugeChart"), ("table", "Table")],
)
@pytest.mark.parametrize("unit", [each.value for each in Unit])
def test_every_kind_and_unit_is_known_to_both(kind: str, plugin: str, unit: str) -> None:
    """None is left without a picture."""
    said = panel(kind=kind, unit=unit)

    (of_perses,) = rendered(Format.PERSES, said)["spec"]["panels"].values()
    (of_grafana,) = rendered(Format.GRAFANA, said)["panels"]

    assert of_perses["spec"]["plugin"]["kind"] == plugin
    assert of_grafana["type"] == kind
    assert of_grafana["fieldConfig"]["defaults"]["unit"]


def test_a_dashboard_is_as_old_as_its_configmap() -> None:
    """It changed when anybody last set a field of it; what all stand on is there since the first."""
    old, new = configmap("a", text(title="A")), configmap("b", text(title="B"))
    old["metadata"]["creationTimestamp"] = new["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    new["metadata"]["creationTimestamp"] = "2026-02-01T00:00:00Z"
    new["metadata"]["managedFields"] = [{"time": "2026-02-01T00:00:00Z"}, {"time": "2026-03-01T00:00:00Z"}, {}]

    found = files(catalogue([new, old]), Format.PERSES, DOMAIN, PROMETHEUS)

    times = {path: json.loads(content)["metadata"] for path, content in found.items()}
    assert {path: (meta["createdAt"][:7], meta["updatedAt"][:7]) for path, meta in times.items()} == {
        "projects/platform.json": ("2026-01", "2026-01"),
        "globaldatasources/prometheus.json": ("2026-01", "2026-01"),
        "dashboards/platform/a.json": ("2026-01", "2026-01"),
        "dashboards/platform/b.json": ("2026-02", "2026-03"),
    }


def test_perses_asks_prometheus_for_the_browser_and_only_to_read() -> None:
    """Nothing else of Prometheus's API is passed on."""
    found = files(catalogue([]), Format.PERSES, DOMAIN, PROMETHEUS)

    assert sorted(found) == ["globaldatasources/prometheus.json", "projects/platform.json"]
    proxy = json.loads(found["globaldatasources/prometheus.json"])["spec"]["plugin"]["spec"]["proxy"]["spec"]
    assert proxy["url"] == PROMETHEUS
    assert {(each["method"], each["endpointPattern"]) for each in proxy["allowedEndpoints"]} == {
        ("POST", "^/api/v1/query$"),
        ("POST", "^/api/v1/query_range$"),
        ("GET", "^/api/v1/query$"),
        ("GET", "^/api/v1/query_range$"),
        ("POST", "^/api/v1/series$"),
        ("POST", "^/api/v1/labels$"),
        ("GET", "^/api/v1/label/[a-zA-Z_][a-zA-Z0-9_]*/values$"),
        ("GET", "^/api/v1/metadata$"),
        ("POST", "^/api/v1/parse_query$"),
    }


def test_grafana_gets_a_dashboard_that_it_imports() -> None:
    """A source that is chosen at the import; a table asks once; a gauge of shares ends at 1."""
    whole = rendered(
        Format.GRAFANA,
        panel(unit="percent", kind="gauge", thresholds=[{"value": 0.9, "colour": "red"}]),
        panel(title="Who", kind="table"),
    )

    assert (whole["uid"], whole["title"]) == ("the-weather", "The Weather")
    assert whole["templating"]["list"] == [
        {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    ]
    gauge, table = whole["panels"]
    assert gauge["gridPos"] == {"x": 0, "y": 0, "w": 24, "h": 6}
    assert gauge["fieldConfig"]["defaults"] == {
        "unit": "percentunit",
        "min": 0,
        "max": 1,
        "thresholds": {
            "mode": "absolute",
            "steps": [{"color": "green", "value": None}, {"color": "#c62828", "value": 0.9}],
        },
    }
    assert gauge["targets"][0]["expr"] == "sum(rate(rain_total[5m]))"
    assert (table["targets"][0]["instant"], table["targets"][0]["format"]) == (True, "table")


def test_one_wrong_description_takes_no_other_away() -> None:
    """Each is named by its ConfigMap; of two with one title, the first in order of names has it."""
    found = catalogue(
        [
            configmap("z", text()),
            configmap("a", text()),
            configmap("b", "a: b: c"),
            configmap("c", None),
        ]
    )

    assert [each.name for each in found.dashboards] == ["the-weather"]
    assert found.mistakes["ai/z"] == ("its title 'The Weather' is taken by ai/a",)
    assert found.mistakes["ai/b"][0].startswith("is not YAML")
    assert found.mistakes["ai/c"] == ("has no key dashboard.yaml",)


def test_only_what_changed_is_written(tmp_path: Path) -> None:
    """What nobody wants any more goes; what is the same keeps its time."""
    assert bring(tmp_path, {"a/x.json": "1", "y.json": "2"}) == ["a/x.json", "y.json"]
    before = (tmp_path / "a/x.json").stat().st_mtime_ns

    assert bring(tmp_path, {"a/x.json": "1", "z.json": "3"}) == ["z.json", "y.json"]

    assert (tmp_path / "a/x.json").stat().st_mtime_ns == before
    assert sorted(each.name for each in tmp_path.rglob("*") if each.is_file()) == ["x.json", "z.json"]


class Cluster:
    """An API server with these ConfigMaps, or one that is away."""

    def __init__(self) -> None:
        """Begin with none."""
        self.configmaps: list[dict[str, Any]] | None = []

    def ask(self, path: str) -> list[dict[str, Any]]:
        """Answer a list."""
        assert path == CONFIGMAPS
        if self.configmaps is None:
            message = "the API server does not answer (TimeoutError)"
            raise ClusterError(message)
        return self.configmaps


def test_the_folder_follows_the_cluster(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A dashboard comes, another is wrong; while nobody answers, all stays, and the time of the last answer tells."""
    cluster, now = Cluster(), [100.0]
    watch = Watch(tmp_path, lambda of: files(of, Format.GRAFANA, DOMAIN, ""), cluster.ask, lambda: now[0])
    at_first = watch.ready

    cluster.configmaps = [configmap("weather", text()), configmap("bad", "[]")]
    watch.look()
    watch.look()
    cluster.configmaps, now[0] = None, 200.0
    watch.look()

    assert (at_first, watch.ready) == (False, True)
    assert [each.name for each in tmp_path.iterdir()] == ["the-weather.json"]
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
        "ConfigMap ai/bad: the description is not a mapping"
    ]
    said = [line for line in watch.metrics().splitlines() if not line.startswith("#")]
    assert said == [
        "dashboards_rendered 1",
        "dashboards_invalid 1",
        "dashboards_last_success_timestamp_seconds 100.000",
    ]
