"""A refused certificate is asked for again, a few times, and nothing else is touched."""

import json
from typing import Any

import pytest

from betelgeuse import issuance
from betelgeuse.kube import ApiError, Obj
from tests.unit.fakes import FakeKube, obj

FAILED = [
    {"type": "Ready", "status": "False", "reason": "DoesNotExist"},
    {"type": "Issuing", "status": "False", "reason": "Failed"},
]
CASES = {
    "refused": (FAILED, True),
    "issued": ([{"type": "Ready", "status": "True"}], False),
    "in progress": ([FAILED[0], {"type": "Issuing", "status": "True", "reason": "DoesNotExist"}], False),
    "a renewal refused, the old one good": ([{"type": "Ready", "status": "True"}, FAILED[1]], False),
    "new": ([], False),
}


def certificate(name: str, conditions: list[dict[str, str]]) -> Obj:
    """Return a Certificate as cert-manager left it."""
    made = obj("cert-manager.io/v1", "Certificate", name, "ai", generation=3, status={"conditions": conditions})
    made["metadata"]["resourceVersion"] = "7"
    return made


class Cluster(FakeKube):
    """Takes patches of certificates' status."""

    def __init__(self, *objects: Obj) -> None:
        """Start with objects and no request made."""
        super().__init__(*objects)
        self.asked: list[tuple[str, Any]] = []
        self.conflict = False

    def request(self, method: str, path: str, *, body: Any, content_type: str) -> str:  # noqa: ANN401 - any JSON
        """Note what was asked for."""
        if self.conflict:
            message = "the object has been modified"
            raise ApiError(message, 409)
        self.asked.append((f"{method} {path} {content_type}", body))
        return json.dumps(body)


@pytest.mark.parametrize(("conditions", "expected"), CASES.values(), ids=CASES)
def test_given_up(conditions: list[dict[str, str]], *, expected: bool) -> None:
    """Only what has nothing valid and waits for its next attempt."""
    assert issuance.given_up(certificate("llm", conditions)) is expected


def test_it_is_asked_for_twice_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the version that was seen; another's certificate is left alone; a conflict does not count."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    ours = certificate("llm", FAILED)
    cluster = Cluster(ours, certificate("foreign", FAILED))
    retry = issuance.Retry(cluster.kube, [ours])
    retry.look()
    assert cluster.asked == []

    cluster.conflict = True
    now[0] += 30
    retry.look()
    cluster.conflict = False
    for _ in range(4):
        now[0] += 30
        retry.look()

    assert [where for where, _ in cluster.asked] == [
        "PATCH /apis/cert-manager.io/v1/namespaces/ai/certificates/llm/status application/merge-patch+json"
    ] * 2
    body = cluster.asked[0][1]
    assert body["metadata"] == {"resourceVersion": "7"}
    assert [(each["type"], each["status"]) for each in body["status"]["conditions"]] == [
        ("Ready", "False"),
        ("Issuing", "True"),
    ]
    assert body["status"]["conditions"][1]["observedGeneration"] == 3
