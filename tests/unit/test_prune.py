"""What may go, and in which order."""

import pytest

from betelgeuse.deletion import advice
from betelgeuse.inventory import Inventory
from betelgeuse.kube import Key, Obj, key_of
from betelgeuse.prune import KEEP, candidates, incidental, keep_reason, order, prune
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
