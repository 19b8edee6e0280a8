"""Secrets made anew, and who must follow."""

import base64
import copy
from typing import Any

import pytest

from betelgeuse import rotation
from betelgeuse.errors import UsageError
from betelgeuse.kube import Key, Obj, key_of
from betelgeuse.rotation import (
    ROTATE,
    USED,
    forget_previous,
    pending,
    references,
    regenerate,
    roll,
    rotatable,
    select,
    stages,
    value,
)
from betelgeuse.secrets import ANNOTATION, ROTATED, ensure, outdated
from tests.unit.fakes import FakeKube, obj

RECIPES = "a: hex:8\nb: base64:8\nc: password:12\nd: 'literal:x'\ntls: selfsigned:web\ne: copy:n/other/a"


def secret(recipe: str = "a: hex:8", name: str = "s", namespace: str = "n", **annotations: str) -> Obj:
    """Return a Secret of the tree."""
    return obj("v1", "Secret", name, namespace, annotations={ANNOTATION: recipe, **annotations})


def workload(kind: str = "Deployment", name: str = "app", namespace: str = "n", **spec: Any) -> Obj:  # noqa: ANN401
    """Return a workload whose pods are as given."""
    spec = spec or {"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}
    return obj("apps/v1", kind, name, namespace, spec={"template": {"metadata": {}, "spec": spec}})


def made(*objects: Obj) -> FakeKube:
    """Return a cluster in which the Secrets were made and the workloads run."""
    fake = FakeKube(*(copy.deepcopy(entry) for entry in objects if entry["kind"] != "Secret"))
    ensure(fake.kube, [entry for entry in objects if entry["kind"] == "Secret"], {})
    return fake


def live(fake: FakeKube, entry: Obj) -> Obj:
    """Return the cluster's version of an object."""
    return fake.objects[key_of(entry)]


def test_only_random_values_are_rotated() -> None:
    """Copies, certificates and texts are not ours to invent; what encrypts data says never."""
    assert rotatable(secret(RECIPES)) == ["a", "b", "c"]
    assert rotatable(secret(RECIPES, **{ROTATE: "never"})) == []
    assert rotatable(obj("v1", "ConfigMap", "c", "n")) == []
    with pytest.raises(UsageError, match=r"Secret n/s: annotation betelgeuse.io/rotate can only say never, got 'no'"):
        rotatable(secret(**{ROTATE: "no"}))


def test_select_takes_all_or_the_named() -> None:
    """Without names everything; an unknown name is an error with a suggestion; a repeated one counts once."""
    tree = [secret(name="one"), secret(name="two"), secret("x: literal:y", "text"), obj("v1", "ConfigMap", "c", "n")]

    assert [entry["metadata"]["name"] for entry in select(tree)] == ["one", "two"]
    assert [entry["metadata"]["name"] for entry in select(tree, ["n/two", "n/two"])] == ["two"]
    with pytest.raises(UsageError, match=r"no Secret 'n/tow' .*did you mean 'n/two'\? \(there are: n/one, n/two\)"):
        select(tree, ["n/tow"])
    with pytest.raises(UsageError, match=r"there are: none"):
        select([], ["n/tow"])


def test_regenerate_changes_random_values_only() -> None:
    """The other keys keep their values; the time is noted in the same request."""
    other, wanted = secret(name="other"), secret(RECIPES)
    fake = made(other, wanted)
    before = live(fake, wanted)["data"]
    fake.log.clear()

    names = regenerate(fake.kube, wanted, live(fake, wanted), "T1")

    after = live(fake, wanted)
    changed = {key for key in before if before[key] != after["data"][key]}
    assert (names, changed, set(before)) == (["a", "b", "c"], {"a", "b", "c"}, set(after["data"]))
    assert after["metadata"]["annotations"] == {ROTATED: "T1"}
    assert fake.log == [("apply betelgeuse-secrets force", key_of(wanted))]


def test_an_old_value_is_kept_until_it_is_forgotten() -> None:
    """A kept key has its former value beside the new one; forgetting changes nothing else, and only once."""
    wanted = secret("a: hex:8\nb: hex:8")
    fake = made(wanted)
    before = live(fake, wanted)["data"]

    regenerate(fake.kube, wanted, live(fake, wanted), "T1", keep=frozenset({"a"}))
    kept = live(fake, wanted)["data"]
    fresh = ensure(fake.kube, [secret("a: hex:8\nb: hex:8\nc: hex:8")], dict(fake.objects))
    grown = live(fake, wanted)
    first = forget_previous(fake.kube, wanted, live(fake, wanted))
    second = forget_previous(fake.kube, wanted, live(fake, wanted))

    assert (kept["previous-a"], set(kept)) == (before["a"], {"a", "b", "previous-a"})
    assert (fresh.generated, grown["data"]["previous-a"]) == ({key_of(wanted): ["c"]}, before["a"])
    assert grown["metadata"]["annotations"] == {ROTATED: "T1"}
    assert (first, second) == (True, False)
    assert live(fake, wanted)["data"] == {"a": kept["a"], "b": kept["b"]}
    assert live(fake, wanted)["metadata"]["annotations"] == {ROTATED: "T1"}


def test_copies_follow_a_rotated_source() -> None:
    """A copy changes when its source was rotated, and then carries the time; a source that only changed is let be."""
    source, wanted = secret(name="source"), secret("pw: copy:n/source/a", "copy")
    fake = made(source, wanted)
    regenerate(fake.kube, source, live(fake, source), "T1")
    stale = outdated(wanted, fake.objects)

    followed = ensure(fake.kube, [wanted, source], dict(fake.objects)).generated

    assert (stale, followed) == (["pw"], {key_of(wanted): ["pw"]})
    assert live(fake, wanted)["data"]["pw"] == live(fake, source)["data"]["a"]
    assert live(fake, wanted)["metadata"]["annotations"] == {ROTATED: "T1"}
    assert outdated(wanted, fake.objects) == []
    live(fake, source)["metadata"]["annotations"] = {}
    live(fake, source)["data"]["a"] = "b3RoZXI="
    assert outdated(wanted, fake.objects) == []


def test_value_decodes() -> None:
    """A value is text; what is not there is empty."""
    assert value({"data": {"a": base64.b64encode(b"x").decode()}}, "a") == "x"
    assert (value(None, "a"), value({}, "a")) == ("", "")


SPEC: dict[str, Any] = {
    "volumes": [
        {"name": "a", "secret": {"secretName": "volume"}},
        {"name": "b", "projected": {"sources": [{"secret": {"name": "projected"}}, {"configMap": {"name": "no"}}]}},
        {"name": "c", "configMap": {"name": "no"}},
    ],
    "initContainers": [{"envFrom": [{"secretRef": {"name": "from"}}, {"configMapRef": {"name": "no"}}]}],
    "containers": [
        {
            "env": [
                {"name": "A", "valueFrom": {"secretKeyRef": {"name": "env", "key": "k"}}},
                {"name": "B", "value": "no"},
            ]
        }
    ],
}


def test_every_kind_of_reference_counts() -> None:
    """Variables, whole environments, files and projected files; nothing that is no Secret."""
    assert references(workload(**SPEC)) == {"volume", "projected", "from", "env"}
    assert references(obj("apps/v1", "Deployment", "bare", "n", spec={"template": {}})) == set()


def test_only_users_of_rotated_secrets_are_rolled() -> None:
    """Nothing before a rotation; then its users once; then nothing again."""
    wanted, user = secret(), workload()
    others = [
        workload(name="far", namespace="m"),
        workload(name="free", containers=[]),
        obj("v1", "ConfigMap", "c", "n"),
    ]
    fake = made(wanted, user, *others)
    tree = [user, *others, wanted, workload(name="absent")]
    before = pending(tree, fake.objects)
    regenerate(fake.kube, wanted, live(fake, wanted), "T1")

    due = pending(tree, fake.objects)
    roll(fake.kube, due[0])

    assert (before, [entry.key.name for entry in due]) == ([], ["app"])
    assert live(fake, user)["spec"]["template"]["metadata"]["annotations"] == {USED: due[0].digest}
    assert pending(tree, fake.objects) == []
    regenerate(fake.kube, wanted, live(fake, wanted), "T2")
    assert [entry.digest != due[0].digest for entry in pending(tree, fake.objects)] == [True]


def test_databases_go_first_then_the_provider() -> None:
    """A stage waits for the one before it: what stores, who logs people in, everything else."""
    wanted = secret()
    users = [
        workload("Deployment", "b"),
        workload("DaemonSet", "d"),
        workload("Deployment", "idp"),
        workload("StatefulSet", "s"),
    ]
    fake = made(wanted, *users)
    regenerate(fake.kube, wanted, live(fake, wanted), "T1")

    groups = stages(pending(users, fake.objects), Key("apps", "Deployment", "n", "idp"))

    assert [[entry.key.name for entry in group] for group in groups] == [["s"], ["idp"], ["d", "b"]]
    assert stages([], None) == []
    assert rotation.WORKLOADS[0] == "StatefulSet"
