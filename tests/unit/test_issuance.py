"""A refused certificate is asked for again, a few times, and nothing else is touched."""

import base64
import json
from functools import partial
from typing import Any

import pytest

from betelgeuse import issuance
from betelgeuse.certificate import self_signed
from betelgeuse.errors import WaitTimeoutError
from betelgeuse.kube import ApiError, Obj
from tests.unit.fakes import FakeKube, Step, obj

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
    spec = {"secretName": f"{name}-tls", "issuerRef": {"name": "platform"}}
    made = obj("cert-manager.io/v1", "Certificate", name, "ai", generation=3, spec=spec)
    made["status"] = {"conditions": conditions}
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
    retry = issuance.Retry(cluster.kube, [ours], lambda: False)
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


def test_an_issuer_that_started_anew_is_registered_with_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it would refuse for want of an account is asked for when there is one, and no attempt is spent before."""
    now, anew = [0.0], [True, False, False, False, False]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    cluster = Cluster(ours := certificate("llm", FAILED))
    retry = issuance.Retry(cluster.kube, [ours], lambda: anew.pop(0))
    counts = []
    for _ in range(4):
        now[0] += 30
        retry.look()
        counts.append(len(cluster.asked))

    assert counts == [0, 1, 2, 2]


def _served(name: str, root: str) -> Obj:
    """Return the Secret of a certificate that leads to a root."""
    data = {"tls.crt": base64.b64encode(ROOTS[root]).decode()}
    return obj("v1", "Secret", f"{name}-tls", "ai", type="kubernetes.io/tls", data=data)


ROOTS = {name: self_signed(name, [])[0] for name in ("the old one", "the new one")}
ISSUED = CASES["issued"][0]


def test_what_leads_to_a_root_of_before_is_issued_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once each, and it is waited for; a certificate of the new root, of another issuer, or not there yet is left."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    other = certificate("store", ISSUED)
    other["spec"]["issuerRef"]["name"] = "stores"
    at_work = certificate("busy", [*ISSUED, {"type": "Issuing", "status": "True"}])
    cluster = Cluster(certificate("llm", ISSUED), certificate("good", ISSUED), certificate("none", []), other, at_work)
    for name, root in (("llm", "old"), ("good", "new"), ("store", "old"), ("busy", "old")):
        cluster.put(_served(name, f"the {root} one"))
    nothing: list[Step] = [lambda _: None]
    issued = [partial(FakeKube.put, entry=_served(name, "the new one")) for name in ("llm", "busy")]
    # Two lists for each look.
    cluster.later = [*nothing * 2, *issued, *nothing * 2]

    assert issuance.follow(cluster.kube, ROOTS["the new one"].decode()) == 1

    assert [where for where, _ in cluster.asked] == [
        "PATCH /apis/cert-manager.io/v1/namespaces/ai/certificates/llm/status application/merge-patch+json"
    ]
    assert issuance.follow(cluster.kube, ROOTS["the new one"].decode()) == 0


def test_what_is_not_issued_anew_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """An issuer that answers nobody does not hold a deploy for ever."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr("time.sleep", lambda _: now.__setitem__(0, now[0] + 50))
    cluster = Cluster(certificate("llm", ISSUED), _served("llm", "the old one"))

    with pytest.raises(WaitTimeoutError, match="Certificate ai/llm, after 300 s"):
        issuance.follow(cluster.kube, ROOTS["the new one"].decode())
