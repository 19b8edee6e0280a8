"""The order of an apply."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from betelgeuse.errors import UsageError
from betelgeuse.kube import Obj
from betelgeuse.waves import ANNOTATION, plan
from tests.unit.fakes import obj

CRD = obj("apiextensions.k8s.io/v1", "CustomResourceDefinition", "lamps.x.org")
CRD["spec"] = {"group": "x.org", "names": {"kind": "Lamp"}}
LAMP = obj("x.org/v1", "Lamp", "a", "n")
NAMESPACE = obj("v1", "Namespace", "n")
WEBHOOK = obj("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "w")
DEPLOYMENT = obj("apps/v1", "Deployment", "d", "n")
SERVICE = obj("v1", "Service", "s", "n")
CONFIG = obj("v1", "ConfigMap", "c", "n")
CLASS = obj("storage.k8s.io/v1", "StorageClass", "fast")


def names(objects: list[Obj]) -> list[list[list[str]]]:
    """Return the names per wave and phase."""
    return [[[entry["metadata"]["name"] for entry in phase] for phase in group.phases] for group in plan(objects)]


def test_waves_are_computed() -> None:
    """Foundations, then built-in kinds with webhooks last, then what CRDs define; a phase keeps its order."""
    everything = [LAMP, WEBHOOK, DEPLOYMENT, SERVICE, CONFIG, CRD, NAMESPACE, CLASS]

    assert [group.wave for group in plan(everything)] == [0, 10, 20]
    assert names(everything) == [[["lamps.x.org", "n", "fast"]], [["c"], ["s"], ["d"], ["w"]], [["a"]]]
    assert [group.barrier for group in plan(everything)] == [False, False, False]


def test_without_its_crd_a_custom_resource_is_built_in() -> None:
    """Only a CRD of the tree makes a kind custom: others' kinds are served before we begin."""
    assert [group.wave for group in plan([LAMP])] == [10]


def test_annotation_moves_an_object() -> None:
    """A sync-wave puts an object where it says; a number of its own makes a barrier."""
    late = obj("v1", "ConfigMap", "late", "n", annotations={ANNOTATION: "15"})
    early = obj("apps/v1", "Deployment", "early", "n", annotations={ANNOTATION: "-5"})
    waves = plan([CONFIG, late, early, CRD, LAMP])

    assert [(group.wave, group.barrier) for group in waves] == [
        (-5, True),
        (0, False),
        (10, False),
        (15, True),
        (20, False),
    ]
    assert waves[3].objects == [late]


def test_wrong_annotation_is_named() -> None:
    """A sync-wave that is no number names the object."""
    with pytest.raises(UsageError, match=r"ConfigMap n/c: annotation .* must be a whole number, got 'soon'"):
        plan([obj("v1", "ConfigMap", "c", "n", annotations={ANNOTATION: "soon"})])


@given(st.permutations([LAMP, WEBHOOK, DEPLOYMENT, SERVICE, CONFIG, CRD, NAMESPACE, CLASS]))
def test_nothing_is_lost_whatever_the_order(objects: list[Obj]) -> None:
    """Every object is in exactly one group, and the groups do not depend on the order of the input."""
    groups = plan(objects)
    applied = [entry for group in groups for entry in group.objects]

    assert sorted(map(str, applied)) == sorted(map(str, objects))
    assert [{entry["kind"] for phase in group.phases for entry in phase} for group in groups][2] == {"Lamp"}
