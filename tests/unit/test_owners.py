"""Who wrote what into a live object: hands are told from controllers, and what they added from what was there."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from betelgeuse.kube import Key, Obj
from betelgeuse.managed_fields import backwards, cut, locate, pick, pointer, shown, strays, union, without
from betelgeuse.owners import RESTARTED, Controllers, disowned, scaled
from tests.unit.fakes import obj

SETS: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.just({}),
    lambda inner: st.dictionaries(st.sampled_from(["f:a", "f:b", "f:c", 'k:{"n":1}', "."]), inner, max_size=3),
    max_leaves=8,
)
SPEC: dict[str, Any] = {"f:spec": {"f:jwt": {"f:providers": {}}}}


def entry(manager: str, fields: dict[str, Any], operation: str = "Update", **more: str) -> dict[str, Any]:
    """Return one entry of managedFields."""
    return {"manager": manager, "operation": operation, "fieldsV1": fields, **more}


def policy(*entries: dict[str, Any], **jwt: object) -> Obj:
    """Return a live policy of ours, as others wrote into it."""
    fields = [entry("betelgeuse", SPEC, "Apply"), *entries]
    spec = {"jwt": {"providers": [], **jwt}}
    return obj("gateway.envoyproxy.io/v1alpha1", "SecurityPolicy", "llm", "ai", spec=spec, managedFields=fields)


OPTIONAL: dict[str, Any] = {"f:spec": {"f:jwt": {"f:optional": {}}}}


@pytest.mark.parametrize("tool", ["kubectl-patch", "kubectl", "node-fetch", "Mozilla", "OpenAPI-Generator", "k9s"])
def test_an_added_field_is_found_whatever_the_tool(tool: str) -> None:
    """People are not known by a list of their tools."""
    found = Controllers().additions(policy(entry(tool, OPTIONAL), optional=True))

    assert list(map(str, found)) == [f"spec.jwt.optional, added by {tool!r}"]


WORKLOADS = [
    obj("apps/v1", "Deployment", "cert-manager", "c"),
    obj("apps/v1", "Deployment", "cert-manager-cainjector", "c"),
    obj("batch/v1", "CronJob", "watch", "g"),
    obj("apps/v1", "DaemonSet", "d", "k"),
]
WORKLOADS[2]["spec"] = {"jobTemplate": {"spec": {"template": {"spec": {"containers": [{"name": "watcher"}]}}}}}
WORKLOADS[3]["spec"] = {
    "template": {"spec": {"containers": [{"name": "a", "command": ["/usr/bin/cilium-agent", "x"]}]}}
}


@pytest.mark.parametrize(
    "manager",
    [
        "kube-controller-manager",
        "kubelet",
        "argocd-controller",
        "cert-manager",
        "cert-manager-cainjector",
        "cainjector",
        "watcher",
        "cilium-agent",
        "writes-status",
        "betelgeuse",
        "betelgeuse-secrets",
    ],
)
def test_what_controllers_add_stays(manager: str) -> None:
    """Kubernetes, the tree's programs, whoever writes a status, and we ourselves."""
    writer = obj("x.org/v1", "Lamp", "l", managedFields=[entry("writes-status", {}, subresource="status")])
    controllers = Controllers.of(WORKLOADS, [writer])

    assert controllers.additions(policy(entry(manager, OPTIONAL), optional=True)) == []


def test_another_declarative_owner_is_left_alone() -> None:
    """Server-side apply under a name of its own; kubectl's own apply is a hand's."""
    applied = policy(entry("keda-operator", OPTIONAL, "Apply"), optional=True)
    by_hand = policy(entry("kubectl", OPTIONAL, "Apply"), optional=True)

    assert Controllers().additions(applied) == []
    assert Controllers().owns(applied, "keda-operator")
    assert not Controllers().owns(by_hand, "kubectl")
    assert len(Controllers().additions(by_hand)) == 1


def test_status_writers_are_no_hands_and_kubectl_never_a_controller() -> None:
    """A person may write a status too; that makes nobody a controller."""
    status = entry("kubectl-edit", {"f:status": {"f:x": {}}}, subresource="status")
    controllers = Controllers.of([], [policy(status)])

    assert "kubectl-edit" not in controllers
    assert controllers.additions(policy(status)) == []


def annotated(**annotations: str) -> Obj:
    """Return a policy with annotations that a hand set."""
    fields: dict[str, Any] = {"f:metadata": {"f:annotations": {".": {}, **{f"f:{name}": {} for name in annotations}}}}
    found = policy(entry("kubectl", fields))
    found["metadata"]["annotations"] = annotations
    return found


def test_what_kubectl_leaves_behind_stays() -> None:
    """A restart, the last applied configuration, a guard: unmentioned, also where they stand alone."""
    kept = {RESTARTED: "now", "kubectl.kubernetes.io/last-applied-configuration": "{}", "betelgeuse.io/prune": "never"}
    guarded = policy(entry("kubectl-patch", {"f:metadata": {"f:finalizers": {".": {}, 'v:"a/b"': {}}}}))
    guarded["metadata"]["finalizers"] = ["a/b"]

    assert Controllers().additions(annotated(**kept)) == []
    assert Controllers().additions(guarded) == []
    found = Controllers().additions(annotated(**kept, mine="x"))
    assert [shown(each.path) for each in found] == ["metadata.annotations.mine"]
    assert [shown(each.path) for each in Controllers().additions(annotated(mine="x"))] == ["metadata.annotations"]


def test_a_jobs_spec_is_its_makers() -> None:
    """It cannot be changed, so it is not offered."""
    job = obj("batch/v1", "Job", "j", "n", spec={"suspend": False}, managedFields=[entry("x", {"f:spec": {".": {}}})])

    assert Controllers().additions(job) == []


@pytest.mark.parametrize("manager", ["kubeadm", "before-first-apply"])
def test_what_was_there_before_us_is_no_addition(manager: str) -> None:
    """But where the tree sets such a field, it is taken over."""
    found = policy(entry(manager, OPTIONAL), optional=True)

    assert Controllers().additions(found) == []
    assert not Controllers().owns(found, manager)


def test_replicas_belong_to_an_autoscaler() -> None:
    """Where there is one, a hand's scale is not undone: the default would scale to one."""
    live = obj("apps/v1", "Deployment", "d", "n", spec={"replicas": 3})
    live["metadata"]["managedFields"] = [entry("kubectl", {"f:spec": {"f:replicas": {}}}, subresource="scale")]
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}

    assert [shown(each.path) for each in Controllers().additions(live)] == ["spec.replicas"]
    assert Controllers().additions(live, autoscaled=True) == []
    autoscaler = obj("autoscaling/v2", "HorizontalPodAutoscaler", "a", "n", spec={"scaleTargetRef": target})
    assert scaled(autoscaler) == Key("apps", "Deployment", "n", "d")


def test_an_item_of_a_list_is_found_by_its_keys() -> None:
    """A variable added to a container, wherever it stands; what is gone again is no addition."""
    path = 'k:{"name":"c"}'
    env: dict[str, Any] = {'k:{"name":"MINE"}': {".": {}, "f:name": {}, "f:value": {}}, 'k:{"name":"GONE"}': {".": {}}}
    theirs = {"f:spec": {"f:containers": {path: {"f:env": env}}}}
    ours: dict[str, Any] = {
        "f:spec": {"f:containers": {path: {".": {}, "f:name": {}, "f:env": {'k:{"name":"A"}': {".": {}}}}}}
    }
    item = {"name": "c", "env": [{"name": "MINE", "value": "1"}, {"name": "A"}]}
    live = obj("v1", "Pod", "p", "n", spec={"containers": [{"name": "b"}, item]})
    live["metadata"]["managedFields"] = [entry("betelgeuse", ours, "Apply"), entry("Mozilla", theirs)]
    (found,) = Controllers().additions(live)
    place = locate(live, found.path)

    assert shown(found.path) == "spec.containers[c].env[MINE]"
    assert place == ("spec", "containers", 1, "env", 0)
    assert pointer(place) == "/spec/containers/1/env/0"
    assert without(live, [place])["spec"]["containers"][1]["env"] == [{"name": "A"}]
    assert len(live["spec"]["containers"][1]["env"]) == 2


def test_what_is_removed_is_nobodys() -> None:
    """Else a default that comes back in its place would look like an addition for ever."""
    both: dict[str, Any] = {"f:spec": {"f:jwt": {"f:optional": {}}, "f:cors": {}}}
    live = policy(
        entry("a", OPTIONAL), entry("b", both), entry("a", {"f:status": {}}, subresource="status"), optional=True
    )
    found = Controllers().additions(live)

    assert [(each["manager"], each["fieldsV1"]) for each in disowned(live, found)] == [
        ("betelgeuse", SPEC),
        ("b", both),
        ("a", {"f:status": {}}),
    ]
    assert disowned(live, [found[0]._replace(manager="b")])[2]["fieldsV1"] == {"f:spec": {"f:cors": {}}}


def test_items_of_sets_and_odd_names() -> None:
    """Sets hold values, names may hold slashes and tildes; an index or a missing item is nowhere."""
    live = {"a": ["x", "y"], "b": {"p/q~": 1}}

    assert locate(live, ("f:a", 'v:"y"')) == ("a", 1)
    assert locate(live, ("f:a", 'v:"z"')) is None
    assert locate(live, ("f:a", "i:0")) is None
    assert locate(live, ("f:b", 'k:{"n":1}')) is None
    assert locate(live, ("f:b", "f:x")) is None
    assert pointer(("b", "p/q~")) == "/b/p~1q~0"
    assert shown(("f:a", 'v:"y"')) == "a[y]"
    assert shown(("f:a", "i:0")) == "a[i:0]"
    assert backwards([("a", 0), ("a", 10), ("a", 2), ("b",)]) == [("b",), ("a", 10), ("a", 2), ("a", 0)]


@given(SETS, SETS)
def test_sets_behave_as_sets(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Nothing strays from a union; without its strays, nothing strays from the others."""
    assert list(strays(first, union((first, second)))) == []
    assert union((first, {})) == first
    rest = copy.deepcopy(first)
    for path in list(strays(first, second)):
        assert pick(first, path) != {}
        rest = cut(rest, path)
    assert list(strays(rest, second)) == []
    assert cut(first, ("f:nowhere", "f:x")) == first
