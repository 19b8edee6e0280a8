"""The WSGI application: Qdrant's paths, its envelopes and its errors."""

import hmac
import json
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import unquote

import qdrant_edge as edge

from . import basics, filters, reading, writing
from .basics import Json
from .errors import RefusedError, missing, unspoken, wrong
from .store import Collection, Store

Start = Callable[[str, list[tuple[str, str]]], object]
BODY: Final = 32 << 20
"""Bytes of a request."""
VERSION: Final = "1.19.0"
"""Of the protocol, for clients that compare it with theirs."""
_ABOUT: Final[Json] = {"title": "qdrant - vector search engine", "version": VERSION}
_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    409: "Conflict",
    500: "Internal Server Error",
    501: "Not Implemented",
}
_LOG: Final = logging.getLogger("vectors")
_HEALTH: Final = frozenset({"/healthz", "/livez", "/readyz"})


def _told(error: Exception) -> str:
    """Return what is wrong with a request, in one line."""
    first = (str(error).splitlines() or [""])[0]
    return f"{first} is missing" if isinstance(error, KeyError) else first


def _refusal(text: str, begin: float) -> Json:
    return {"status": {"error": text}, "result": None, "time": time.monotonic() - begin}


class Vectors:
    """The application around a store."""

    def __init__(self, store: Store, key: str) -> None:
        """`key` opens everything; without it nothing but the health is told."""
        self._store, self._key = store, key.encode()
        name, there = "/collections/([^/]+)", "/collections/([^/]+)/points"
        self._routes: list[tuple[str, re.Pattern[str], Callable[..., object]]] = [
            (method, re.compile(path), call)
            for method, path, call in (
                ("GET", "/", self._about),
                ("GET", "/collections", self._list),
                ("POST", "/collections/aliases", self._change_aliases),
                ("GET", "/aliases", self._aliases),
                ("PUT", name, self._create),
                ("GET", name, self._info),
                ("DELETE", name, self._delete),
                ("GET", f"{name}/exists", self._exists),
                ("GET", f"{name}/aliases", self._aliases),
                ("PUT", f"{name}/index", self._index),
                ("DELETE", f"{name}/index/([^/]+)", self._unindex),
                ("PUT", there, self._upsert),
                ("POST", there, self._retrieve),
                ("GET", f"{there}/([^/]+)", self._one),
                ("POST", f"{there}/delete", self._remove),
                ("POST", f"{there}/search", self._search),
                ("POST", f"{there}/search/batch", self._searches),
                ("POST", f"{there}/query", self._query),
                ("POST", f"{there}/query/batch", self._queries),
                ("POST", f"{there}/scroll", self._scroll),
                ("POST", f"{there}/count", self._count),
                ("POST", f"{there}/payload", self._set_payload),
                ("PUT", f"{there}/payload", self._overwrite_payload),
                ("POST", f"{there}/payload/delete", self._delete_payload),
                ("POST", f"{there}/payload/clear", self._clear_payload),
            )
        ]

    def __call__(self, environ: Mapping[str, Any], start: Start) -> Iterable[bytes]:
        """Answer one request."""
        begin = time.monotonic()
        if environ.get("PATH_INFO") in _HEALTH:
            start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "0")])
            return []
        status = 200
        said: Json
        try:
            self._admit(environ)
            answer = self._answer(environ)
            # The one answer that has no envelope: clients compare the version with theirs.
            said = _ABOUT if answer is _ABOUT else {"result": answer, "status": "ok", "time": time.monotonic() - begin}
        except RefusedError as error:
            status, said = error.status, _refusal(str(error), begin)
        # The engine's errors have no classes of their own; what the server is to blame for begins with one word.
        except Exception as error:  # noqa: BLE001
            broken = isinstance(error, OSError) or str(error).startswith("Service ")
            if broken:
                _LOG.error("%s %s: %s", environ["REQUEST_METHOD"], environ.get("PATH_INFO"), error)
            status, text = (
                (500, f"Service internal error: {error}") if broken else (400, f"Wrong input: {_told(error)}")
            )
            said = _refusal(text, begin)
        body = json.dumps(said).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start(f"{status} {_REASONS[status]}", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _admit(self, environ: Mapping[str, Any]) -> None:
        bearer = environ.get("HTTP_AUTHORIZATION", "")
        given = environ.get("HTTP_API_KEY") or (bearer[7:] if bearer[:7].lower() == "bearer " else "")
        if not given:
            raise RefusedError(401, "Must provide an API key or an Authorization bearer token")
        if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self._key):
            raise RefusedError(401, "Invalid API key or JWT")

    def _answer(self, environ: Mapping[str, Any]) -> object:
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")
        method = "GET" if method == "HEAD" else method
        path = path.rstrip("/") or "/"
        for wanted, pattern, call in self._routes:
            if wanted == method and (found := pattern.fullmatch(path)):
                raw = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                body = json.loads(raw) if raw else {}
                if not isinstance(body, dict):
                    message = "the body must be a map"
                    raise wrong(message)
                return call(body, *map(unquote, found.groups()))
        message = f"{method} {path[:100]}"
        raise unspoken(message)

    def _about(self, _: Json) -> object:
        return _ABOUT

    def _list(self, _: Json) -> object:
        return {"collections": [{"name": name} for name in self._store.names()]}

    def _aliases(self, _: Json, name: str = "") -> object:
        return {
            "aliases": [
                {"alias_name": alias, "collection_name": of}
                for alias, of in sorted(self._store.aliases.items())
                if name in {"", of}
            ]
        }

    def _change_aliases(self, body: Json) -> object:
        self._store.change_aliases(basics.items(body.get("actions"), "actions"))
        return True

    def _create(self, body: Json, name: str) -> object:
        self._store.create(name, body)
        return True

    def _delete(self, _: Json, name: str) -> object:
        return self._store.delete(name)

    def _exists(self, _: Json, name: str) -> object:
        return {"exists": self._store.has(name)}

    def _info(self, _: Json, name: str) -> object:
        collection = self._store.get(name)
        info = collection.shard.info()
        return {
            "status": "green",
            "optimizer_status": "ok",
            "indexed_vectors_count": info.indexed_vectors_count,
            "points_count": info.points_count,
            "segments_count": info.segments_count,
            "config": {
                "params": {
                    "vectors": collection.made.get("vectors", {}),
                    "sparse_vectors": collection.made.get("sparse_vectors"),
                    "shard_number": 1,
                    "replication_factor": 1,
                    "write_consistency_factor": 1,
                    "on_disk_payload": False,
                },
                "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000},
                "optimizer_config": {
                    "deleted_threshold": 0.2,
                    "vacuum_min_vector_number": 1000,
                    "default_segment_number": 0,
                    "flush_interval_sec": 5,
                },
            },
            "payload_schema": {
                field: {"data_type": str(index.data_type).rpartition(".")[2].lower(), "points": index.points}
                for field, index in info.payload_schema.items()
            },
        }

    def _index(self, body: Json, name: str) -> object:
        operation = edge.UpdateOperation.create_field_index(
            body["field_name"], reading.schema(body.get("field_schema"))
        )
        return writing.done(self._store.get(name).update(operation))

    def _unindex(self, _: Json, name: str, field: str) -> object:
        return writing.done(self._store.get(name).update(edge.UpdateOperation.delete_field_index(field)))

    def _upsert(self, body: Json, name: str) -> object:
        collection = self._store.get(name)
        return writing.done(collection.update(edge.UpdateOperation.upsert_points(reading.points(body))))

    def _retrieve(self, body: Json, name: str) -> object:
        said = basics.only(body, "the request", ("ids", "with_payload", "with_vector", "shard_key"))
        found = self._store.get(name).shard.retrieve(
            basics.ids(said.get("ids")),
            reading.selection(said.get("with_payload"), default=True),
            said.get("with_vector", False),
        )
        return [writing.point(record) for record in found]

    def _one(self, _: Json, name: str, point: str) -> object:
        place = basics.point_id(int(point) if point.isdecimal() else point)
        found = self._store.get(name).shard.retrieve([place], True, True)  # noqa: FBT003 - the engine's own
        if not found:
            message = f"Point with id {point}"
            raise missing(message)
        return writing.point(found[0])

    def _remove(self, body: Json, name: str) -> object:
        collection = self._store.get(name)
        body = basics.only(body, "the request", ("points", "filter", "shard_key"))
        if "filter" in body:
            operation = edge.UpdateOperation.delete_points_by_filter(filters.filtering(body["filter"]))
        else:
            operation = edge.UpdateOperation.delete_points(basics.ids(body.get("points")))
        return writing.done(collection.update(operation))

    @staticmethod
    def _found(collection: Collection, body: Json) -> list[dict[str, object]]:
        request = reading.query(body, collection.vector)
        return [writing.point(point) for point in collection.shard.query(request)]

    def _query(self, body: Json, name: str) -> object:
        return {"points": self._found(self._store.get(name), body)}

    def _queries(self, body: Json, name: str) -> object:
        collection = self._store.get(name)
        return [{"points": self._found(collection, one)} for one in basics.items(body.get("searches"), "searches")]

    def _search(self, body: Json, name: str) -> object:
        return self._found(self._store.get(name), reading.search(body))

    def _searches(self, body: Json, name: str) -> object:
        collection = self._store.get(name)
        searches = basics.items(body.get("searches"), "searches")
        return [self._found(collection, reading.search(one)) for one in searches]

    def _scroll(self, body: Json, name: str) -> object:
        known = ("offset", "limit", "filter", "with_payload", "with_vector", "order_by", "shard_key")
        said = basics.only(body, "the request", known)
        offset = said.get("offset")
        found, further = self._store.get(name).shard.scroll(
            edge.ScrollRequest(
                offset=None if offset is None else basics.point_id(offset),
                limit=basics.number(said.get("limit", 10), "limit", 1),
                filter=filters.filtering(said.get("filter")),
                with_payload=reading.selection(said.get("with_payload"), default=True),
                with_vector=said.get("with_vector", False),
                order_by=reading.order(said.get("order_by")),
            )
        )
        following = further if further is None or isinstance(further, int) else str(further)
        return {"points": [writing.point(record) for record in found], "next_page_offset": following}

    def _count(self, body: Json, name: str) -> object:
        request = edge.CountRequest(exact=body.get("exact", True), filter=filters.filtering(body.get("filter")))
        return {"count": self._store.get(name).shard.count(request)}

    def _payload(self, name: str, deed: str, body: Json, *arguments: object) -> object:
        """Change payloads, of points by their ids or by a filter."""
        body = basics.only(body, "the request", ("payload", "keys", "points", "filter", "key", "shard_key"))
        if "filter" in body:
            operation = getattr(edge.UpdateOperation, f"{deed}_by_filter")
            return writing.done(self._store.get(name).update(operation(filters.filtering(body["filter"]), *arguments)))
        operation = getattr(edge.UpdateOperation, deed)
        return writing.done(self._store.get(name).update(operation(basics.ids(body.get("points")), *arguments)))

    def _set_payload(self, body: Json, name: str) -> object:
        return self._payload(name, "set_payload", body, body["payload"], body.get("key"))

    def _overwrite_payload(self, body: Json, name: str) -> object:
        return self._payload(name, "overwrite_payload", body, body["payload"], body.get("key"))

    def _delete_payload(self, body: Json, name: str) -> object:
        return self._payload(name, "delete_payload", body, basics.items(body.get("keys"), "keys"))

    def _clear_payload(self, body: Json, name: str) -> object:
        return self._payload(name, "clear_payload", body)
