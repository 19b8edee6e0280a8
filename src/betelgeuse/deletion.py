"""An object on its way out: since when, what holds it, and what lets it go."""

from collections.abc import Mapping
from typing import Any, Final

from betelgeuse.kube import kubectl_words

_DATA: Final[Mapping[str, str]] = {
    "PersistentVolumeClaim": "it goes when no pod uses it any more",
    "PersistentVolume": "it goes with its claim",
}
"""What to wait for instead of pulling the guard away from data."""


def going(live: Mapping[str, Any] | None) -> bool:
    """Whether an object is being deleted."""
    return bool(((live or {}).get("metadata") or {}).get("deletionTimestamp"))


def _holders(live: Mapping[str, Any]) -> str:
    found = list(live["metadata"].get("finalizers") or ())
    if len(found) == 1:
        return f"; finalizer {found[0]} holds it"
    return f"; finalizers {', '.join(found)} hold it" if found else ""


def _remaining(namespace: Mapping[str, Any]) -> str:
    """Return what a namespace still waits for."""
    conditions = (namespace.get("status") or {}).get("conditions") or ()
    words = [
        str(each.get("message", "")).rstrip(". ")
        for each in conditions
        if each.get("status") == "True" and str(each.get("type", "")).endswith("Remaining")
    ]
    return "".join(f"; {each}" for each in words)


def reason(live: Mapping[str, Any]) -> str:
    """Return since when an object is being deleted and what holds it."""
    stamp = live["metadata"].get("deletionTimestamp")
    return f"is being deleted{f' since {stamp}' if stamp else ''}{_holders(live)}{_remaining(live)}"


def advice(live: Mapping[str, Any]) -> str:
    """Return what to do about an object that does not go."""
    kind = str(live.get("kind"))
    if kind in _DATA:
        return _DATA[kind]
    if not live["metadata"].get("finalizers"):
        return "it goes by itself"
    patch = """--type=merge -p '{"metadata":{"finalizers":null}}'"""
    return f"its controller lets it go; where that is gone for good: `kubectl patch {kubectl_words(live)} {patch}`"
