"""Fields that cannot change: what is advised keeps data, and works as it stands."""

import pytest

from betelgeuse.apply import failure
from betelgeuse.immutable import advice, fixed
from tests.unit.fakes import obj, refused


@pytest.mark.parametrize(
    "message",
    [
        'Deployment.apps "d" is invalid: spec.selector: Invalid value: {}: field is immutable',
        'PersistentVolumeClaim "p" is invalid: spec: Forbidden: spec is immutable after creation except resources',
        "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity",
        'persistentvolumeclaims "p" is forbidden: the storageclass that provisions the pvc must support resize',
        "spec: Forbidden: updates to statefulset spec for fields other than 'replicas' are forbidden",
        "provisioner: Forbidden: updates to provisioner are forbidden.",
        'RoleBinding "b" is invalid: roleRef: Invalid value: {}: cannot change roleRef',
        'Service "s" is invalid: spec.clusterIPs[0]: Invalid value: []: may not change once set',
    ],
)
def test_the_servers_words_are_known(message: str) -> None:
    """Each of its ways to say that a field cannot change."""
    assert fixed(message)


def test_other_refusals_are_no_reason_to_delete() -> None:
    """A wrong value is not a fixed one."""
    assert not fixed('Deployment.apps "d" is invalid: spec.replicas: Invalid value: -1: must be greater than 0')


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("v1", "PersistentVolumeClaim"),
        ("v1", "PersistentVolume"),
        ("v1", "Secret"),
        ("v1", "Namespace"),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        ("postgresql.cnpg.io/v1", "Cluster"),
    ],
)
def test_what_holds_data_is_never_to_be_deleted(version: str, kind: str) -> None:
    """Nor what takes others with it, nor what may stand for a database."""
    words = advice(obj(version, kind, "x", "n"))

    assert "kubectl delete" not in words
    assert "put the old value back into the tree" in words


def test_commands_are_whole() -> None:
    """Kind with its group, name, namespace."""
    assert "`kubectl delete deployment.apps d --namespace=n`" in advice(obj("apps/v1", "Deployment", "d", "n"))
    assert "`kubectl delete storageclass.storage.k8s.io s`" in advice(obj("storage.k8s.io/v1", "StorageClass", "s"))
    words = advice(obj("apps/v1", "StatefulSet", "s", "n"))
    assert "`kubectl delete statefulset.apps s --namespace=n --cascade=orphan`" in words


def test_a_secrets_refusal_keeps_its_values_in_both_ways() -> None:
    """They are not shown, and not advised away."""
    error = refused(422, 'data: Forbidden: field is immutable when "immutable" is set', [{"field": "data"}])

    words = str(failure(obj("v1", "Secret", "s", "n"), error))
    assert words.startswith("Secret n/s was refused: data (HTTP 422); deleting it may delete data")
