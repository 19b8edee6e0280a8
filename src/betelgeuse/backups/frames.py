"""Whether a stream of a store's client is whole, before the store is emptied for it.

Its form is apps/store-accounts' (copies/frame.py): lines of JSON, the first names the store and the form, the last one
counts those in between.
"""

import json
from pathlib import Path
from typing import Any, Final

from betelgeuse.errors import BetelgeuseError

_FORMAT: Final = 1


def _read(line: bytes) -> Any:  # noqa: ANN401 - whatever JSON holds
    try:
        return json.loads(line)
    except ValueError:
        return None


def verify(store: str, stream: Path) -> None:
    """Raise BetelgeuseError where a stream is another store's, or cut short."""
    with stream.open("rb") as lines:
        head = _read(next(lines, b""))
        count, last = 0, b""
        for line in lines:
            count, last = count + 1, line
    if head != {"store": store, "format": _FORMAT}:
        message = f"this is no copy of {store}: the store was not touched"
        raise BetelgeuseError(message)
    if _read(last) != {"end": count - 1}:
        message = f"the copy of {store} is cut short after {count} lines: the store was not touched"
        raise BetelgeuseError(message)
