"""GGUF files are what llama.cpp's format says: read back here by the specification, not by our writer."""

import math
import struct
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from betelgeuse.builds import gguf
from tests.unit.ggufs import read


def test_file_reads_back(tmp_path: Path) -> None:
    """Every type of metadata and every tensor come back as they went in."""
    metadata: dict[str, gguf.Value] = {
        "name": "móðel",
        "size": 7,
        "epsilon": 0.5,
        "causal": False,
        "tokens": ["a", "▁b", ""],
        "types": [1, 3, -1],
    }
    tensors = [
        gguf.Tensor("odd", (3,), struct.pack("<3f", 1, 2, 3)),
        gguf.Tensor("matrix", (2, 3), gguf.halve(struct.pack("<6f", *range(6))), gguf.F16),
    ]
    path = tmp_path / "m.gguf"

    gguf.write(path, metadata, tensors)

    found, table = read(path)
    assert found == metadata
    assert table == {"odd": ((3,), [1.0, 2.0, 3.0]), "matrix": ((2, 3), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0])}


def test_tensor_data_is_aligned(tmp_path: Path) -> None:
    """Data starts and ends on 32 bytes, as a memory map of the file needs it."""
    path = tmp_path / "m.gguf"

    gguf.write(path, {"k": "v"}, [gguf.Tensor("t", (1,), struct.pack("<f", 1))])

    assert path.stat().st_size % gguf.ALIGNMENT == 0


def test_same_input_same_bytes(tmp_path: Path) -> None:
    """The store's key is enough to name the file: nothing of the time or the machine is in it."""
    arguments: tuple[dict[str, Any], list[gguf.Tensor]] = ({"k": 1}, [gguf.Tensor("t", (1,), bytes(4))])
    for name in "ab":
        gguf.write(tmp_path / name, *arguments)

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@given(st.lists(st.floats(min_value=-60000, max_value=60000, width=32), min_size=1, max_size=40))
def test_halving_keeps_three_digits(values: list[float]) -> None:
    """float16 has 11 significant bits, and subnormals of 2^-24."""
    halves = struct.unpack(f"<{len(values)}e", gguf.halve(struct.pack(f"<{len(values)}f", *values)))

    assert all(math.isclose(a, b, rel_tol=2**-11, abs_tol=2**-24) for a, b in zip(values, halves, strict=True))
