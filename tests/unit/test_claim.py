"""One run at a time: who holds the namespace, who is refused, what a killed run left."""

import os
from typing import Any

import pytest

from betelgeuse import claim
from betelgeuse.errors import BetelgeuseError, LockedError, RefusedError, WaitTimeoutError
from betelgeuse.kube import ApiError, Key, UnreachableError
from loadtests.workflows import loadjobs
from loadtests.workflows.loadjobs import NAMESPACE, OWN
from tests.unit.fakes import obj, refused
from tests.unit.pod_cluster import Clock, Cluster


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time that passes when somebody sleeps."""
    fake = Clock()
    monkeypatch.setattr(claim, "time", fake)
    return fake


def held(stamp: str = "2026-01-01T00:00:00.000000Z") -> Cluster:
    """A cluster with the namespace of a run."""
    cluster = Cluster()
    cluster.create(loadjobs.namespace(), "")
    spec = {"holderIdentity": "eve@there (pid 7)", "renewTime": stamp}
    cluster.create(obj("coordination.k8s.io/v1", "Lease", NAMESPACE, NAMESPACE, spec=spec), "")
    cluster.create(obj("v1", "Secret", "client", NAMESPACE), "")
    return cluster


def claimed(cluster: Cluster) -> Any:  # noqa: ANN401 - a context manager
    """The namespace, claimed."""
    return claim.claimed(cluster.kube, loadjobs.namespace(), OWN, "local")


def test_a_run_leaves_nothing(clock: Clock) -> None:
    """Neither at its end nor when it is interrupted."""
    del clock
    cluster = Cluster()
    with claimed(cluster):
        names = {str(key) for key in cluster.objects}
    assert len(names) == 2
    assert cluster.objects == {}

    def interrupted() -> None:
        with claimed(cluster):
            cluster.create(obj("v1", "Secret", "client", NAMESPACE), "")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert cluster.objects == {}


def test_a_living_run_is_not_disturbed(clock: Clock) -> None:
    """Whoever comes second is told who is first."""
    cluster = held()
    before = dict(cluster.objects)
    lease = next(each for each in cluster.objects.values() if each["kind"] == "Lease")
    clock.events = [lambda: None, lambda: lease["spec"].update(renewTime="2026-01-01T00:00:04.000000Z")]

    with pytest.raises(LockedError, match=r"a run of eve@there \(pid 7\) is going on in local"), claimed(cluster):
        pass
    assert cluster.objects == before


def test_what_a_killed_run_left_is_removed_first(clock: Clock) -> None:
    """It gives no sign of life for as long as its Lease lasts."""
    cluster = held()
    with claimed(cluster) as mine:
        kinds = sorted(key.kind for key in cluster.objects)

        assert kinds == ["Lease", "Namespace"]
        assert mine.lease["spec"]["holderIdentity"] == claim.holder()
    assert clock.now >= claim.LIFE


def test_one_of_two_who_find_leftovers_is_refused(clock: Clock) -> None:
    """The other one made the namespace anew in the meantime."""
    cluster = held()

    def other() -> None:
        cluster.delete(loadjobs.namespace())
        cluster.objects |= {
            key: {**each, "metadata": {**each["metadata"], "uid": "new"}} for key, each in held().objects.items()
        }

    clock.events = [lambda: None, other]
    with pytest.raises(LockedError, match="eve@there"), claimed(cluster):
        pass
    assert Key("", "Namespace", "", NAMESPACE) in cluster.objects


def test_a_namespace_that_goes_is_waited_for(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what it still holds; not forever."""
    cluster = held()
    left = cluster.objects[Key("", "Namespace", "", NAMESPACE)]
    left["metadata"]["deletionTimestamp"] = "now"
    words = "Some resources are remaining: pods. has 1 resource instances"
    left["status"] = {"conditions": [{"type": "NamespaceContentRemaining", "status": "True", "message": words}]}
    clock.events = [lambda: None, cluster.objects.clear]
    with claimed(cluster):
        pass

    cluster.put(left)
    monkeypatch.setattr(claim, "_GONE_SECONDS", -1.0)
    with pytest.raises(WaitTimeoutError, match=r"is not free after .* has 1 resource instances"), claimed(cluster):
        pass


def test_a_namespace_of_somebody_elses_is_not_touched(clock: Clock) -> None:
    """One without our label."""
    del clock
    cluster = Cluster(obj("v1", "Namespace", NAMESPACE))

    with pytest.raises(RefusedError, match="namespace loadtest of local is not ours"), claimed(cluster):
        pass
    assert len(cluster.objects) == 1


def test_a_claim_is_renewed_and_a_lost_one_noticed(clock: Clock) -> None:
    """A server that does not answer for a moment is no loss."""
    cluster = Cluster()
    with claimed(cluster) as mine:
        clock.now += 10
        cluster.renewals = [UnreachableError("away"), refused(500, "ill")]
        mine.keep()
        mine.keep()
        mine.keep()
        assert (mine.renewed, cluster.renewals) == (10, [])
        # Within the time of a renewal nothing is asked.
        cluster.renewals = [refused(409, "another UID")]
        mine.keep()
        clock.now += 10
        with pytest.raises(BetelgeuseError, match="is no longer this run's"):
            mine.keep()
        # Another's is left alone.
        cluster.put({**mine.namespace, "metadata": {**mine.namespace["metadata"], "uid": "another"}})
    assert Key("", "Namespace", "", NAMESPACE) in cluster.objects


def test_what_cannot_be_removed_is_told(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run's result is not lost for it."""
    del clock
    said = list[str]()
    monkeypatch.setattr(claim, "say", said.append)
    cluster = Cluster()
    with claimed(cluster):
        monkeypatch.setattr(cluster, "delete", lambda *_, **__: (_ for _ in ()).throw(UnreachableError("away")))

    assert said == ["namespace loadtest is left behind (away); the next run removes it"]


def test_an_account_without_a_name_holds_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's user has none."""

    def nameless() -> str:
        raise KeyError(0)

    monkeypatch.setattr("getpass.getuser", nameless)

    assert claim.holder().startswith(f"{os.getuid()}@")


def test_a_namespace_that_does_not_go_is_told(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what it still holds; the next run waits for it."""
    said = list[str]()
    monkeypatch.setattr(claim, "say", said.append)
    cluster = Cluster()
    with claimed(cluster) as mine:
        words = "Some resources are remaining: pods."
        going = [{"type": "NamespaceContentRemaining", "status": "True", "message": words}]
        monkeypatch.setattr(
            cluster, "delete", lambda *_, **__: cluster.put({**mine.namespace, "status": {"conditions": going}})
        )
        clock.events = [lambda: monkeypatch.setattr(claim, "_GONE_SECONDS", -1.0)]

    assert said == [
        "namespace loadtest is not gone after -1 s: it is being deleted; Some resources are remaining: pods"
    ]


def test_a_race_for_leftovers_is_looked_at_again(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """When they were removed, or made anew, between two questions; what else the server refuses ends the wait."""
    cluster = held()
    answers = [refused(409, "the UID is another"), refused(500, "ill")]
    monkeypatch.setattr(cluster, "delete", lambda *_, **__: (_ for _ in ()).throw(answers.pop(0)))
    with pytest.raises(ApiError, match="ill"), claimed(cluster):
        pass
    assert answers == []
    assert clock.now > claim.LIFE

    gone = Cluster()
    refusals = [refused(409, "it was there"), refused(403, "no")]
    monkeypatch.setattr(gone, "create", lambda *_: (_ for _ in ()).throw(refusals.pop(0)))
    with pytest.raises(ApiError, match="no"), claimed(gone):
        pass
    assert refusals == []
