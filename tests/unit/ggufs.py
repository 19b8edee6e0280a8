"""A reader of GGUF files, by the specification, to judge the writer with."""

import math
import struct
from pathlib import Path
from typing import Any

_SCALARS = {4: "<I", 5: "<i", 6: "<f", 7: "<?"}
_TENSORS = {0: ("f", 4), 1: ("e", 2)}
_STRING, _ARRAY = 8, 9


class _Reader:
    def __init__(self, raw: bytes) -> None:
        self.raw, self.at = raw, 0

    def take(self, form: str) -> Any:  # noqa: ANN401 - whatever the format says
        (value,) = struct.unpack_from(form, self.raw, self.at)
        self.at += struct.calcsize(form)
        return value

    def string(self) -> str:
        size = self.take("<Q")
        self.at += size
        return self.raw[self.at - size : self.at].decode()

    def value(self, kind: int) -> Any:  # noqa: ANN401 - whatever the file holds
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            item, count = self.take("<I"), self.take("<Q")
            return [self.value(item) for _ in range(count)]
        return self.take(_SCALARS[kind])


def read(path: Path) -> tuple[dict[str, Any], dict[str, tuple[tuple[int, ...], list[float]]]]:
    """Return the metadata, and per tensor its shape (slowest dimension first) and values."""
    reader = _Reader(path.read_bytes())
    assert reader.raw[:4] == b"GGUF"
    reader.at = 4
    assert reader.take("<I") == 3
    tensors, pairs = reader.take("<Q"), reader.take("<Q")
    metadata = {}
    for _ in range(pairs):
        key = reader.string()
        metadata[key] = reader.value(reader.take("<I"))
    entries = []
    for _ in range(tensors):
        name = reader.string()
        shape = tuple(reader.take("<Q") for _ in range(reader.take("<I")))[::-1]
        entries.append((name, shape, reader.take("<I"), reader.take("<Q")))
    start = math.ceil(reader.at / 32) * 32
    table = {}
    for name, shape, kind, offset in entries:
        letter, _ = _TENSORS[kind]
        values = struct.unpack_from(f"<{math.prod(shape)}{letter}", reader.raw, start + offset)
        table[name] = (shape, list(values))
    return metadata, table
