"""Indices with their mappings, settings, aliases and documents; the server's own (`.name`) are left alone."""

from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from opensearchpy import OpenSearch
from opensearchpy.helpers import bulk, scan

from store_accounts.model import Keys
from store_accounts.opensearch import connected

from . import frame

_MADE: Final = frozenset({"creation_date", "uuid", "version", "provided_name", "replication", "resize", "routing"})
"""Settings that an index gets when it is made."""


def _indices(client: OpenSearch) -> dict[str, Any]:
    return {name: found for name, found in client.indices.get(index="*").items() if not name.startswith(".")}


def dump(admin: Keys, out: BinaryIO) -> None:
    """Print every index."""
    writer = frame.Writer(out, "opensearch")
    with connected(admin) as client:
        for name, found in sorted(_indices(client).items()):
            settings = {key: value for key, value in found["settings"]["index"].items() if key not in _MADE}
            writer.put(index=name, mappings=found["mappings"], settings=settings, aliases=found["aliases"])
            client.indices.refresh(index=name)
            for document in scan(client, index=name, size=500):
                writer.put(id=document["_id"], source=document["_source"], routing=document.get("_routing"))
    writer.end()


def _actions(client: OpenSearch, records: Iterator[frame.Record]) -> Iterator[dict[str, Any]]:
    """Make the indices on the way, and yield their documents."""
    index = ""
    for record in records:
        if "index" in record:
            index = record["index"]
            body = {key: record[key] for key in ("mappings", "settings", "aliases")}
            client.indices.create(index=index, body=body)
            continue
        action = {"_op_type": "index", "_index": index, "_id": record["id"], "_source": record["source"]}
        yield action if record["routing"] is None else {**action, "routing": record["routing"]}


def load(admin: Keys, source: BinaryIO) -> None:
    """Delete every index, and make the copy's."""
    with connected(admin) as client:
        records = frame.read(source, "opensearch")
        for name in _indices(client):
            client.indices.delete(index=name)
        bulk(client, _actions(client, records), chunk_size=500, refresh=True)
