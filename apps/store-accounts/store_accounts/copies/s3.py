"""Buckets with their objects as they are now; earlier versions of an object are not copied."""

import io
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from store_accounts.model import Keys
from store_accounts.s3 import connected

from . import frame

_PIECE: Final = 1 << 20


def _objects(client: Any, bucket: str) -> Iterator[str]:  # noqa: ANN401 - boto3 makes its clients as it runs
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        yield from (found["Key"] for found in page.get("Contents", ()))


def dump(admin: Keys, out: BinaryIO) -> None:
    """Print every object of every bucket."""
    writer = frame.Writer(out, "s3")
    with connected(admin) as server:
        client = server.s3
        for bucket in sorted(found["Name"] for found in client.list_buckets()["Buckets"]):
            writer.put(bucket=bucket)
            for key in _objects(client, bucket):
                found = client.get_object(Bucket=bucket, Key=key)
                writer.put(object=key, type=found.get("ContentType", ""), metadata=found["Metadata"])
                for piece in found["Body"].iter_chunks(_PIECE):
                    writer.put(data=frame.text(piece))
                writer.put(done=key)
    writer.end()


class _Body(io.RawIOBase):
    """The pieces of one object as a file."""

    def __init__(self, records: Iterator[frame.Record]) -> None:
        self._records, self._rest, self._over = records, b"", False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - a writable buffer
        while not self._rest and not self._over:
            record = next(self._records)
            self._over = "done" in record
            self._rest = b"" if self._over else frame.data(record["data"]) or b""
        piece = self._rest[: len(buffer)]
        buffer[: len(piece)] = piece
        self._rest = self._rest[len(piece) :]
        return len(piece)


def _empty(client: Any, bucket: str) -> None:  # noqa: ANN401 - as above
    for key in list(_objects(client, bucket)):
        client.delete_object(Bucket=bucket, Key=key)


def load(admin: Keys, source: BinaryIO) -> None:
    """Empty every bucket, and put back what the copy has. A bucket that it has not stays, empty."""
    with connected(admin) as server:
        client = server.s3
        there = [found["Name"] for found in client.list_buckets()["Buckets"]]
        for bucket in there:
            _empty(client, bucket)
        bucket, records = "", frame.read(source, "s3")
        for record in records:
            if "bucket" in record:
                bucket = record["bucket"]
                if bucket not in there:
                    client.create_bucket(Bucket=bucket)
                continue
            extra = {"Metadata": record["metadata"]}
            if record["type"]:
                extra["ContentType"] = record["type"]
            # Buffered: uploads in parts ask for whole parts.
            client.upload_fileobj(io.BufferedReader(_Body(records), _PIECE), bucket, record["object"], ExtraArgs=extra)
