"""Copies of the stores by their clients: the form of a stream, and what may not be bent on the way."""

import io
import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from neo4j.spatial import CartesianPoint, WGS84Point
from neo4j.time import Date, DateTime, Duration, Time
from store_accounts import qdrant as accounts
from store_accounts.copies import frame, neo4j, qdrant
from store_accounts.model import Account, StoreError

from betelgeuse.backups import frames
from betelgeuse.errors import BetelgeuseError


def _stream(*records: dict[str, Any], store: str = "kafka") -> bytes:
    out = io.BytesIO()
    writer = frame.Writer(out, store)
    for record in records:
        writer.put(**record)
    writer.end()
    return out.getvalue()


def test_a_stream_is_read_as_it_was_written() -> None:
    """Records come back in their order, bytes and None as they were."""
    values = [b"", bytes(range(256)), None]
    whole = _stream(*({"value": frame.text(value)} for value in values))

    assert [frame.data(record["value"]) for record in frame.read(io.BytesIO(whole), "kafka")] == values


@pytest.mark.parametrize("lines", [1, 2, 3])
def test_a_stream_that_is_cut_is_told(lines: int) -> None:
    """Without its last line, or with another count than was written, a copy is not whole."""
    whole = _stream({"value": "a"}, {"value": "b"}).splitlines(keepends=True)

    with pytest.raises(StoreError, match="the copy of kafka is cut short after"):
        list(frame.read(io.BytesIO(b"".join(whole[:lines])), "kafka"))
    with pytest.raises(StoreError, match="is cut short after 1 records"):
        list(frame.read(io.BytesIO(b"".join([*whole[:2], whole[-1]])), "kafka"))


@pytest.mark.parametrize("stream", [b"", b"-- databases", b"[]\n", _stream(store="s3")])
def test_another_stores_stream_is_refused(stream: bytes) -> None:
    """What is no copy of this store is refused at its first line, before anything else of it is asked for."""
    with pytest.raises(StoreError, match="this is no copy of kafka"):
        frame.read(io.BytesIO(stream), "kafka")


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        1,
        0.5,
        "ä\n",
        [1, 2],
        b"\x00\xff",
        Date(2026, 11, 28),
        Time(12, 30, 1, 5),
        DateTime(2026, 11, 28, 12, 30, 1, 123456789),
        Duration(months=1, days=2, seconds=3, nanoseconds=4),
        WGS84Point((1.5, 2.5)),
        CartesianPoint((1.0, 2.0, 3.0)),
        [Date(2026, 1, 1)],
    ],
)
def test_a_property_comes_back_as_it_was(value: object) -> None:
    """Every kind of property of the graph survives JSON."""
    plain = neo4j.plain(value)
    again = neo4j.again(plain)

    assert again == value
    assert type(again) is type(value)


_CONFIG = {
    "params": {
        "vectors": {"size": 3, "distance": "Dot", "on_disk": None},
        "sparse_vectors": None,
        "shard_number": 1,
        "read_fan_out_factor": 2,
    },
    "hnsw_config": {"m": 16, "max_indexing_threads": 0},
    "optimizer_config": {"flush_interval_sec": 5, "memmap_threshold": None},
    "quantization_config": None,
    "wal_config": {"wal_capacity_mb": 32},
}


def test_a_collection_is_made_with_what_it_is_said_to_have() -> None:
    """By the names that making one takes, without what it does not take and what nobody said."""
    assert qdrant.made_with(_CONFIG) == {
        "vectors": {"size": 3, "distance": "Dot"},
        "shard_number": 1,
        "hnsw_config": {"m": 16, "max_indexing_threads": 0},
        "optimizers_config": {"flush_interval_sec": 5},
        "wal_config": {"wal_capacity_mb": 32},
    }


@pytest.mark.parametrize(("points", "wide", "sizes"), [(0, 1, []), (600, 1, [256, 256, 88]), (3, 3 << 20, [1, 1, 1])])
def test_points_are_sent_in_requests_of_a_size(points: int, wide: int, sizes: list[int]) -> None:
    """Some hundred at once, fewer where they are large; none is lost and none is twice."""
    rows = [{"id": number, "payload": {"text": "x" * wide}} for number in range(points)]

    sent = [json.loads(body)["points"] for body in qdrant.batches(iter(rows))]

    assert [len(one) for one in sent] == sizes
    assert [row for one in sent for row in one] == rows


def test_a_store_without_accounts_refuses_them() -> None:
    """Qdrant has one key; who declares an account is told by the Secret's name, before anything is asked."""
    with pytest.raises(StoreError, match="apps/wiki: qdrant has one key and no accounts"):
        accounts.reconcile({}, [Account("wiki", "word", {}, "apps/wiki")])


@pytest.mark.parametrize(
    ("stream", "fault"),
    [
        (_stream({"value": "a"}, {"value": "b"}), ""),
        (_stream(), ""),
        (b"", "no copy of kafka"),
        (b"-- databases", "no copy of kafka"),
        (_stream(store="s3"), "no copy of kafka"),
        (_stream({"value": "a"})[:10], "no copy of kafka"),
        (_stream({"value": "a"}).splitlines(keepends=True)[0], "cut short after 0 lines"),
        (_stream({"value": "a"}, {"value": "b"})[:-12], "cut short after 2 lines"),
        (_stream({"value": "a"}, {"value": "b"})[:-3], "cut short"),
        (_stream({"value": "a"}) + b"{}\n", "cut short"),
    ],
)
def test_a_stream_is_verified_before_a_store_is_emptied(tmp_path: Path, stream: bytes, fault: str) -> None:
    """Empty, foreign, cut in a line or between two: told by the tool, which has the whole of it."""
    spool = tmp_path / "copy"
    spool.write_bytes(stream)

    with pytest.raises(BetelgeuseError, match=f"{fault}.*the store was not touched") if fault else nullcontext():
        frames.verify("kafka", spool)
