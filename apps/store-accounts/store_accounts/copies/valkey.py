"""Valkey's keys, each as the server itself serialises it, with the time it has left."""

from typing import BinaryIO

from store_accounts.model import Keys
from store_accounts.valkey import connected

from . import frame


def dump(admin: Keys, out: BinaryIO) -> None:
    """Print every key."""
    writer = frame.Writer(out, "valkey")
    with connected(admin, decode=False) as client:
        for key in client.scan_iter(count=1000):
            value, left = client.dump(key), client.pttl(key)
            # One that expired in between is none.
            if value is not None:
                writer.put(key=frame.text(key), value=frame.text(value), left=max(left, 0))
    writer.end()


def load(admin: Keys, source: BinaryIO) -> None:
    """Drop every key, and set those of the copy."""
    with connected(admin, decode=False) as client:
        client.flushall()
        for record in frame.read(source, "valkey"):
            client.restore(frame.data(record["key"]), record["left"], frame.data(record["value"]), replace=True)
