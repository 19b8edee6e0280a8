"""One writer at a time: who holds the Lease is named, who is gone is not waited for longer than needed."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from betelgeuse import inventory, lease
from betelgeuse.claim import LIFE, holder
from betelgeuse.errors import LockedError
from betelgeuse.kube import Key, Obj, UnreachableError
from tests.unit.fakes import FakeKube, obj, refused

KEY = Key("coordination.k8s.io", "Lease", inventory.NAMESPACE, inventory.LEASE_NAME)
ELSEWHERE = "jo@elsewhere (pid 7)"


def other(who: str = ELSEWHERE, stamp: str = "1", process: str = "another-machine ns 7") -> Obj:
    """Return the Lease as somebody else left it."""
    found = obj("coordination.k8s.io/v1", "Lease", inventory.LEASE_NAME, inventory.NAMESPACE)
    found["metadata"] |= {"annotations": {"betelgeuse.io/process": process}, "resourceVersion": "w0"}
    return found | {"spec": {"holderIdentity": who, "renewTime": stamp}}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Let every sleep pass at once."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    yield now
    assert now[0] < 60


def test_it_is_taken_and_given_back() -> None:
    """First made, then kept for the next, who takes it at once."""
    fake = FakeKube()
    for _ in range(2):
        with lease.held(fake.kube, "prod") as mine:
            assert fake.objects[KEY]["spec"]["holderIdentity"] == holder()
            mine.check()
        assert fake.objects[KEY]["spec"]["holderIdentity"] == ""


def test_a_living_holder_is_named(clock: list[float]) -> None:
    """As soon as it is seen to renew; nothing was touched."""
    del clock
    fake = FakeKube(other())
    looks = []

    def get(*_: object) -> Obj | None:
        looks.append(1)
        fake.objects[KEY]["spec"]["renewTime"] = str(len(looks) // 4)
        return fake.objects[KEY]

    fake.get = get  # type: ignore[method-assign, assignment] # it is asked for nothing else
    with (
        pytest.raises(LockedError, match=r"jo@elsewhere \(pid 7\) deploys to prod at this moment; wait for the end"),
        lease.held(fake.kube, "prod"),
    ):
        pass
    assert fake.objects[KEY]["spec"]["holderIdentity"] == ELSEWHERE


def test_a_silent_holder_is_succeeded_in_time(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    """It was killed on another machine: its Lease runs out."""
    fake = FakeKube(other())
    with lease.held(fake.kube, "prod"):
        assert clock[0] > LIFE
    assert f"{ELSEWHERE} is gone: its deploy is taken over" in capsys.readouterr().err


def test_a_dead_process_of_this_machine_is_succeeded_at_once(clock: list[float]) -> None:
    """Its number says it all, where boot and PID namespace are ours."""
    place = f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {Path('/proc/self/ns/pid').readlink()}"
    for pid, waits in (("4194999", False), ("1", True)):
        clock[0] = 0.0
        with lease.held(FakeKube(other(process=f"{place} {pid}")).kube, "prod"):
            assert (clock[0] > LIFE) == waits


def test_a_race_is_looked_at_again(clock: list[float]) -> None:
    """Somebody was quicker: that one is named, or succeeded; any other refusal is the end."""
    del clock
    fake = FakeKube()
    create, answers = fake.create, [refused(409, "already exists")]

    def late(entry: Obj, manager: str) -> Obj:
        if answers:
            raise answers.pop()
        return create(entry, manager)

    fake.create = late  # type: ignore[method-assign]
    with lease.held(fake.kube, "prod"):
        pass
    fake.objects.pop(KEY)
    answers.append(refused(403, "no"))
    with pytest.raises(type(refused(403, "no"))), lease.held(fake.kube, "prod"):
        pass


def test_what_was_lost_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Renewed while it is ours, patient while nobody answers, and told when another took over."""
    monkeypatch.setattr(lease, "RENEW", 0.01)
    fake = FakeKube()
    with lease.held(fake.kube, "prod") as mine:
        deadline = time.monotonic() + 10
        while fake.writes < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert fake.writes >= 5
        replace = fake.replace
        failures: list[Exception] = [UnreachableError("away"), refused(500, "no")]

        def failing(entry: Obj, manager: str) -> Obj:
            if failures:
                raise failures.pop()
            return replace(entry, manager)

        fake.replace = failing  # type: ignore[method-assign]
        while failures and time.monotonic() < deadline:
            time.sleep(0.01)
        mine.check()
        fake.put(other())
        while not mine.lost and time.monotonic() < deadline:
            time.sleep(0.01)
        with pytest.raises(LockedError, match="another deploy took this cluster over"):
            mine.check()
    assert fake.objects[KEY]["spec"]["holderIdentity"] == ELSEWHERE
