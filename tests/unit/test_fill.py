"""How full volumes are: what kubelets tell, and what people are told."""

import json
from typing import Any, cast

import pytest

from betelgeuse import fill
from betelgeuse.errors import BetelgeuseError
from betelgeuse.fill import Volume
from betelgeuse.workflows.status import report, table
from tests.unit.fakes import FakeKube, obj
from tests.unit.test_apply_tree import SETTINGS

_GIB = 1 << 30


def _volume(claim: str, used: int, left: int) -> dict[str, Any]:
    return {
        "name": "data",
        "pvcRef": {"name": claim, "namespace": "db"},
        "usedBytes": used,
        "availableBytes": left,
        # Of a disk that keeps something back, more than both.
        "capacityBytes": 2 * (used + left),
    }


class _Kube:
    """Two nodes, of which one does not answer."""

    def list(self, *_: str) -> list[Any]:
        return [{"metadata": {"name": name}} for name in ("n1", "n2")]

    def request(self, _: str, path: str) -> bytes:
        if "n2" in path:
            message = "the kubelet is away"
            raise BetelgeuseError(message)
        ours = [_volume("a", _GIB, 3 * _GIB), {"name": "tmp", "usedBytes": 1, "availableBytes": 1}]
        fresh = {"name": "data", "pvcRef": {"name": "new", "namespace": "db"}}
        pods = [{"volume": ours}, {}, {"volume": [_volume("b", 9 * _GIB, _GIB), fresh]}]
        return json.dumps({"pods": pods}).encode()


def test_volumes_of_claims_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    """The fullest first; others than claims', and those not measured yet, are left out; a silent node is named."""
    found = fill.volumes(cast("Any", _Kube()))

    assert [str(one) for one in found] == ["db/b is 90% full, 1.0 GiB left", "db/a is 25% full, 3.0 GiB left"]
    assert "node n2 does not tell how full its volumes are: the kubelet is away" in capsys.readouterr().err


def test_nearly_full_ones_are_named() -> None:
    """One line for all, and one for each that needs a look."""
    found = [Volume("db", "b", 95, 5), Volume("db", "c", 85, 15), Volume("db", "a", 84, 16)]

    assert fill.lines(found) == [
        "3 volumes, the fullest db/b is 95% full, 0.0 GiB left",
        "db/c is 85% full, 0.0 GiB left",
    ]
    assert fill.lines([]) == []
    assert Volume("db", "empty", 0, 0).share == 0


def test_status_tells_them() -> None:
    """For people and as data."""
    node = obj("v1", "Node", "n1", status={"conditions": [{"type": "Ready", "status": "True"}]})
    found = report(FakeKube(node).kube, [], volumes=[Volume("db", "b", _GIB, _GIB)])

    assert found["volumes"] == [{"namespace": "db", "claim": "b", "used": _GIB, "left": _GIB}]
    assert "  1 volumes, the fullest db/b is 50% full, 1.0 GiB left" in table(SETTINGS, found).splitlines()
