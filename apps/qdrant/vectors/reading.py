"""Requests in JSON, to what the engine takes: points, vectors, queries, settings."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import qdrant_edge as edge

from .basics import Json, PointId, ids, items, number, only, point_id
from .errors import wrong
from .filters import filtering

Lookup = Callable[[PointId, str], Any]
"""The vector of a stored point, by its id and the vector's name."""

_DISTANCES: Final = {name: getattr(edge.Distance, name) for name in ("Cosine", "Dot", "Euclid", "Manhattan")}
_SCHEMAS: Final = ("keyword", "integer", "float", "geo", "text", "bool", "datetime", "uuid")
_ON_DISK: Final = (
    "hnsw_config",
    "optimizers_config",
    "wal_config",
    "quantization_config",
    "on_disk",
    "on_disk_payload",
    "shard_number",
    "replication_factor",
    "write_consistency_factor",
)
"""How a collection lies on disks: taken, and without effect on answers."""
_LIMIT: Final = 10


def _dense(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in value)


def _one_vector(value: object) -> Any:  # noqa: ANN401 - a vector of any kind
    if _dense(value) or (isinstance(value, list) and value and all(_dense(row) for row in value)):
        return value
    if isinstance(value, Mapping) and set(value) == {"indices", "values"}:
        return edge.SparseVector(list(value["indices"]), list(value["values"]))
    message = "a vector must be a list of numbers, or a map of indices and values"
    raise wrong(message)


def vectors(value: object) -> Any:  # noqa: ANN401 - one vector of any kind, or several by name
    """Return the vectors of a point."""
    if isinstance(value, Mapping) and set(value) != {"indices", "values"}:
        return {name: _one_vector(inner) for name, inner in value.items()}
    return _one_vector(value)


def points(body: Json) -> list[Any]:
    """Return the points of an upsert, given one by one or by columns."""
    body = only(body, "the request", ("points", "batch", "shard_key"))
    if "batch" in body:
        batch = only(body["batch"], "batch", ("ids", "vectors", "payloads"))
        found = ids(batch.get("ids"))
        rows, given = batch.get("vectors"), batch.get("payloads") or [None] * len(found)
        if isinstance(rows, Mapping):
            rows = [{name: column[at] for name, column in rows.items()} for at in range(len(found))]
        if not isinstance(rows, list) or not len(found) == len(rows) == len(given):
            message = "batch must have as many vectors and payloads as ids"
            raise wrong(message)
        return [edge.Point(one, vectors(row), load or {}) for one, row, load in zip(found, rows, given, strict=True)]
    return [
        edge.Point(point_id(point.get("id")), vectors(point.get("vector", {})), point.get("payload") or {})
        for point in (
            only(each, "a point", ("id", "vector", "payload")) for each in items(body.get("points"), "points")
        )
    ]


def selection(value: object, *, default: bool) -> Any:  # noqa: ANN401 - yes, no, or which
    """Return which parts of a payload are wanted."""
    if value is None:
        return default
    if isinstance(value, Mapping):
        chosen = only(value, "with_payload", ("include", "exclude"))
        if "exclude" in chosen:
            return edge.PayloadSelector.Exclude(chosen["exclude"])
        return edge.PayloadSelector.Include(chosen.get("include", []))
    return value


def order(value: object) -> edge.OrderBy | None:
    """Return by what a list is sorted; none where that was not said."""
    if value is None:
        return None
    said = {"key": value} if isinstance(value, str) else only(value, "order_by", ("key", "direction", "start_from"))
    direction = edge.Direction.Desc if said.get("direction") == "desc" else edge.Direction.Asc
    return edge.OrderBy(said["key"], direction, said.get("start_from"))


def _wanted(value: object, using: str | None, lookup: Lookup) -> Any:  # noqa: ANN401 - one of several classes
    """Return what a query looks for; a point's id stands for its vector."""
    if value is None:
        return None
    if isinstance(value, Mapping) and set(value) != {"indices", "values"}:
        said = only(value, "query", ("nearest", "fusion", "order_by", "sample"))
        if "fusion" in said:
            return {"rrf": edge.Fusion.Rrf(60), "dbsf": edge.Fusion.Dbsf()}[said["fusion"]]
        if "order_by" in said:
            return order(said["order_by"])
        if "sample" in said:
            return edge.Sample.Random
        value = said["nearest"]
    if isinstance(value, (int, str)) and not isinstance(value, bool):
        return edge.Query.Nearest(lookup(point_id(value), using or ""), using)
    return edge.Query.Nearest(_one_vector(value), using)


def _params(value: object) -> edge.SearchParams | None:
    if value is None:
        return None
    return edge.SearchParams(**only(value, "params", ("hnsw_ef", "exact", "indexed_only")))


def _prefetches(value: object, lookup: Lookup) -> list[Any] | None:
    if value is None:
        return None
    known = ("prefetch", "query", "using", "filter", "params", "score_threshold", "limit")
    found = [only(one, "prefetch", known) for one in (value if isinstance(value, list) else [value])]
    return [
        edge.Prefetch(
            limit=number(one.get("limit", _LIMIT), "limit", 1),
            query=_wanted(one.get("query"), one.get("using"), lookup),
            prefetches=_prefetches(one.get("prefetch"), lookup),
            params=_params(one.get("params")),
            filter=filtering(one.get("filter")),
            score_threshold=one.get("score_threshold"),
        )
        for one in found
    ]


_QUERY: Final = ("prefetch", "query", "using", "filter", "params", "score_threshold", "limit", "offset")
_SHOWN: Final = ("with_vector", "with_payload", "shard_key")


def query(body: Json, lookup: Lookup) -> edge.QueryRequest:
    """Return a query of points."""
    said = only(body, "the query", (*_QUERY, *_SHOWN))
    return edge.QueryRequest(
        limit=number(said.get("limit", _LIMIT), "limit", 1),
        offset=number(said.get("offset", 0), "offset"),
        query=_wanted(said.get("query"), said.get("using"), lookup),
        prefetches=_prefetches(said.get("prefetch"), lookup),
        with_vector=said.get("with_vector", False),
        with_payload=selection(said.get("with_payload"), default=False),
        filter=filtering(said.get("filter")),
        score_threshold=said.get("score_threshold"),
        params=_params(said.get("params")),
    )


def search(body: Json) -> Json:
    """Return the query that a search of the older protocol means."""
    said = dict(only(body, "the search", ("vector", "filter", "params", "score_threshold", "limit", "offset", *_SHOWN)))
    vector = said.pop("vector", None)
    if isinstance(vector, Mapping) and "name" in vector:
        said["using"], vector = vector["name"], vector["vector"]
    if vector is None:
        message = "vector is missing"
        raise wrong(message)
    return said | {"query": vector}


def _one_config(value: object) -> edge.EdgeVectorParams:
    """Return the settings of a vector; how it lies on the disk is this server's own business."""
    said = only(value, "vectors", ("size", "distance", *_ON_DISK))
    if said.get("distance") not in _DISTANCES:
        message = f"distance must be one of {', '.join(_DISTANCES)}"
        raise wrong(message)
    return edge.EdgeVectorParams(number(said.get("size"), "size", 1), _DISTANCES[said["distance"]])


def config(body: Json) -> edge.EdgeConfig:
    """Return the settings of a new collection."""
    body = only(body, "the collection", ("vectors", "sparse_vectors", *_ON_DISK))
    said = body.get("vectors") or {}
    named = isinstance(said, Mapping) and "size" not in said
    sparse = {
        name: edge.EdgeSparseVectorParams(
            modifier=edge.Modifier.Idf if (given or {}).get("modifier") == "idf" else None
        )
        for name, given in (body.get("sparse_vectors") or {}).items()
    }
    dense = {name: _one_config(inner) for name, inner in said.items()} if named else _one_config(said)
    return edge.EdgeConfig(vectors=dense, sparse_vectors=sparse or None)


def schema(value: object) -> Any:  # noqa: ANN401 - an enumeration of the engine's
    """Return the kind of an index on a payload's field."""
    name = value.get("type") if isinstance(value, Mapping) else value
    if name not in _SCHEMAS:
        message = f"field_schema must be one of {', '.join(_SCHEMAS)}"
        raise wrong(message)
    return getattr(edge.PayloadSchemaType, str(name).capitalize())
