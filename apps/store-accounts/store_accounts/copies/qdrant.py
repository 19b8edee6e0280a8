"""Collections with their settings, their indices on payloads, their points, and other names of them.

By the protocol that Qdrant and our own server speak alike. A point is as it was when its page was read. Vectors that
are compared by their angle come back with the length that the store keeps: one.
"""

import json
from collections.abc import Iterator
from itertools import groupby
from typing import Any, BinaryIO, Final
from urllib.parse import quote

from store_accounts.model import Keys
from store_accounts.qdrant import Server, connected

from . import frame

_PAGE: Final = 64
"""Points that are asked for at once; with payloads of a megabyte each they fit into the memory of this pod."""
_BATCH: Final = 256
_BYTES: Final = 4 << 20
"""Points that are sent at once, and the bytes after which it is fewer: a request has 32 MiB at most."""
_SETTINGS: Final = {
    "hnsw_config": "hnsw_config",
    "optimizer_config": "optimizers_config",
    "wal_config": "wal_config",
    "quantization_config": "quantization_config",
    "strict_mode_config": "strict_mode_config",
    "metadata": "metadata",
}
"""What a collection is said to have beside its parameters, and as what it is given when one is made."""
_SERVED: Final = ("read_fan_out_factor", "read_fan_out_delay_ms")
"""Parameters that cannot be given when a collection is made."""


def _said(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return JSON without what is null: it means that nothing was said."""
    if isinstance(value, dict):
        return {key: _said(inner) for key, inner in value.items() if inner is not None}
    return value


def made_with(config: dict[str, Any]) -> dict[str, Any]:
    """Return what a collection of this configuration is made with."""
    params = {key: value for key, value in config["params"].items() if key not in _SERVED}
    settings = {given: config[shown] for shown, given in _SETTINGS.items() if config.get(shown)}
    return dict(_said({**params, **settings}))


def _path(name: str) -> str:
    return f"/collections/{quote(name, safe='')}"


def _points(server: Server, name: str) -> Iterator[dict[str, Any]]:
    offset = None
    while True:
        body = {"limit": _PAGE, "with_payload": True, "with_vector": True, "offset": offset}
        page = server.ask("POST", f"{_path(name)}/points/scroll", body)
        for found in page["points"]:
            point = {key: found[key] for key in ("id", "vector", "payload") if found.get(key) is not None}
            if isinstance(vectors := point.get("vector"), dict):
                # Named in the same order each time: what did not change is not kept twice.
                point["vector"] = dict(sorted(vectors.items()))
            yield point
        offset = page.get("next_page_offset")
        if offset is None:
            return


def dump(admin: Keys, out: BinaryIO) -> None:
    """Print every collection."""
    writer = frame.Writer(out, "qdrant")
    with connected(admin) as server:
        for name in server.names():
            info = server.ask("GET", _path(name))
            indices = {
                field: _said(found.get("params")) or found["data_type"]
                for field, found in info["payload_schema"].items()
            }
            writer.put(collection=name, made=made_with(info["config"]), indices=indices)
            for point in _points(server, name):
                writer.put(point=point)
        writer.put(aliases=server.ask("GET", "/aliases")["aliases"])
    writer.end()


def batches(points: Iterator[dict[str, Any]]) -> Iterator[str]:
    """Yield requests with some points each, as JSON."""
    rows, size = list[str](), 0
    for point in points:
        row = json.dumps(point)
        if rows and (len(rows) == _BATCH or size + len(row) > _BYTES):
            yield f'{{"points":[{",".join(rows)}]}}'
            rows, size = [], 0
        rows.append(row)
        size += len(row)
    if rows:
        yield f'{{"points":[{",".join(rows)}]}}'


def _made(server: Server, record: frame.Record) -> str:
    """Make a collection with its indices; return its path."""
    path = _path(record["collection"])
    server.ask("PUT", path, record["made"])
    for field, schema in record["indices"].items():
        server.ask("PUT", f"{path}/index?wait=true", {"field_name": field, "field_schema": schema})
    return path


def load(admin: Keys, source: BinaryIO) -> None:
    """Delete every collection, and make the copy's."""
    with connected(admin) as server:
        records = frame.read(source, "qdrant")
        for name in server.names():
            server.ask("DELETE", _path(name))
        path = ""
        for kind, found in groupby(records, key=lambda record: next(iter(record))):
            if kind == "point":
                for body in batches(record["point"] for record in found):
                    server.ask("PUT", f"{path}/points?wait=true", body)
                continue
            for record in found:
                if kind == "collection":
                    path = _made(server, record)
                elif record["aliases"]:
                    actions = [{"create_alias": alias} for alias in record["aliases"]]
                    server.ask("POST", "/collections/aliases", {"actions": actions})
