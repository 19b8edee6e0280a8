"""The one wait loop, on a cluster in a dictionary."""

import time
from collections.abc import Iterator

import pytest

from betelgeuse.errors import BetelgeuseError, WaitTimeoutError
from betelgeuse.kube import Obj, UnreachableError, key_of
from betelgeuse.progress import Ticker
from betelgeuse.readiness import State
from betelgeuse.wait import Waiting, explain, observe, summary, until_ready
from tests.unit.fakes import FakeKube, obj, refused

READY_STATUS = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
CONFIG = obj("v1", "ConfigMap", "c", "ai")


def deployment(name: str = "llm", *, ready: bool = False) -> Obj:
    """Return a live Deployment."""
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": name}}}
    status = READY_STATUS if ready else {"observedGeneration": 1, "updatedReplicas": 1}
    return obj("apps/v1", "Deployment", name, "ai", generation=1, spec=spec, status=status)


def pod(reason: str) -> Obj:
    """Return the Deployment's pod."""
    container = {"name": "c", "image": "example.org/llm:1", "state": {"waiting": {"reason": reason}}}
    return obj("v1", "Pod", "llm-0", "ai", labels={"app": "llm"}, status={"containerStatuses": [container]})


def event(name: str, message: str, stamp: str) -> Obj:
    """Return a warning about an object."""
    rest = {"involvedObject": {"name": name}, "reason": "Failed", "message": message, "lastTimestamp": stamp}
    return obj("v1", "Event", f"{name}-{stamp}", "ai", **rest)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Let every sleep pass at once."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    yield now
    assert now[0] < 1000


def test_observe_names_what_is_missing() -> None:
    """What is not there, what is not served and what is not ready are three different reasons."""
    fake = FakeKube(deployment(), unserved=["Lamp"])
    found = observe(fake.kube, [deployment(), CONFIG, obj("x.org/v1", "Lamp", "l", "ai")])

    assert [str(entry) for entry in found] == [
        "ai/llm 0/1 ready",
        "ConfigMap ai/c is missing",
        "Lamp ai/l has a kind the API server does not serve",
    ]


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_nothing_that_serves_is_not_ready(kind: str) -> None:
    """Scaled to 0 by a hand, the controller is content; the tree is not. Where the tree itself says 0, all is well."""
    stopped = obj("apps/v1", kind, "llm", "ai", spec={"replicas": 0}, status={"observedGeneration": 1})
    fake = FakeKube(stopped)
    wanted = "ai/llm is scaled to 0, so nothing serves; the tree wants {} (`invoke deploy` sets it back)"

    def seen(**spec: object) -> list[str]:
        return list(map(str, observe(fake.kube, [obj("apps/v1", kind, "llm", "ai", spec=spec)])))

    assert (seen(replicas=2), seen(), seen(replicas=0)) == ([wanted.format(2)], [wanted.format(1)], [])


def test_a_daemon_without_a_node_is_not_ready() -> None:
    """Unless the tree itself chooses the nodes."""
    idle = obj("apps/v1", "DaemonSet", "d", "ai", spec={}, status={"observedGeneration": 1})
    chosen = {"template": {"spec": {"nodeSelector": {"gpu": "true"}}}}
    fake = FakeKube(idle)

    assert [str(entry) for entry in observe(fake.kube, [idle])] == [
        "ai/d may run on no node, so nothing serves (its node selector, the nodes' taints)"
    ]
    assert observe(fake.kube, [idle | {"spec": chosen}]) == []


def test_image_missing_on_the_node_shows() -> None:
    """The pod's reason is part of the message, with the image's name."""
    fake = FakeKube(deployment(), pod("ErrImageNeverPull"))
    [found] = observe(fake.kube, [deployment()])

    assert str(explain(fake.kube, found)) == (
        "ai/llm 0/1 ready (pod llm-0: ErrImageNeverPull: image example.org/llm:1 is not on the node; "
        "`invoke images` puts it there)"
    )


def test_events_explain_what_pods_cannot() -> None:
    """A pod that only waits, and a workload without pods, are explained by the newest warning."""
    events = [event("llm-0", "old", "1"), event("llm-0", "no such volume", "2"), event("llm", "forbidden", "3")]
    stuck = FakeKube(deployment(), pod("ContainerCreating"), *events)
    empty = FakeKube(deployment(), *events)
    [found] = observe(empty.kube, [deployment()])

    assert str(explain(stuck.kube, found)) == "ai/llm 0/1 ready (pod llm-0: ContainerCreating: Failed: no such volume)"
    assert str(explain(empty.kube, found)) == "ai/llm 0/1 ready (Failed: forbidden)"


def test_without_an_explanation_nothing_is_added() -> None:
    """No pods, no events, another kind, or a server that answers nothing: the plain reason stays."""
    [found] = observe(FakeKube(deployment()).kube, [deployment()])
    silent = FakeKube(deployment())
    silent.refuse = [UnreachableError("x")]

    assert explain(FakeKube(deployment()).kube, found) == found
    assert explain(silent.kube, found) == found
    other = Waiting(key_of(CONFIG), State(ready=False, reason="is missing"))
    assert explain(silent.kube, other) is other


def test_returns_when_everything_is_ready() -> None:
    """The wait ends as soon as the last object is ready, after a last look at all of them."""
    fake = FakeKube(deployment(), deployment("embeddings", ready=True))
    fake.later = [lambda _: None] * 6 + [lambda kube: kube.put(deployment(ready=True))]
    rounds: list[int] = []

    until_ready(fake.kube, [deployment(), deployment("embeddings")], 60, before_round=lambda: rounds.append(1))

    assert len(rounds) >= 3


def test_what_breaks_again_is_noticed() -> None:
    """An object that was ready and broke while another was awaited keeps us waiting."""
    fake = FakeKube(deployment(), deployment("embeddings", ready=True))

    def swap(kube: FakeKube) -> None:
        kube.put(deployment(ready=True))
        kube.put(deployment("embeddings"))

    fake.later = [swap]

    with pytest.raises(WaitTimeoutError, match="not ready after 20 s: ai/embeddings 0/1 ready"):
        until_ready(fake.kube, [deployment(), deployment("embeddings")], 20)


def test_time_limit_says_why() -> None:
    """The error counts, names the first two with their reasons, causes before consequences, and how many more."""
    fake = FakeKube(deployment(), deployment("embeddings"), pod("ErrImagePull"))
    objects = [CONFIG, deployment(), deployment("embeddings")]

    with pytest.raises(WaitTimeoutError) as caught:
        until_ready(fake.kube, objects, 30, Ticker(30))

    assert str(caught.value).startswith("not ready after 30 s: ai/llm 0/1 ready (pod llm-0: ErrImagePull: image")
    assert str(caught.value).endswith("ai/embeddings 0/1 ready; and 1 more")


def test_time_counts_from_the_last_progress() -> None:
    """Three that come one after the other may take longer together than one may; without any the wait ends."""
    names = ("one", "two", "three")
    fake = FakeKube(*map(deployment, names))
    # Some thirty looks lie within these rounds, two seconds apart.
    rounds = 0

    def step() -> None:
        nonlocal rounds
        rounds += 1
        if rounds in {28, 38}:
            fake.put(deployment(names[rounds // 10 - 2], ready=True))

    with pytest.raises(WaitTimeoutError) as caught:
        until_ready(fake.kube, [deployment(name) for name in names], 30, before_round=step)

    assert str(caught.value) == "not ready after 74 s, the last 30 without progress: ai/three 0/1 ready"


def test_hopeless_ends_at_once() -> None:
    """A failed Job is not awaited."""
    failed = {"conditions": [{"type": "Failed", "status": "True", "message": "BackoffLimitExceeded"}]}
    fake = FakeKube(obj("batch/v1", "Job", "load", "ai", status=failed))

    with pytest.raises(BetelgeuseError, match="ai/load failed: BackoffLimitExceeded") as caught:
        until_ready(fake.kube, [obj("batch/v1", "Job", "load", "ai")], 60)

    assert not isinstance(caught.value, WaitTimeoutError)


def test_a_restarting_server_is_waited_for() -> None:
    """Silence and errors of the API server count as a reason, bounded by the time limit."""
    fake = FakeKube(CONFIG)
    fake.refuse = [UnreachableError("no answer"), refused(500, "etcd is leaderless")]

    until_ready(fake.kube, [CONFIG], 60)

    fake.refuse = [UnreachableError("no answer")] * 100
    with pytest.raises(WaitTimeoutError, match="not ready after 5 s: no answer"):
        until_ready(fake.kube, [CONFIG], 5)


def test_summary_is_short() -> None:
    """One more than shown is counted."""
    entries = [Waiting(key_of(obj("v1", "Pod", name, "ai")), State(ready=False, reason="Pending")) for name in "abc"]

    assert summary(entries) == "Pod ai/a Pending; Pod ai/b Pending; and 1 more"
    assert summary(entries[:1]) == "Pod ai/a Pending"
