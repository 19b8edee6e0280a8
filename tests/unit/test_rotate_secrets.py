"""A rotation on a cluster in a dictionary: what happens in which order, and what a kill in between leaves."""

import copy
import time
from collections.abc import Sequence
from typing import Any

import pytest

from betelgeuse import rotation
from betelgeuse.errors import BetelgeuseError, UsageError
from betelgeuse.kube import Key, Kube, Obj, key_of
from betelgeuse.secrets import ANNOTATION, PREVIOUS, ROTATED
from betelgeuse.settings import Settings
from betelgeuse.tree.clients import ANNOTATION as CLIENT
from betelgeuse.workflows import realm, rotate_secrets
from betelgeuse.workflows.apply_tree import apply_tree
from betelgeuse.workflows.plan import plan
from tests.unit.fakes import FakeKube, obj

SETTINGS = Settings(env="local", domain="a.b", kube_context="x")
READY = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1, "readyReplicas": 1}


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every sleep pass at once."""
    monkeypatch.setattr(time, "sleep", lambda _: None)


def _merge(old: Any, new: Any) -> Any:  # noqa: ANN401 - plain data of any shape
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{key: _merge(old.get(key), value) for key, value in new.items()}}
    return copy.deepcopy(new)


class Cluster(FakeKube):
    """Applies deeply, removes what a Secret's manager leaves out, and is ready at once."""

    def __init__(self) -> None:
        """Start empty; `die` ends a run at the n-th write, as a kill would."""
        super().__init__()
        self.die = -1

    def server_side_apply(self, entry: Obj, manager: str, *, dry_run: bool = False, force: bool = False) -> Obj:
        """Apply, then note it."""
        if self.die == 0:
            message = "killed"
            raise BetelgeuseError(message)
        self.die -= 1
        old = copy.deepcopy(self.objects.get(key_of(entry), {}))
        if entry["kind"] == "Secret" and "data" in entry:
            old.pop("data", None)
        status = {"Namespace": {"phase": "Active"}}.get(entry["kind"], READY)
        merged = _merge(old, {**entry, "status": status})
        return super().server_side_apply(merged, manager, dry_run=dry_run, force=force)


def _pods(*secrets: str) -> dict[str, Any]:
    env = [{"name": name, "valueFrom": {"secretKeyRef": {"name": name, "key": "password"}}} for name in secrets]
    spec = {"containers": [{"name": "c", "env": env, "ports": [{"name": "http", "containerPort": 8081}]}]}
    return {"selector": {"matchLabels": {"app": "x"}}, "template": {"metadata": {"labels": {"app": "x"}}, "spec": spec}}


DATABASE = obj("v1", "Secret", "keycloak-db", "auth", annotations={ANNOTATION: "password: password:12"})
ADMIN = obj(
    "v1", "Secret", "keycloak-admin", "auth", annotations={ANNOTATION: "username: literal:admin\npassword: password:12"}
)
MODELS = obj("v1", "Secret", "models", "auth", annotations={ANNOTATION: "password: hex:8"})
COPY = obj("v1", "Secret", "copy", "auth", annotations={ANNOTATION: "password: copy:auth/models/password"})
TREE = [
    obj("v1", "Namespace", "auth"),
    DATABASE,
    ADMIN,
    MODELS,
    COPY,
    obj("apps/v1", "Deployment", "reader", "auth", spec=_pods("copy")),
    obj("apps/v1", "Deployment", "keycloak", "auth", spec=_pods("keycloak-db", "keycloak-admin")),
    obj("apps/v1", "StatefulSet", "keycloak-db", "auth", spec=_pods("keycloak-db")),
    obj("apps/v1", "Deployment", "other", "auth", spec=_pods()),
]
OLD = Key("", "Secret", "auth", "keycloak-admin")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Give a deployed cluster; what is told to Keycloak is noted among the writes."""
    fake = Cluster()

    def told(_: Settings, kube: Kube, objects: Sequence[Obj], *, dry_run: bool = False) -> list[str]:
        if dry_run:
            return []
        fake.log.append(("realm", OLD))
        live = fake.objects[OLD]
        rotation.forget_previous(kube, next(entry for entry in objects if key_of(entry) == OLD), live)
        return []

    monkeypatch.setattr(realm, "reconcile", told)
    apply_tree(SETTINGS, fake.kube, TREE)
    fake.log.clear()
    return fake


def values(fake: Cluster) -> dict[str, str]:
    """Return the value of each Secret's key."""
    return {key.name: entry["data"]["password"] for key, entry in fake.objects.items() if key.kind == "Secret"}


def steps(fake: Cluster) -> list[str]:
    """Return what was done, in order."""
    return [f"{verb.split()[0]} {key.kind} {key.name}" for verb, key in fake.log]


def test_everything_follows_in_order(cluster: Cluster) -> None:
    """Values, copies, Keycloak, databases, Keycloak's own pods, the rest; afterwards a plan is clean."""
    before = values(cluster)

    assert rotate_secrets.run(SETTINGS, cluster.kube, TREE) == 3

    done = steps(cluster)
    assert done[0].startswith("realm")
    assert sorted(done[1:4]) == [f"apply Secret {name}" for name in ("keycloak-admin", "keycloak-db", "models")]
    assert done[4:7] == ["apply Secret copy", "realm Secret keycloak-admin", "apply Secret keycloak-admin"]
    assert done[7:] == ["apply StatefulSet keycloak-db", "apply Deployment keycloak", "apply Deployment reader"]
    after = values(cluster)
    assert all(before[name] != after[name] for name in before)
    assert after["copy"] == after["models"]
    assert set(cluster.objects[OLD]["data"]) == {"username", "password"}
    assert plan(SETTINGS, cluster.kube, TREE) == 0


def test_who_may_wait_for_its_store_is_not_waited_for(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Restored keys open what another restore brings; Keycloak alone is asked by all others."""
    waited = list[str]()

    def ready(_: Kube, objects: Sequence[Obj], __: float) -> None:
        waited.extend(entry["metadata"]["name"] for entry in objects)

    monkeypatch.setattr(rotate_secrets, "until_ready", ready)
    rotate_secrets._write(cluster.kube, [DATABASE], TREE)

    rolled = rotate_secrets.follow(cluster.kube, TREE, wait=False)
    assert sorted(key.name for key in rolled) == ["keycloak", "keycloak-db"]
    assert waited == ["keycloak"]


def test_a_selection_rolls_its_users_only(cluster: Cluster) -> None:
    """Keycloak is not asked where it has nothing to learn."""
    before = values(cluster)

    assert rotate_secrets.run(SETTINGS, cluster.kube, TREE, ["auth/models"]) == 1

    assert steps(cluster) == ["apply Secret models", "apply Secret copy", "apply Deployment reader"]
    assert {name for name, word in values(cluster).items() if before[name] != word} == {"models", "copy"}


@pytest.mark.parametrize("writes", range(8))
@pytest.mark.parametrize("second", ["deploy", "rotation"])
def test_a_kill_at_any_write_is_finished_later(
    cluster: Cluster, writes: int, second: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wherever it ends, the next deploy or rotation brings everything to the values that are written."""
    cluster.die = writes
    with pytest.raises(BetelgeuseError, match="killed"):
        rotate_secrets.run(SETTINGS, cluster.kube, TREE)
    cluster.die = -1

    if second == "deploy":
        apply_tree(SETTINGS, cluster.kube, TREE)
        realm.reconcile(SETTINGS, cluster.kube, TREE)
    else:
        rotate_secrets.run(SETTINGS, cluster.kube, TREE)

    live = {key: entry for key, entry in cluster.objects.items() if key.kind != "ConfigMap"}
    assert rotation.pending(TREE, live) == []
    assert not any(name.startswith(PREVIOUS) for name in cluster.objects[OLD]["data"])
    assert values(cluster)["copy"] == values(cluster)["models"]
    assert plan(SETTINGS, cluster.kube, TREE) == 0
    assert "password made" not in capsys.readouterr().out


def test_the_old_administrators_password_is_kept_until_it_is_told(cluster: Cluster) -> None:
    """The one before lies beside the new one as long as Keycloak may still have it."""
    before = values(cluster)["keycloak-admin"]
    cluster.die = 2

    with pytest.raises(BetelgeuseError, match="killed"):
        rotate_secrets.run(SETTINGS, cluster.kube, TREE, ["auth/keycloak-admin", "auth/keycloak-db", "auth/models"])

    assert cluster.objects[OLD]["data"][f"{PREVIOUS}password"] == before
    known = realm.credentials(cluster.kube)
    assert known.password
    assert len(known.previous) == 1


def test_a_deploy_counts_what_it_rolls(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    """What an interrupted rotation left is a change, shown by the plan before and told by the deploy."""
    cluster.die = 1
    with pytest.raises(BetelgeuseError, match="killed"):
        rotate_secrets.run(SETTINGS, cluster.kube, TREE, ["auth/models", "auth/keycloak-db"])
    cluster.die = -1

    shown = plan(SETTINGS, cluster.kube, TREE)
    result = apply_tree(SETTINGS, cluster.kube, TREE)

    assert (shown, [key.name for key in result.rolled], result.changes) == (2, ["reader"], 2)
    assert "# will be copied anew: password" in capsys.readouterr().out
    assert apply_tree(SETTINGS, cluster.kube, TREE).changes == 0


def test_what_is_not_there_yet_is_left_to_the_deploy(capsys: pytest.CaptureFixture[str]) -> None:
    """Without Keycloak nothing is told to it; a Secret nobody made is not made here."""
    fake = Cluster()

    assert rotate_secrets.run(SETTINGS, fake.kube, [MODELS, ADMIN]) == 0
    assert "Secret auth/models: not in the cluster yet" in capsys.readouterr().err


def test_the_time_is_noted(cluster: Cluster) -> None:
    """People see when a value was last made anew."""
    rotate_secrets.run(SETTINGS, cluster.kube, TREE, ["auth/models"])

    assert cluster.objects[key_of(MODELS)]["metadata"]["annotations"][ROTATED].startswith("20")


def test_a_wrong_declaration_stops_a_plan() -> None:
    """One line, before Keycloak is asked."""
    wrong = obj("v1", "Secret", "s", "auth", annotations={CLIENT: "id: x"})

    with pytest.raises(UsageError, match="Secret auth/s: annotation"):
        realm.drift(SETTINGS, Cluster().kube, [wrong])


def test_drift_says_why_it_cannot_be_asked() -> None:
    """Before the first deploy, and while no pod is ready."""
    fake = Cluster()

    assert realm.drift(SETTINGS, fake.kube, TREE) == ["+ realm: will be made as soon as Keycloak runs"]
    apply_tree(SETTINGS, fake.kube, TREE)
    # Evicted, it ended well: a pod that has ended answers nobody.
    ended = obj("v1", "Pod", "keycloak-1", "auth", labels={"app": "x"}, status={"phase": "Succeeded"})
    fake.objects[key_of(ended)] = ended
    assert realm.drift(SETTINGS, fake.kube, TREE) == [
        "? realm: cannot be compared: no pod of Deployment auth/keycloak is ready; `invoke status` says why"
    ]
    fake.objects.pop(OLD)
    assert "Secret auth/keycloak-admin holds no password yet" in realm.drift(SETTINGS, fake.kube, TREE)[0]
    assert realm.drift(SETTINGS, fake.kube, [MODELS]) == []
