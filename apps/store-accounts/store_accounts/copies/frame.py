"""The form of a stream: a line of JSON for each thing, between one that names the store and one that ends it."""

import base64
import json
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from store_accounts.model import StoreError

_FORMAT: Final = 1
Record = dict[str, Any]


class Writer:
    """Writes one stream."""

    def __init__(self, out: BinaryIO, store: str) -> None:
        """Begin it."""
        self._out, self._count = out, 0
        self._line({"store": store, "format": _FORMAT})

    def _line(self, record: Record) -> None:
        self._out.write(json.dumps(record, separators=(",", ":")).encode() + b"\n")

    def put(self, **record: Any) -> None:  # noqa: ANN401 - whatever JSON holds
        """Write one thing."""
        self._line(record)
        self._count += 1

    def end(self) -> None:
        """Say that nothing is missing."""
        self._line({"end": self._count})
        self._out.flush()


def read(source: BinaryIO, store: str) -> Iterator[Record]:
    """Return the things of a stream; StoreError where it is another store's, and on the way where it is cut short."""
    try:
        head = json.loads(source.readline() or b"{}")
    except ValueError:
        head = {}
    if head != {"store": store, "format": _FORMAT}:
        message = f"this is no copy of {store}"
        raise StoreError(message)
    return _things(source, store)


def _things(source: BinaryIO, store: str) -> Iterator[Record]:
    count = 0
    for line in source:
        record: Record = json.loads(line)
        if "end" in record and len(record) == 1:
            if record["end"] == count:
                return
            break
        count += 1
        yield record
    message = f"the copy of {store} is cut short after {count} records"
    raise StoreError(message)


def text(data: bytes | None) -> str | None:
    """Return bytes as JSON can hold them; None stays None."""
    return None if data is None else base64.b64encode(data).decode()


def data(text: str | None) -> bytes | None:
    """Return the bytes again."""
    return None if text is None else base64.b64decode(text)
