"""The parts of a request in JSON: maps, lists, numbers, ids of points."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from .errors import unspoken, wrong

Json = Mapping[str, Any]
PointId = int | UUID

_LARGEST: Final = 2**64


def only(value: object, where: str, known: tuple[str, ...]) -> Json:
    """Return a map that has no other keys than the known ones; what is null counts as not there."""
    if not isinstance(value, Mapping):
        message = f"{where} must be a map"
        raise wrong(message)
    found = {key: inner for key, inner in value.items() if inner is not None}
    if strange := sorted(set(found) - set(known)):
        message = f"{', '.join(strange)} in {where}"
        raise unspoken(message)
    return found


def items(value: object, where: str) -> list[Any]:
    """Return a list."""
    if not isinstance(value, list):
        message = f"{where} must be a list"
        raise wrong(message)
    return value


def number(value: object, where: str, least: int = 0) -> int:
    """Return a whole number of at least so much."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        message = f"{where} must be a whole number of at least {least}"
        raise wrong(message)
    return value


def point_id(value: object) -> PointId:
    """Return the id of a point: a whole number or a UUID."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST:
        return value
    if isinstance(value, str):
        try:
            return UUID(value)
        except ValueError:
            pass
    message = f"{str(value)[:60]!r} is no point id: it must be a whole number or a UUID"
    raise wrong(message)


def ids(value: object) -> list[PointId]:
    """Return ids of points."""
    return [point_id(one) for one in items(value, "points")]
