"""Write GGUF version 3, llama.cpp's model file: header, metadata, tensor table, aligned tensor data."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MAGIC: Final = b"GGUF"
VERSION: Final = 3
# The format's default when the file names no `general.alignment`.
ALIGNMENT: Final = 32

# Type codes of metadata values and of tensors, from the format's specification.
_UINT32, _INT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9
F32: Final = 0
F16: Final = 1

Scalar = str | bool | int | float
Value = Scalar | Sequence[str] | Sequence[int]


@dataclass(frozen=True)
class Tensor:
    """Little-endian data of one type (F32, F16); shape as in safetensors: slowest dimension first."""

    name: str
    shape: tuple[int, ...]
    data: bytes | memoryview
    kind: int = F32


def halve(data: bytes | memoryview) -> bytes:
    """Round little-endian float32 data to float16, a slice at a time: whole tensors as Python floats are gigabytes."""
    step = 1 << 18
    slices = (data[start : start + step] for start in range(0, len(data), step))
    return b"".join(struct.pack(f"<{len(part) // 4}e", *struct.unpack(f"<{len(part) // 4}f", part)) for part in slices)


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _scalar(value: Scalar) -> bytes:
    # bool before int: a bool is an int in Python, and a type of its own in the file.
    if isinstance(value, bool):
        return struct.pack("<I?", _BOOL, value)
    if isinstance(value, int):
        return struct.pack("<II", _UINT32, value)
    if isinstance(value, float):
        return struct.pack("<If", _FLOAT32, value)
    return struct.pack("<I", _STRING) + _string(value)


def _value(value: Value) -> bytes:
    if isinstance(value, str | bool | int | float):
        return _scalar(value)
    strings = [item for item in value if isinstance(item, str)]
    if strings:
        items = b"".join(map(_string, strings))
        return struct.pack("<IIQ", _ARRAY, _STRING, len(strings)) + items
    numbers = [int(item) for item in value]
    return struct.pack(f"<IIQ{len(numbers)}i", _ARRAY, _INT32, len(numbers), *numbers)


def _padding(size: int) -> int:
    return -size % ALIGNMENT


def write(path: Path, metadata: Mapping[str, Value], tensors: Sequence[Tensor]) -> None:
    """Write one model file; the same input gives the same bytes."""
    table, offset = bytearray(), 0
    for tensor in tensors:
        # The file lists the fastest dimension first.
        dims = tensor.shape[::-1]
        table += _string(tensor.name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, tensor.kind, offset)
        size = len(tensor.data)
        offset += size + _padding(size)
    head = MAGIC + struct.pack("<IQQ", VERSION, len(tensors), len(metadata))
    head += b"".join(_string(key) + _value(value) for key, value in metadata.items()) + table
    with path.open("wb") as file:
        file.write(head + bytes(_padding(len(head))))
        for tensor in tensors:
            file.write(tensor.data)
            file.write(bytes(_padding(len(tensor.data))))
