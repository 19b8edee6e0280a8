"""Is what the tree says still in the live object? Pure: two objects in, the differing fields out."""

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Any, Final

from betelgeuse.kube import Obj

_IGNORED: Final = frozenset({"status"})
_IGNORED_METADATA: Final = frozenset({"creationTimestamp", "managedFields", "resourceVersion", "uid", "generation"})
_KEYS: Final = ("name", "containerPort", "port", "mountPath", "topologyKey", "ip", "key", "type")
_SUFFIXES: Final = MappingProxyType(
    {"n": "1e-9", "u": "1e-6", "m": "1e-3", "k": "1e3", "M": "1e6", "G": "1e9", "T": "1e12"}
    | {"Ki": "1024", "Mi": "1048576", "Gi": "1073741824", "Ti": "1099511627776"}
)
_ABSENT: Final = object()


def quantity(value: object) -> Decimal | None:
    """Return a Kubernetes quantity as a number; None when it is none."""
    text = str(value)
    digits = text.rstrip("KMGTPEikmun")
    try:
        return Decimal(digits) * Decimal(_SUFFIXES.get(text[len(digits) :], "1" if digits == text else "nan"))
    except InvalidOperation:
        return None


def _same_scalar(want: object, got: object) -> bool:
    if want == got:
        return True
    one, other = quantity(want), quantity(got)
    return one is not None and other is not None and one == other


def _empty(value: object) -> bool:
    """Whether a value says nothing: the API server drops such fields."""
    return not value


def _match(want: object, candidates: list[Any], at: int) -> object:
    """Return the live element that a declared list element speaks of: by its key, else by its place."""
    if isinstance(want, dict):
        for key in _KEYS:
            if key in want:
                same = [item for item in candidates if isinstance(item, dict) and item.get(key) == want[key]]
                if len(same) == 1:
                    return same[0]
    return candidates[at] if at < len(candidates) else _ABSENT


def differences(want: object, got: object, path: str = "") -> Iterator[str]:
    """Yield every declared field that the live object does not have as declared; what is only live is not ours."""
    if isinstance(want, dict):
        live = got if isinstance(got, dict) else {}
        for key, value in want.items():
            yield from differences(value, live.get(key, _ABSENT), f"{path}.{key}" if path else str(key))
    elif isinstance(want, list) and isinstance(got, list):
        for at, value in enumerate(want):
            yield from differences(value, _match(value, got, at), f"{path}[{at}]")
    elif got is _ABSENT:
        if not _empty(want):
            yield f"{path}: want {want!r}, gone"
    elif not _same_scalar(want, got):
        yield f"{path}: want {want!r}, live {got!r}"


def declared(obj: Obj) -> Obj:
    """Return the part of a tree object that the live one must have; a Secret's values are nobody's business."""
    kept = {key: value for key, value in obj.items() if key not in _IGNORED}
    kept["metadata"] = {key: value for key, value in obj["metadata"].items() if key not in _IGNORED_METADATA}
    if obj["kind"] == "Secret":
        kept.pop("data", None)
        kept.pop("stringData", None)
    return kept


def without_bookkeeping(obj: Obj) -> Obj:
    """Return an object without what changes by itself."""
    kept = {key: value for key, value in obj.items() if key not in _IGNORED}
    kept["metadata"] = {key: value for key, value in obj["metadata"].items() if key not in _IGNORED_METADATA}
    return kept
