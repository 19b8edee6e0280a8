"""Many objects at once, on a cluster in a dictionary."""

import pytest

from betelgeuse.apply import Applier, Outcome, failure, snapshot
from betelgeuse.apply_rules import record
from betelgeuse.errors import BetelgeuseError, ConflictError
from betelgeuse.hands import Hands
from betelgeuse.kube import ApiError, Obj, key_of
from betelgeuse.owners import Controllers
from tests.unit.fakes import FakeKube, obj, refused

CONFIG = obj("v1", "ConfigMap", "c", "n", data={"a": "1"})
HUMAN = {"reason": "FieldManagerConflict", "message": 'conflict with "kubectl" using v1', "field": ".data.a"}
ROBOT = {"reason": "FieldManagerConflict", "message": 'conflict with "robot" using v1', "field": ".data.a"}


def hands(fake: FakeKube, *controllers: str, deputy: str = "") -> Hands:
    """Return what tells hands from controllers."""
    return Hands(fake.kube, Controllers(frozenset(controllers)), deputy=deputy)


def applier(fake: FakeKube, live: list[Obj] | None = None, proofs: dict[str, str] | None = None) -> Applier:
    """Return an applier over a live state."""
    found = {key_of(entry): entry for entry in live or []}
    recorded = {key: (proofs or {}).get(key.name, "") for key in found}
    return Applier(hands(fake), found, recorded, frozenset({("x.org", "Lamp")}))


def test_outcomes_are_counted() -> None:
    """New, changed, the same, and proven: four ways, three words."""
    same, changed = obj("v1", "ConfigMap", "same", "n", uid="uid-same"), obj("v1", "ConfigMap", "changed", "n")
    proven = obj("v1", "ConfigMap", "proven", "n", data={})
    fake = FakeKube()
    work = applier(fake, [same, changed, proven], {"proven": record(proven, proven)})
    wanted = [CONFIG, obj("v1", "ConfigMap", "same", "n"), obj("v1", "ConfigMap", "changed", "n", data={}), proven]

    assert work.pending(wanted) == wanted[:3]
    work.run(wanted)

    assert str(work.applied) == "1 created, 1 changed, 2 unchanged"
    assert sorted(key.name for _, key in fake.log) == ["c", "changed", "same"]
    assert {key.name for key in work.applied.changes} == {"c", "changed"}


def test_a_second_apply_of_one_object_counts_once() -> None:
    """An object applied twice in a run is what it first became."""
    work = applier(FakeKube())
    work.applied.add(key_of(CONFIG), Outcome.CREATED, "p")
    work.applied.add(key_of(CONFIG), Outcome.UNCHANGED, "q")

    assert (work.applied.outcomes, work.applied.records) == ({key_of(CONFIG): Outcome.CREATED}, {key_of(CONFIG): "q"})


def test_humans_are_overridden_with_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    """A field changed by hand is taken back and named; a dry run forces silently."""
    fake = FakeKube()
    fake.deny = [refused(409, "conflict", [HUMAN])]
    hands(fake).apply(CONFIG)
    fake.deny = [refused(409, "conflict", [HUMAN])]
    hands(fake).apply(CONFIG, dry_run=True)

    assert [verb for verb, _ in fake.log] == ["apply betelgeuse force", "apply betelgeuse force dry"]
    assert capsys.readouterr().err.count("ConfigMap n/c: .data.a was changed by 'kubectl'; set back") == 1


def test_controllers_are_not() -> None:
    """One controller among the conflicts stops the object, and nothing is forced."""
    fake = FakeKube()
    fake.deny = [refused(409, "conflict", [HUMAN, ROBOT])]

    with pytest.raises(ConflictError, match=r"ConfigMap n/c: \.data\.a belongs to 'robot'; a controller sets it"):
        hands(fake, "robot").apply(CONFIG)

    assert fake.log == []


def test_a_deputy_sets_what_we_would() -> None:
    """While Argo CD brings the tree about, its fields are compared by their values alone."""
    fake = FakeKube()
    fake.deny = [refused(409, "conflict", [ROBOT])]

    hands(fake, "robot", deputy="robot").apply(CONFIG, dry_run=True)

    assert [verb for verb, _ in fake.log] == ["apply betelgeuse force dry"]


SCALED = {**HUMAN, "message": 'conflict with "kube-controller-manager" using apps/v1', "field": ".spec.replicas"}
WORKLOAD = obj("apps/v1", "Deployment", "d", "n", spec={"replicas": 1})
TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}


def test_replicas_are_taken_back_from_an_autoscaler_that_is_gone(capsys: pytest.CaptureFixture[str]) -> None:
    """While it is there it owns them; once it is deleted, what it left is set back."""
    autoscaler = obj("autoscaling/v2", "HorizontalPodAutoscaler", "a", "n", spec={"scaleTargetRef": TARGET})
    fake = FakeKube(autoscaler)
    fake.deny = [refused(409, "conflict", [SCALED])] * 2

    with pytest.raises(ConflictError, match=r"Deployment n/d: \.spec\.replicas belongs to 'kube-controller-manager'"):
        hands(fake).apply(WORKLOAD)
    fake.objects.pop(key_of(autoscaler))
    hands(fake).apply(WORKLOAD)

    assert [verb for verb, _ in fake.log] == ["apply betelgeuse force"]
    assert "was changed by 'kube-controller-manager'; set back" in capsys.readouterr().err


def test_what_hands_add_is_removed(capsys: pytest.CaptureFixture[str]) -> None:
    """An object that is proven to be in place, but holds more, is no object in place."""
    entry = {"manager": "Mozilla", "operation": "Update", "fieldsV1": {"f:data": {"f:b": {}}}}
    ours = {"manager": "betelgeuse", "operation": "Apply", "fieldsV1": {"f:data": {"f:a": {}}}}
    live = obj("v1", "ConfigMap", "c", "n", data={"a": "1", "b": "2"}, managedFields=[ours, entry], uid="uid-c")
    fake = FakeKube(live)
    work = applier(fake, [live], {"c": record(CONFIG, live)})
    # A real server merges; this one replaces what is at the top.
    merged = CONFIG | {"data": live["data"]}
    work.hands.apply = lambda _obj, **_: {**live, **merged, "metadata": live["metadata"] | {"resourceVersion": "1"}}  # type: ignore[method-assign]

    assert work.pending([CONFIG]) == [CONFIG]
    work.run([CONFIG])

    assert fake.objects[key_of(CONFIG)]["data"] == {"a": "1"}
    assert fake.objects[key_of(CONFIG)]["metadata"]["managedFields"] == [ours]
    assert work.applied.changes == [key_of(CONFIG)]
    assert "ConfigMap n/c: data.b, added by 'Mozilla': removed" in capsys.readouterr().err


def test_named_reasons_are_retried(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A webhook that does not answer yet is tried again, and told once."""
    monkeypatch.setattr("betelgeuse.apply._PAUSE", 0.0)
    fake = FakeKube()
    fake.deny = [refused(500, 'failed calling webhook "w": failed to call webhook: Post "https://x"')] * 2
    applier(fake).run([CONFIG])

    assert key_of(CONFIG) in fake.objects
    assert capsys.readouterr().err.count("ConfigMap n/c: webhook w not answering yet; trying again for 180 s") == 1


def test_a_refusal_is_final_and_one_line() -> None:
    """The first refusal is raised with the object's name."""
    fake = FakeKube()
    fake.deny = [refused(422, 'ConfigMap "c" is invalid: data: field is immutable')]

    with pytest.raises(
        BetelgeuseError, match=r"^ConfigMap n/c was refused: .*immutable.*`kubectl delete configmap c --namespace=n`"
    ):
        applier(fake).run([CONFIG])


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reason's time is limited, then the server's words are shown."""
    monkeypatch.setattr("betelgeuse.apply._PAUSE", 0.0)
    clock = iter(range(0, 10000, 50))
    monkeypatch.setattr("betelgeuse.apply.time.monotonic", lambda: next(clock))
    fake = FakeKube()
    fake.deny = [refused(503, "apiserver is shutting down")] * 100

    with pytest.raises(BetelgeuseError, match="ConfigMap n/c was refused: apiserver is shutting down"):
        applier(fake).run([CONFIG])


def test_a_secrets_refusal_has_no_values() -> None:
    """What the server says about a Secret may repeat it: only the fields are named."""
    secret = obj("v1", "Secret", "s", "n")
    with_field = refused(422, 'data[x]: Invalid value: "canary"', [{"field": "data[x]"}])

    assert str(failure(secret, with_field)) == "Secret n/s was refused: data[x] (HTTP 422)"
    assert "canary" not in str(failure(secret, refused(400, "canary")))


def test_jobs_are_replaced(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A Job whose template changed is deleted and made anew; one that is going is waited for."""
    monkeypatch.setattr("betelgeuse.apply._PAUSE", 0.0)
    job = obj("batch/v1", "Job", "j", "n", uid="1")
    fake = FakeKube(job)
    fake.deny = [refused(422, "spec.template: field is immutable")] * 2
    applier(fake, [job]).run([obj("batch/v1", "Job", "j", "n")])

    assert [verb for verb, _ in fake.log] == ["delete", "apply betelgeuse"]
    assert "Job n/j: its template changed" in capsys.readouterr().err


def test_snapshot_skips_what_is_not_served() -> None:
    """A kind whose CRD comes with this very tree has no objects yet."""
    fake = FakeKube(CONFIG, unserved=["Lamp"])

    assert snapshot(fake.kube, [CONFIG, obj("x.org/v1", "Lamp", "l", "n")]) == {key_of(CONFIG): CONFIG}
    # Its CRD went after discovery had told of it.
    fake.refuse = [refused(404, "404 page not found")]
    assert snapshot(fake.kube, [CONFIG]) == {}
    fake.refuse = [refused(500, "no")]
    with pytest.raises(ApiError):
        snapshot(fake.kube, [CONFIG])
