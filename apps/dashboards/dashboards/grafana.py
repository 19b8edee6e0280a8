"""A dashboard as Grafana imports it."""

from typing import Any, Final

from .grid import Place, places
from .links import links
from .model import Dashboard, Kind, Panel, Unit

_SCHEMA: Final = 39
_UNITS: Final = {
    Unit.SHORT: "short",
    Unit.PERCENT: "percentunit",
    Unit.SECONDS: "s",
    Unit.BYTES: "bytes",
    Unit.BYTES_PER_SECOND: "binBps",
    Unit.REQUESTS_PER_SECOND: "reqps",
    Unit.TOKENS_PER_SECOND: "suffix: tokens/s",
    Unit.CORES: "suffix: cores",
}
# Whoever imports a dashboard chooses which Prometheus it asks.
_SOURCE: Final = {"type": "prometheus", "uid": "${source}"}
_ONE_NUMBER: Final = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
_OPTIONS: Final[dict[Kind, dict[str, Any]]] = {
    Kind.TIMESERIES: {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    Kind.STAT: _ONE_NUMBER,
    Kind.GAUGE: _ONE_NUMBER,
    Kind.TABLE: {},
}


def _thresholds(panel: Panel) -> dict[str, Any]:
    base: list[dict[str, Any]] = [{"color": "text" if panel.kind is Kind.STAT else "green", "value": None}]
    return {
        "mode": "absolute",
        "steps": base + [{"color": each.colour.value, "value": each.value} for each in panel.thresholds],
    }


def _target(panel: Panel, index: int) -> dict[str, Any]:
    query = panel.queries[index]
    table = panel.kind is Kind.TABLE
    return {
        "refId": chr(ord("A") + index),
        "datasource": _SOURCE,
        "expr": query.expression,
        "legendFormat": query.legend or "__auto",
        "instant": table,
        "range": not table,
        "format": "table" if table else "time_series",
    }


def _panel(place: Place, number: int) -> dict[str, Any]:
    panel = place.panel
    custom: dict[str, Any] = {}
    if panel.kind is Kind.TIMESERIES:
        style = "line" if panel.thresholds else "off"
        custom = {"custom": {"fillOpacity": 10, "thresholdsStyle": {"mode": style}}}
    defaults = {"unit": _UNITS[panel.unit], "min": 0, "thresholds": _thresholds(panel), **custom}
    if panel.kind is Kind.GAUGE and panel.unit is Unit.PERCENT:
        defaults["max"] = 1
    return {
        "id": number,
        "title": panel.title,
        "description": panel.description,
        "type": panel.kind.value,
        "datasource": _SOURCE,
        "gridPos": {"x": place.x, "y": place.y, "w": place.width, "h": place.height},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _OPTIONS[panel.kind],
        "targets": [_target(panel, index) for index in range(len(panel.queries))],
    }


def dashboard(each: Dashboard, domain: str, *, explore: bool = False) -> dict[str, Any]:
    """Return a dashboard as Grafana imports it; `explore` is about its links."""
    source = {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    return {
        "uid": each.name,
        "title": each.title,
        "description": each.description,
        "tags": ["betelgeuse"],
        "schemaVersion": _SCHEMA,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [source]},
        "links": [
            {"type": "link", "title": link.name, "url": link.address, "tooltip": link.tip, "targetBlank": True}
            for link in links(each, domain, explore=explore)
        ],
        "panels": [_panel(place, number) for number, place in enumerate(places(each.panels), start=1)],
    }


def path(each: Dashboard) -> str:
    """Return a dashboard's file name."""
    return f"{each.name}.json"
