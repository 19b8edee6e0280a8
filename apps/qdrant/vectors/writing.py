"""What the engine answers, as JSON."""

from typing import Any

import qdrant_edge as edge

from .basics import Json


def _vector(value: object) -> object:
    """Return a vector as JSON."""
    if isinstance(value, dict):
        return {name: _vector(inner) for name, inner in value.items()}
    if isinstance(value, edge.SparseVector):
        return {"indices": value.indices, "values": value.values}
    return value


def point(record: Any) -> dict[str, object]:  # noqa: ANN401 - a point with or without a score
    """Return a point as JSON."""
    said: dict[str, object] = {"id": record.id if isinstance(record.id, int) else str(record.id)}
    if hasattr(record, "score"):
        said |= {"version": record.version, "score": record.score}
    said["payload"] = record.payload
    if record.vector is not None:
        said["vector"] = _vector(record.vector)
    if record.order_value is not None:
        said["order_value"] = record.order_value
    return said


def done(number: int) -> Json:
    """Return the answer to a change."""
    return {"operation_id": number, "status": "completed"}
