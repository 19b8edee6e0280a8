"""Filters in JSON, to what the engine takes."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import qdrant_edge as edge

from .basics import Json, ids, only
from .errors import wrong

_RANGE: Final = ("gte", "gt", "lte", "lt")


def _match(value: object) -> Any:  # noqa: ANN401 - one of several classes
    match = dict(only(value, "match", ("value", "any", "except", "text", "text_any", "phrase")))
    if len(match) != 1:
        message = "match must have one of value, any, except, text, text_any, phrase"
        raise wrong(message)
    ((kind, wanted),) = match.items()
    make = {
        "value": edge.MatchValue,
        "any": edge.MatchAny,
        "except": edge.MatchExcept,
        "text": edge.MatchText,
        "text_any": edge.MatchTextAny,
        "phrase": edge.MatchPhrase,
    }[kind]
    return make(wanted)


def _range(value: object) -> Any:  # noqa: ANN401 - one of two classes
    limits = only(value, "range", _RANGE)
    if any(isinstance(limit, str) for limit in limits.values()):
        return edge.RangeDateTime(**limits)
    return edge.RangeFloat(**limits)


def _place(value: object) -> edge.GeoPoint:
    place = only(value, "a place", ("lon", "lat"))
    return edge.GeoPoint(place["lon"], place["lat"])


def _field(condition: Json) -> edge.FieldCondition:
    known = ("key", "match", "range", "values_count", "geo_radius", "geo_bounding_box", "is_empty", "is_null")
    said = dict(only(condition, "a condition", known))
    if "match" in said:
        said["match"] = _match(said["match"])
    if "range" in said:
        said["range"] = _range(said["range"])
    if "values_count" in said:
        said["values_count"] = edge.ValuesCount(**only(said["values_count"], "values_count", _RANGE))
    if "geo_radius" in said:
        circle = only(said["geo_radius"], "geo_radius", ("center", "radius"))
        said["geo_radius"] = edge.GeoRadius(_place(circle["center"]), circle["radius"])
    if "geo_bounding_box" in said:
        box = only(said["geo_bounding_box"], "geo_bounding_box", ("top_left", "bottom_right"))
        said["geo_bounding_box"] = edge.GeoBoundingBox(_place(box["top_left"]), _place(box["bottom_right"]))
    return edge.FieldCondition(**said)


def _condition(value: object) -> Any:  # noqa: ANN401 - one of several classes
    if not isinstance(value, Mapping):
        message = "a condition must be a map"
        raise wrong(message)
    makers: dict[str, Callable[[Json], Any]] = {
        "key": _field,
        "has_id": lambda said: edge.HasIdCondition(set(ids(said["has_id"]))),
        "has_vector": lambda said: edge.HasVectorCondition(said["has_vector"]),
        "is_empty": lambda said: edge.IsEmptyCondition(said["is_empty"]["key"]),
        "is_null": lambda said: edge.IsNullCondition(said["is_null"]["key"]),
        "nested": lambda said: edge.NestedCondition(said["nested"]["key"], filtering(said["nested"]["filter"])),
    }
    return next((make(value) for kind, make in makers.items() if kind in value), None) or filtering(value)


def _conditions(value: object) -> list[Any] | None:
    if value is None:
        return None
    return [_condition(one) for one in (value if isinstance(value, list) else [value])]


def filtering(value: object) -> edge.Filter | None:
    """Return a filter; none where none was given."""
    if value is None:
        return None
    said = only(value, "filter", ("must", "should", "must_not", "min_should"))
    least = said.get("min_should")
    return edge.Filter(
        must=_conditions(said.get("must")),
        should=_conditions(said.get("should")),
        must_not=_conditions(said.get("must_not")),
        min_should=None if least is None else edge.MinShould(_conditions(least["conditions"]), least["min_count"]),
    )
