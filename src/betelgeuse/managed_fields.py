"""What managedFields say: which parts of a live object a manager set, where they are, what is left without them.

The API server writes a set of fields as a tree (FieldsV1): `f:name` is a key, `k:{…}` the item of a list with these
keys, `v:…` an item of a set; `.` marks that the manager set the thing itself, not only what is inside.
"""

import copy
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

Fields = Mapping[str, Any]
Path = tuple[str, ...]
"""Elements of FieldsV1 from the root."""
Place = tuple[str | int, ...]
"""Keys and indexes from the root of an object."""

_SELF: Final = "."


def union(sets: Iterable[Fields]) -> dict[str, Any]:
    """Return what any of the sets holds."""
    found: dict[str, Any] = {}
    for each in sets:
        for element, inner in each.items():
            found[element] = union((found.get(element, {}), inner))
    return found


def strays(theirs: Fields, others: Fields) -> Iterator[Path]:
    """Yield the topmost fields that a manager set and nobody else, nor anything inside them."""
    for element, inner in theirs.items():
        if element == _SELF:
            continue
        # Without the mark it only passed through: `metadata` is nobody's to remove, whoever alone set a label in it.
        if element not in others and (not inner or _SELF in inner):
            yield (element,)
        else:
            yield from ((element, *rest) for rest in strays(inner, others.get(element, {})))


def pick(fields: Fields, path: Path) -> dict[str, Any]:
    """Return of a set one field only, with what is inside it."""
    element, *rest = path
    if element not in fields:
        return {}
    inner = pick(fields[element], tuple(rest)) if rest else dict(fields[element])
    return {element: inner} if inner or not rest else {}


def cut(fields: Fields, path: Path) -> dict[str, Any]:
    """Return a set without a field; what holds nothing else goes with it."""
    element, *rest = path
    if element not in fields:
        return dict(fields)
    inner = cut(fields[element], tuple(rest)) if rest else {}
    kept = {name: value for name, value in fields.items() if name != element}
    return kept | {element: inner} if set(inner) - {_SELF} else kept


def _index(items: object, element: str) -> int | None:
    if not isinstance(items, list):
        return None
    wanted = json.loads(element[2:])
    if element.startswith("v:"):
        return items.index(wanted) if wanted in items else None
    for index, item in enumerate(items):
        if isinstance(item, Mapping) and all(item.get(key) == value for key, value in wanted.items()):
            return index
    return None


def locate(obj: Any, path: Path) -> Place | None:  # noqa: ANN401 - plain data of any shape
    """Return where a field is in an object, or None when it is not there (any more)."""
    place: list[str | int] = []
    for element in path:
        step: str | int | None
        if element.startswith("f:"):
            step = element[2:] if isinstance(obj, Mapping) and element[2:] in obj else None
        else:
            step = _index(obj, element) if element[:2] in {"k:", "v:"} else None
        if step is None:
            return None
        place.append(step)
        obj = obj[step]
    return tuple(place)


def pointer(place: Place) -> str:
    """Return a place as JSON Patch takes it."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in place)


def backwards(places: Iterable[Place]) -> list[Place]:
    """Return places in an order in which each can be removed without moving the next."""
    return sorted(set(places), reverse=True, key=lambda place: [(isinstance(step, int), step) for step in place])


def without(obj: Mapping[str, Any], places: Iterable[Place]) -> dict[str, Any]:
    """Return a copy of an object without what is at some places."""
    found = copy.deepcopy(dict(obj))
    for place in backwards(places):
        holder: Any = found
        for step in place[:-1]:
            holder = holder[step]
        del holder[place[-1]]
    return found


def shown(path: Sequence[str]) -> str:
    """Return a field as people write it: `spec.template.spec.containers[c].env[DEBUG]`."""
    text = ""
    for element in path:
        if element.startswith("f:"):
            text += f".{element[2:]}" if text else element[2:]
        else:
            inner = json.loads(element[2:]) if element[:2] in {"k:", "v:"} else element
            text += f"[{','.join(map(str, inner.values())) if isinstance(inner, dict) else inner}]"
    return text
