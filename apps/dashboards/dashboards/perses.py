"""A dashboard as Perses stores it, with the project and the source of data that all of them share."""

from typing import Any, Final

from .grid import places
from .links import links
from .model import Dashboard, Kind, Panel, Unit

PROJECT: Final = "platform"
SOURCE: Final = "prometheus"
_UNITS: Final = {
    Unit.SHORT: {"unit": "decimal", "shortValues": True},
    Unit.PERCENT: {"unit": "percent-decimal"},
    Unit.SECONDS: {"unit": "seconds"},
    Unit.BYTES: {"unit": "bytes", "shortValues": True},
    Unit.BYTES_PER_SECOND: {"unit": "bytes/sec", "shortValues": True},
    Unit.REQUESTS_PER_SECOND: {"unit": "requests/sec", "shortValues": True},
    Unit.TOKENS_PER_SECOND: {"unit": "counts/sec", "shortValues": True},
    Unit.CORES: {"unit": "decimal"},
}
_ASKED: Final = (
    # What panels ask, and what completes a query in the explorer: reading alone.
    ("POST", "/api/v1/query"),
    ("POST", "/api/v1/query_range"),
    ("GET", "/api/v1/query"),
    ("GET", "/api/v1/query_range"),
    ("POST", "/api/v1/series"),
    ("POST", "/api/v1/labels"),
    ("GET", "/api/v1/label/[a-zA-Z_][a-zA-Z0-9_]*/values"),
    ("GET", "/api/v1/metadata"),
    ("POST", "/api/v1/parse_query"),
)


def _thresholds(panel: Panel) -> dict[str, Any]:
    steps = [{"value": each.value, "color": each.colour.value} for each in panel.thresholds]
    return {"thresholds": {"mode": "absolute", "steps": steps}} if steps else {}


def _plugin(panel: Panel) -> dict[str, Any]:
    unit = _UNITS[panel.unit]
    match panel.kind:
        case Kind.TIMESERIES:
            return {
                "kind": "TimeSeriesChart",
                "spec": {
                    "legend": {"position": "bottom", "mode": "list", "values": []},
                    "yAxis": {"format": unit, "min": 0},
                    "visual": {"lineWidth": 1.25, "areaOpacity": 0.1, "connectNulls": False},
                    **_thresholds(panel),
                },
            }
        case Kind.STAT:
            return {
                "kind": "StatChart",
                "spec": {"calculation": "last-number", "format": unit, **_thresholds(panel)},
            }
        case Kind.GAUGE:
            top = {"max": 1} if panel.unit is Unit.PERCENT else {}
            return {
                "kind": "GaugeChart",
                "spec": {"calculation": "last-number", "format": unit, **top, **_thresholds(panel)},
            }
        case Kind.TABLE:
            return {
                "kind": "Table",
                "spec": {
                    "density": "compact",
                    "columnSettings": [
                        {"name": "timestamp", "hide": True},
                        {"name": "value", "header": "Value", "format": unit, "sort": "desc"},
                    ],
                },
            }


def _query(expression: str, legend: str) -> dict[str, Any]:
    spec = {"query": expression, **({"seriesNameFormat": legend} if legend else {})}
    return {
        "kind": "TimeSeriesQuery",
        "spec": {"plugin": {"kind": "PrometheusTimeSeriesQuery", "spec": spec}},
    }


def _panel(panel: Panel, led: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "kind": "Panel",
        "spec": {
            "display": {"name": panel.title, "description": panel.description},
            "plugin": _plugin(panel),
            "queries": [_query(each.expression, each.legend) for each in panel.queries],
            # Perses's pages show links of panels, and none of dashboards.
            **({"links": led} if led else {}),
        },
    }


def dashboard(each: Dashboard, domain: str) -> dict[str, Any]:
    """Return a dashboard as Perses stores it."""
    placed = list(places(each.panels))
    led = [
        {"name": link.name, "url": link.address, "tooltip": link.tip, "targetBlank": True}
        for link in links(each, domain)
    ]
    return {
        "kind": "Dashboard",
        "metadata": {
            "name": each.name,
            "project": PROJECT,
            # Its lists tell how long ago these were, and show nothing at all without them.
            "createdAt": each.origin.created,
            "updatedAt": each.origin.updated,
            "version": 0,
        },
        "spec": {
            "display": {"name": each.title, "description": each.description},
            "duration": "1h",
            "refreshInterval": "30s",
            "variables": [],
            "panels": {f"panel{index}": _panel(place.panel, led) for index, place in enumerate(placed)},
            "layouts": [
                {
                    "kind": "Grid",
                    "spec": {
                        "items": [
                            {
                                "x": place.x,
                                "y": place.y,
                                "width": place.width,
                                "height": place.height,
                                "content": {"$ref": f"#/spec/panels/panel{index}"},
                            }
                            for index, place in enumerate(placed)
                        ]
                    },
                }
            ],
        },
    }


def shared(prometheus: str, since: str) -> dict[str, dict[str, Any]]:
    """Return what all dashboards stand on, by path: the project, and Prometheus, which Perses asks for the browser."""
    times = {"createdAt": since, "updatedAt": since, "version": 0}
    return {
        f"projects/{PROJECT}.json": {
            "kind": "Project",
            "metadata": {"name": PROJECT, **times},
            "spec": {"display": {"name": "Platform"}},
        },
        f"globaldatasources/{SOURCE}.json": {
            "kind": "GlobalDatasource",
            "metadata": {"name": SOURCE, **times},
            "spec": {
                "default": True,
                "display": {"name": "Prometheus"},
                "plugin": {
                    "kind": "PrometheusDatasource",
                    "spec": {
                        "proxy": {
                            "kind": "HTTPProxy",
                            "spec": {
                                "url": prometheus,
                                "allowedEndpoints": [
                                    {"endpointPattern": f"^{path}$", "method": method} for method, path in _ASKED
                                ],
                            },
                        }
                    },
                },
            },
        },
    }


def path(each: Dashboard) -> str:
    """Return where Perses's database has a dashboard."""
    return f"dashboards/{PROJECT}/{each.name}.json"
