"""What an apply would change, for people: a unified diff without noise, and without any secret."""

import difflib
import re
from collections.abc import Mapping
from typing import Any, Final

from betelgeuse import yamls
from betelgeuse.kube import Obj, describe

_NOISE: Final = frozenset(
    {"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink", "deletionTimestamp"}
)
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
"""Holds a whole object once more, a Secret's values included."""
_SECRET_FIELDS: Final = ("data", "stringData")
_PEM_KEY: Final = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL)


def quiet(obj: Mapping[str, Any]) -> Obj:
    """Return an object without what the server writes on its own."""
    meta = {key: value for key, value in obj["metadata"].items() if key not in _NOISE}
    annotations = {key: value for key, value in (meta.get("annotations") or {}).items() if key != _LAST_APPLIED}
    meta = {key: value for key, value in meta.items() if key != "annotations"}
    if annotations:
        meta["annotations"] = annotations
    return {key: value for key, value in obj.items() if key not in {"status", "metadata"}} | {"metadata": meta}


def masked(before: Obj | None, after: Obj | None) -> tuple[Obj | None, Obj | None]:
    """Return a Secret's two versions with its values hidden: whether a value changed shows, the value does not."""
    sides: list[Obj | None] = []
    for side, other, word in ((before, after, "before"), (after, before, "after")):
        if side is None or side.get("kind") != "Secret":
            sides.append(side)
            continue
        hidden: Obj = dict(side)
        for name in _SECRET_FIELDS:
            values, others = side.get(name) or {}, (other or {}).get(name) or {}
            if values:
                hidden[name] = {
                    key: "***" if other is None or others.get(key) == value else f"*** ({word})"
                    for key, value in values.items()
                }
        sides.append(hidden)
    return sides[0], sides[1]


def _sorted(value: Any) -> Any:  # noqa: ANN401 - plain data of any shape
    """Return data with its keys in order: the order of keys is no change."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(entry) for entry in value] if isinstance(value, list) else value


def _text(obj: Obj | None) -> list[str]:
    if obj is None:
        return []
    tidy = _sorted(obj)
    first = {key: tidy[key] for key in ("apiVersion", "kind", "metadata") if key in tidy}
    text = yamls.dump([first | tidy])
    return _PEM_KEY.sub("*** (private key)", text).splitlines()


def unified(before: Obj | None, after: Obj | None) -> str:
    """Return the diff of one object, empty when nothing would change; None stands for an absent object."""
    old, new = masked(None if before is None else quiet(before), None if after is None else quiet(after))
    named = after or before
    if named is None:
        return ""
    title = describe(named)
    lines = difflib.unified_diff(
        _text(old),
        _text(new),
        f"{title} (live)" if before is not None else "(absent)",
        f"{title} (tree)" if after is not None else "(deleted)",
        lineterm="",
    )
    return "\n".join(lines)
