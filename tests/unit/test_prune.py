"""What may go, and in which order."""

import pytest

from betelgeuse.deletion import advice
from betelgeuse.inventory import Inventory
from betelgeuse.kube import Key, Obj, UnknownKindError, key_of
from betelgeuse.prune import KEEP, candidates, claims, incidental, keep_reason, order, prune
from betelgeuse.secrets import ANNOTATION
from tests.unit.fakes import FakeKube, obj

OURS = [{"manager": "betelgeuse", "operation": "Apply"}]


def mine(*objects: Obj) -> Inventory:
    """Return an inventory that lists the objects."""
    return Inventory({key_of(entry): entry["apiVersion"] for entry in objects}, {})


def test_order_is_from_the_top_down() -> None:
    """Custom resources first (their controllers must still run), CRDs and namespaces last."""
    kinds = [("", "Namespace"), ("", "Service"), ("apps", "Deployment"), ("x.org", "Lamp")]
    kinds += [("apiextensions.k8s.io", "CustomResourceDefinition"), ("gateway.networking.k8s.io", "Gateway")]
    kinds += [("rbac.authorization.k8s.io", "Role")]

    assert [key.kind for key in order(Key(group, kind, "", "a") for group, kind in kinds)] == [
        "Gateway",
        "Lamp",
        "Deployment",
        "Service",
        "Role",
        "CustomResourceDefinition",
        "Namespace",
    ]


@pytest.mark.parametrize(
    ("live", "kept"),
    [
        (obj("v1", "PersistentVolumeClaim", "a", "n"), True),
        (obj("v1", "PersistentVolume", "a"), True),
        (obj("snapshot.storage.k8s.io/v1", "VolumeSnapshot", "a", "n"), True),
        (obj("postgresql.cnpg.io/v1", "Cluster", "a", "n"), True),
        (obj("x.org/v1", "Cluster", "a", "n"), False),
        (obj("v1", "Secret", "a", "n", annotations={ANNOTATION: "a: hex:1"}), True),
        (obj("v1", "ConfigMap", "a", "n", annotations={KEEP: "never"}), True),
        (obj("v1", "Namespace", "betelgeuse-system"), True),
        (obj("v1", "Secret", "a", "n"), False),
        (obj("v1", "ConfigMap", "a", "n", annotations={KEEP: "sometimes"}), False),
    ],
)
def test_data_stays(live: Obj, *, kept: bool) -> None:
    """What holds data, or says so, is never deleted by a prune."""
    assert bool(keep_reason(live)) == kept


def test_incidental_objects_do_not_hold_a_namespace() -> None:
    """What Kubernetes or an owner put there goes with it; anything else holds it."""
    leaving = frozenset({Key("", "ConfigMap", "n", "ours")})
    owned = obj("v1", "Pod", "p", "n", ownerReferences=[{"name": "d"}])

    assert incidental(owned, leaving)
    assert incidental(obj("v1", "ConfigMap", "kube-root-ca.crt", "n"), leaving)
    assert incidental(obj("v1", "ConfigMap", "ours", "n"), leaving)
    assert not incidental(obj("v1", "ConfigMap", "theirs", "n"), leaving)


def test_prune_deletes_ours_and_waits_for_custom_resources() -> None:
    """Ours goes, others' stays, and what is gone already is forgotten."""
    lamp = obj("x.org/v1", "Lamp", "l", "n", managedFields=OURS, uid="1")
    config = obj("v1", "ConfigMap", "c", "n", managedFields=OURS, uid="2")
    stolen = obj("v1", "ConfigMap", "s", "n", managedFields=[{"manager": "kubectl"}], uid="3")
    gone = obj("v1", "ConfigMap", "gone", "n")
    before = obj("v1", "ConfigMap", "coredns", "kube-system", managedFields=OURS, uid="4")
    fake = FakeKube(lamp, config, stolen, before)
    owned = mine(lamp, config, stolen, gone, before)
    owned.adopted.add(key_of(before))

    result = prune(fake.kube, owned, [])

    assert [key for verb, key in fake.log if verb == "delete"] == [key_of(lamp), key_of(config)]
    assert result.deleted == {key_of(lamp): "1", key_of(config): "2"}
    assert result.forgotten == {
        key_of(gone): "is gone already",
        key_of(before): "was there before us and stays as it is",
        key_of(stolen): "was made anew by somebody else and is left alone",
    }


def test_nothing_left_nothing_asked() -> None:
    """When nothing left the tree, the cluster is not even asked."""
    config = obj("v1", "ConfigMap", "c", "n")

    assert candidates(FakeKube(unserved=["ConfigMap"]).kube, mine(config), [config]).deleted == {}


def test_namespace_and_crd_stay_while_used() -> None:
    """A namespace with foreign content and a CRD with foreign instances stay, each with a reason."""
    namespace = obj("v1", "Namespace", "n", managedFields=OURS, uid="1")
    crd = obj("apiextensions.k8s.io/v1", "CustomResourceDefinition", "lamps.x.org", managedFields=OURS, uid="2")
    crd["spec"] = {"group": "x.org", "names": {"kind": "Lamp"}, "versions": [{"name": "v1", "served": True}]}
    lamp = obj("x.org/v1", "Lamp", "desk", "n")
    fake = FakeKube(namespace, crd, lamp)

    assert candidates(fake.kube, mine(namespace, crd), []).kept == {
        key_of(crd): "Lamp n/desk still uses it",
        key_of(namespace): "it still holds Lamp n/desk",
    }
    fake.delete(lamp)
    assert set(candidates(fake.kube, mine(namespace, crd), []).deleted) == {key_of(namespace), key_of(crd)}


def test_controllers_outlive_what_they_finalise(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a custom resource is held, nothing behind it goes: nobody else could ever let it go."""
    monkeypatch.setattr("betelgeuse.prune._FINALISE_SECONDS", -1.0)
    lamp = obj("x.org/v1", "Lamp", "l", "n", managedFields=OURS, uid="1", finalizers=["x.org/guard"])
    controller = obj("apps/v1", "Deployment", "c", "n", managedFields=OURS, uid="2")
    fake = FakeKube(lamp, controller)
    owned = mine(lamp, controller)

    for _ in range(2):
        result = prune(fake.kube, owned, [])
        assert (list(result.going), result.deleted) == ([key_of(lamp)], {})
        assert result.kept == {key_of(controller): "Lamp n/l is not gone yet, and may need it"}
    fake.objects.pop(key_of(lamp))
    assert list(prune(fake.kube, owned, []).deleted) == [key_of(controller)]


@pytest.mark.parametrize(
    ("live", "words"),
    [
        (obj("v1", "PersistentVolumeClaim", "a", "n", finalizers=["p"]), "it goes when no pod uses it any more"),
        (obj("v1", "PersistentVolume", "a", finalizers=["p"]), "it goes with its claim"),
        (obj("v1", "Namespace", "n"), "it goes by itself"),
        (obj("x.org/v1", "Lamp", "l", "n", finalizers=["p", "q"]), "`kubectl patch lamp.x.org l --namespace=n --type"),
    ],
)
def test_advice_never_pulls_a_guard_from_data(live: Obj, words: str) -> None:
    """What to do depends on what is held."""
    assert words in advice(live)
    assert ("finalizers" in advice(live)) == (live["kind"] == "Lamp")


def database(uid: str = "1") -> Obj:
    """Return a StatefulSet of ours that makes volume claims."""
    templates = [{"metadata": {"name": "data"}}, {"metadata": {"name": "wal"}}]
    return obj(
        "apps/v1", "StatefulSet", "db", "n", managedFields=OURS, uid=uid, spec={"volumeClaimTemplates": templates}
    )


def claim(name: str, *owners: Obj) -> Obj:
    """Return a volume claim that some objects own."""
    references = [
        {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"]}
        | {"uid": owner["metadata"]["uid"]}
        for owner in owners
    ]
    return obj("v1", "PersistentVolumeClaim", name, "n", uid=f"uid-{name}", ownerReferences=references)


def test_claims_of_a_leaving_statefulset_become_ours() -> None:
    """Those it made, by their names; nobody else's, and none of a StatefulSet that is not ours any more."""
    made = [claim("data-db-0"), claim("data-db-12"), claim("wal-db-0")]
    others = [claim("data-db-x"), claim("data-dba-0"), claim("mine")]
    fake, home = FakeKube(database(), *made, *others), obj("v1", "Namespace", "n")

    found = claims(fake.kube, mine(database(), home), [home])

    assert set(found.versions) == {key_of(entry) for entry in (database(), home, *made)}
    assert claims(fake.kube, mine(database(), home), [database(), home]) == mine(database(), home)
    stolen = {**database(), "metadata": {**database()["metadata"], "managedFields": [{"manager": "kubectl"}]}}
    fake.put(stolen)
    assert claims(fake.kube, mine(database(), home), [home]) == mine(database(), home)
    bare = {**database(), "spec": {}}
    fake.put(bare)
    assert claims(fake.kube, mine(bare, home), [home]) == mine(bare, home)


def test_claims_stay_until_their_data_may_go() -> None:
    """The StatefulSet goes, its claims and their namespace stay ours; a prune of data takes them all."""
    home = obj("v1", "Namespace", "n", managedFields=OURS, uid="2")
    volume = claim("data-db-0")
    fake = FakeKube(database(), home, volume)
    owned = claims(fake.kube, mine(database(), home), [])

    first = prune(fake.kube, owned, [])
    owned = owned.exact([], {}, first.kept)

    assert set(first.deleted) == {key_of(database())}
    assert first.kept == {
        key_of(volume): "it holds data",
        key_of(home): "it still holds PersistentVolumeClaim n/data-db-0",
    }
    assert first.data == set(first.kept)
    assert claims(fake.kube, owned, []) == owned
    assert claims(fake.kube, owned, [database()]).versions == mine(home).versions
    assert set(prune(fake.kube, owned, [], data=False).deleted) == {key_of(volume), key_of(home)}


def test_what_takes_claims_along_stays() -> None:
    """An owner of a claim, however far up: deleting it deletes the claim. Pods' ephemeral volumes count for nothing."""
    database_of = obj("db.x.org/v1", "Database", "one", "n", managedFields=OURS, uid="1")
    instance = obj("db.x.org/v1", "Instance", "one-1", "n", uid="2")
    instance["metadata"]["ownerReferences"] = claim("x", database_of)["metadata"]["ownerReferences"]
    pod = obj("v1", "Pod", "p", "n", uid="3")
    scratch = obj("apps/v1", "Deployment", "scratch", "n", managedFields=OURS, uid="4")
    pod["metadata"]["ownerReferences"] = claim("x", scratch)["metadata"]["ownerReferences"]
    fake = FakeKube(database_of, instance, pod, scratch, claim("one-1", instance), claim("p-scratch", pod))
    owned = mine(database_of, scratch)

    found = candidates(fake.kube, owned, [])

    assert found.kept == {key_of(database_of): "PersistentVolumeClaim n/one-1 would be deleted with it"}
    assert set(found.deleted) == {key_of(scratch)}
    assert found.data == {key_of(database_of)}
    assert set(candidates(fake.kube, owned, [], data=False).deleted) == {key_of(database_of), key_of(scratch)}


def test_an_owner_whose_kind_is_gone_ends_the_climb() -> None:
    """It has no owners we could see, and is no reason to fail."""
    lost = obj("x.org/v1", "Lost", "one", "n", uid="1")
    config = obj("v1", "ConfigMap", "c", "n", managedFields=OURS, uid="2")

    class Refusing(FakeKube):
        def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Obj | None:
            if kind == "Lost":
                raise UnknownKindError(kind, 404)
            return super().get(api_version, kind, name, namespace)

    fake = Refusing(config, claim("c", lost))

    assert set(candidates(fake.kube, mine(config), []).deleted) == {key_of(config)}


def test_what_others_need_is_not_kept_for_its_data() -> None:
    """A prune of data would not delete it either: no advice to."""
    home = obj("v1", "Namespace", "n", managedFields=OURS, uid="1")
    fake = FakeKube(home, obj("v1", "ConfigMap", "theirs", "n"))

    found = candidates(fake.kube, mine(home), [])

    assert (set(found.kept), found.data) == ({key_of(home)}, set())
