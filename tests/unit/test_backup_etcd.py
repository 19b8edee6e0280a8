"""Copies of the control plane: what is no copy of this cluster is refused before anything is touched."""

import hashlib
from pathlib import Path

import pytest

from betelgeuse.clusters.local import etcd
from betelgeuse.errors import RefusedError

_CA = "a" * 64
_DATA = bytes(range(256)) * 9000
"""More than is read at once."""
_SNAPSHOT = _DATA + hashlib.sha256(_DATA).digest()


def _copy(folder: Path, content: bytes) -> Path:
    file = folder / "copy"
    file.write_bytes(content)
    return file


def test_a_snapshot_comes_out_as_it_went_in(tmp_path: Path) -> None:
    """Behind the line that says whose it is."""
    copy = _copy(tmp_path, f"etcd {_CA}\n".encode() + _SNAPSHOT)

    etcd.unpack(copy, _CA, tmp_path / "db")

    assert (tmp_path / "db").read_bytes() == _SNAPSHOT


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "this is no copy of an etcd"),
        (b"-- databases\n", "this is no copy of an etcd"),
        (b"etcd " + b"b" * 64 + b"\n" + _SNAPSHOT, "a cluster with another CA"),
        (f"etcd {_CA}\n".encode(), "cut short or bent"),
        (f"etcd {_CA}\n".encode() + _SNAPSHOT[:-1], "cut short or bent"),
        (f"etcd {_CA}\n".encode() + b"x" + _SNAPSHOT[1:], "cut short or bent"),
        (f"etcd {_CA}\n".encode() + _SNAPSHOT + b"x", "cut short or bent"),
    ],
    ids=["empty", "foreign", "another cluster's", "no data", "cut", "bent", "more"],
)
def test_a_copy_that_cannot_be_used_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    """With the reason, and the word that nothing was changed."""
    with pytest.raises(RefusedError, match=said) as caught:
        etcd.unpack(_copy(tmp_path, content), _CA, tmp_path / "db")

    assert str(caught.value).endswith("; nothing was changed")
