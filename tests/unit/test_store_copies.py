"""Copies of the stores by their clients: the form of a stream, and what may not be bent on the way."""

import io
from typing import Any

import pytest
from neo4j.spatial import CartesianPoint, WGS84Point
from neo4j.time import Date, DateTime, Duration, Time
from store_accounts.copies import frame, neo4j
from store_accounts.model import StoreError


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
    """What is no copy of this store is refused at its first line."""
    with pytest.raises(StoreError, match="this is no copy of kafka"):
        list(frame.read(io.BytesIO(stream), "kafka"))


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
