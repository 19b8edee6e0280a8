"""Small changes to descriptions of dashboards, each of which a check must notice."""

from typing import Any, Final

import yaml
from dashboards.catalogue import KEY, LABEL

from tests.render.changes import Change, Mutation, Objects

_FINE: Final[dict[str, Any]] = {
    "title": "Weather",
    "description": "What comes.",
    "panels": [{"title": "Rain", "description": "Much is wet.", "query": "sum(rate(rain_total[5m]))"}],
}


def _described(name: str, text: str, label: str = "true") -> Change:
    meta = {"name": name, "namespace": "ai", "labels": {LABEL: label}}
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {KEY: text}}
    return lambda objects: objects.all.append(obj)


def _panel(**fields: Any) -> Change:  # noqa: ANN401 - any JSON value
    said = {**_FINE, "panels": [{**_FINE["panels"][0], **fields}]}
    return _described("weather", yaml.safe_dump(said))


def _twice(objects: Objects) -> None:
    for name in ("weather", "climate"):
        _described(name, yaml.safe_dump(_FINE))(objects)


DASHBOARDS: Final = (
    Mutation("dashboard that is no YAML", "dashboards_are_described_right", _described("weather", "a: b: c")),
    Mutation("dashboard's title twice", "dashboards_are_described_right", _twice),
    Mutation("unknown unit", "dashboards_are_described_right", _panel(unit="litres")),
    Mutation("unknown key of a panel", "dashboards_are_described_right", _panel(querry="up")),
    Mutation("dashboard without its label", "dashboards_are_found", _described("weather", yaml.safe_dump(_FINE), "no")),
    Mutation("query cut off", "dashboards_ask_what_can_be_asked", _panel(query="sum(rate(rain_total[5m])")),
    Mutation("query of another server", "dashboards_ask_what_can_be_asked", _panel(query="rate(x[$__interval])")),
)
