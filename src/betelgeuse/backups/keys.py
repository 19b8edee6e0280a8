"""Values of Secrets without which a copy of a store is of no use: keys of what is encrypted in it, its passwords."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from betelgeuse.errors import BetelgeuseError
from betelgeuse.kube import Key, Kube, Obj, key_of
from betelgeuse.rotation import rotatable
from betelgeuse.secrets import PREVIOUS, produced, recipes, write

_FORMAT: Final = 1


def _names(obj: Obj) -> Iterator[str]:
    """Yield the keys that a Secret's recipes fill."""
    for key, recipe in recipes(obj).items():
        yield from produced(key, recipe)


def _live(kube: Kube, obj: Obj) -> dict[str, str]:
    """Return a Secret's data; BetelgeuseError where it is not whole."""
    key = key_of(obj)
    data: dict[str, str] = (kube.get("v1", "Secret", key.name, key.namespace) or {}).get("data") or {}
    if missing := [name for name in _names(obj) if not data.get(name)]:
        message = f"{key} has no {', '.join(missing)} yet: `invoke deploy` makes it"
        raise BetelgeuseError(message)
    return data


def dump(kube: Kube, store: str, secrets: Sequence[Obj]) -> str:
    """Return the values of Secrets as JSON; BetelgeuseError where one is not whole."""
    values = {}
    for obj in secrets:
        data = _live(kube, obj)
        values[f"{key_of(obj).namespace}/{key_of(obj).name}"] = {name: data[name] for name in _names(obj)}
    return json.dumps({"store": store, "format": _FORMAT, "secrets": values}, indent=1, sort_keys=True) + "\n"


def _read(store: str, text: str) -> dict[str, dict[str, str]]:
    """Return the values of a copy; BetelgeuseError where it is none."""
    try:
        copy: Any = json.loads(text)
    except ValueError:
        copy = None
    if not isinstance(copy, dict) or (copy.get("store"), copy.get("format")) != (store, _FORMAT):
        message = f"this is no copy of {store}; nothing was changed"
        raise BetelgeuseError(message)
    found: dict[str, dict[str, str]] = copy["secrets"]
    return found


def load(kube: Kube, store: str, secrets: Sequence[Obj], text: str) -> list[Key]:
    """Give Secrets the values of a copy, and return those whose values are others now.

    They are marked as rotated, so whoever uses them is started anew, at the latest by the next deploy. All is looked at
    before the first one is written. A Secret that the copy has not stays as it is. Of a value that rotations change,
    the one before is kept as they keep it: whoever was told of it may know only that.
    """
    values = _read(store, text)
    todo = []
    for obj in secrets:
        data, key = _live(kube, obj), key_of(obj)
        kept = {name: values.get(f"{key.namespace}/{key.name}", {}).get(name, data[name]) for name in _names(obj)}
        if changed := [name for name in kept if kept[name] != data[name]]:
            before = {f"{PREVIOUS}{name}": data[name] for name in rotatable(obj) if name in changed}
            todo.append((obj, kept | before))
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    for obj, data in todo:
        write(kube, obj, data, now)
    return [key_of(obj) for obj, _ in todo]
