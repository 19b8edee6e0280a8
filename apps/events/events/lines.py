"""From an event of the API to what is logged of it: pure."""

from collections.abc import Iterable
from typing import Any

Obj = dict[str, Any]


def version(obj: Obj) -> int:
    """Return the resource version; since Kubernetes 1.35, a larger one is a later one by definition."""
    return int(obj["metadata"]["resourceVersion"])


def fresh(events: Iterable[Obj], cursor: int) -> list[Obj]:
    """Return the events that are later than the cursor, oldest first."""
    return sorted((event for event in events if version(event) > cursor), key=version)


def line(event: Obj) -> Obj:
    """Return what is logged of an event; `object` is what it is about."""
    about, source = event.get("involvedObject") or {}, event.get("source") or {}
    seen = event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp")
    said = {
        "level": "warn" if event.get("type") == "Warning" else "info",
        "message": event.get("message") or "",
        "reason": event.get("reason"),
        "event": event["metadata"].get("name"),
        "object": {name: about.get(name) for name in ("kind", "namespace", "name", "fieldPath") if about.get(name)},
        "component": event.get("reportingComponent") or source.get("component"),
        "count": event.get("count") or (event.get("series") or {}).get("count") or 1,
        "time": seen,
    }
    return {name: value for name, value in said.items() if value not in (None, {})}
