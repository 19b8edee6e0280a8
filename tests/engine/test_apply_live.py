"""The engine's promises, proven on a real kube-apiserver (no nodes, no controllers)."""

import base64
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from betelgeuse import inventory, lease
from betelgeuse.apply import Outcome
from betelgeuse.apply_rules import conflicts_of, transient
from betelgeuse.errors import BetelgeuseError, ConflictError, LockedError, RefusedError, WaitTimeoutError
from betelgeuse.kube import ApiError, Key, Kube, Obj, UnknownKindError, UnreachableError, connect, key_of
from betelgeuse.kube.command import kubectl
from betelgeuse.owners import Controllers
from betelgeuse.settings import Settings
from betelgeuse.workflows.apply_tree import Result, apply_tree
from betelgeuse.workflows.destroy import remove
from betelgeuse.workflows.plan import plan
from betelgeuse.workflows.status import status

Names = Iterator[str]
WARM_SECONDS = 10.0
"""What a second deploy of the whole platform may take; the engine is all of it."""
SERVED_SECONDS = 30.0
"""Until a declared kind is served, and a declared webhook asked."""


def obj(api_version: str, kind: str, name: str, namespace: str = "", **rest: Any) -> Obj:  # noqa: ANN401
    """Return an object; `annotations` and `labels` go where they belong."""
    meta: dict[str, Any] = {"name": name} | ({"namespace": namespace} if namespace else {})
    for part in ("annotations", "labels"):
        if part in rest:
            meta[part] = rest.pop(part)
    return {"apiVersion": api_version, "kind": kind, "metadata": meta, **rest}


def deployment(namespace: str, name: str = "web", replicas: int = 1) -> Obj:
    """Return a Deployment."""
    labels = {"app": name}
    container = {"name": "c", "image": "example.org/app:1.0", "ports": [{"containerPort": 80}]}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return obj("apps/v1", "Deployment", name, namespace, spec=spec)


def service(namespace: str, name: str = "web") -> Obj:
    """Return a Service."""
    return obj("v1", "Service", name, namespace, spec={"selector": {"app": name}, "ports": [{"port": 80}]})


def crd(kind: str, group: str, padding: int = 0) -> Obj:
    """Return a CRD, as big as real ones are."""
    plural = f"{kind.lower()}s"
    fields = {f"field{number}": {"type": "string", "description": "d" * 100} for number in range(padding)}
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}} | fields}},
    }
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": kind, "plural": plural, "singular": kind.lower()}
    spec = {"group": group, "scope": "Namespaced", "names": names, "versions": [version]}
    return obj("apiextensions.k8s.io/v1", "CustomResourceDefinition", f"{plural}.{group}", spec=spec)


def generated(
    namespace: str, name: str = "keys", recipe: str = "a: hex:16\nb: password:24\ntls: selfsigned:web,web.svc\n"
) -> Obj:
    """Return a Secret whose values the engine makes."""
    return obj("v1", "Secret", name, namespace, annotations={"betelgeuse.io/generate": recipe})


def tree(namespace: str) -> list[Obj]:
    """Return one of everything."""
    return [
        generated(namespace),
        deployment(namespace),
        service(namespace),
        obj("v1", "ConfigMap", "settings", namespace, data={"a": "1"}),
        obj("v1", "Namespace", namespace),
    ]


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> str:
    """Return a namespace of the test's own; without a controller a deleted one never goes, so none is used twice."""
    return re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:50].strip("-")


def ctl(settings: Settings, *arguments: str) -> str:
    """Do something by hand."""
    argv = [kubectl(), f"--context={settings.kube_context}", *arguments]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout  # noqa: S603 - the pinned kubectl


def deploy(settings: Settings, kube: Kube, objects: list[Obj]) -> Result:
    """Apply without waiting: nothing becomes ready where no controller runs."""
    return apply_tree(settings, kube, objects, wait=False)


def live(kube: Kube, item: Obj) -> Obj:
    """Return the cluster's version of an object."""
    meta = item["metadata"]
    found = kube.get(item["apiVersion"], item["kind"], meta["name"], meta.get("namespace"))
    assert found is not None
    return found


def finalize(kube: Kube, namespace: str) -> None:
    """End a namespace's deletion, as its controller would."""
    found = live(kube, obj("v1", "Namespace", namespace))
    found["spec"]["finalizers"] = []
    kube.request("PUT", f"/api/v1/namespaces/{namespace}/finalize", body=found)


def test_second_apply_changes_nothing(settings: Settings, kube: Kube, namespace: str) -> None:
    """The first apply creates everything, the second changes nothing and sends no write."""
    first = deploy(settings, kube, tree(namespace))
    before = {item["kind"]: live(kube, item)["metadata"]["resourceVersion"] for item in tree(namespace)}
    second = deploy(settings, kube, tree(namespace))

    assert list(first.applied.outcomes.values()).count(Outcome.CREATED) == 5
    assert (second.changes, len(second.applied.outcomes)) == (0, 5)
    assert before == {item["kind"]: live(kube, item)["metadata"]["resourceVersion"] for item in tree(namespace)}
    assert plan(settings, kube, tree(namespace)) == 0


def test_scaled_by_hand_is_named_and_repaired(
    settings: Settings, kube: Kube, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """After `kubectl scale`, plan names the field and exits 2, and deploy sets it back."""
    deploy(settings, kube, tree(namespace))
    ctl(settings, "-n", namespace, "scale", "deployment/web", "--replicas=3")
    capsys.readouterr()

    assert plan(settings, kube, tree(namespace)) == 2
    shown = capsys.readouterr().out
    assert f"Deployment {namespace}/web" in shown
    assert "-  replicas: 3" in shown
    assert "+  replicas: 1" in shown
    assert deploy(settings, kube, tree(namespace)).applied.changes == [Key("apps", "Deployment", namespace, "web")]
    assert live(kube, deployment(namespace))["spec"]["replicas"] == 1
    assert plan(settings, kube, tree(namespace)) == 0


@pytest.mark.parametrize(
    ("patch", "kind"),
    [
        ('{"spec":{"selector":{"extra":"x"}}}', "service/web"),
        ('{"data":{"a":"2"}}', "configmap/settings"),
        ('{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"evil.example/app:2"}]}}}}', "deployment/web"),
        ('{"metadata":{"annotations":{"betelgeuse.io/generate":"a: hex:1"}}}', "secret/keys"),
    ],
    ids=["atomic-map-gains-a-key", "value", "list-item", "annotation"],
)
def test_every_kind_of_drift_is_seen(settings: Settings, kube: Kube, namespace: str, patch: str, kind: str) -> None:
    """Whatever a hand changed in a field of ours is seen by plan and repaired by deploy."""
    deploy(settings, kube, tree(namespace))
    ctl(settings, "-n", namespace, "patch", kind, "-p", patch)

    assert plan(settings, kube, tree(namespace)) == 2
    assert deploy(settings, kube, tree(namespace)).changes == 1
    assert plan(settings, kube, tree(namespace)) == 0
    assert "extra" not in live(kube, service(namespace))["spec"]["selector"]


@pytest.mark.parametrize("tool", ["kubectl-patch", "node-fetch", "Mozilla", "OpenAPI-Generator"])
@pytest.mark.parametrize(
    ("patch", "kind", "field"),
    [
        ('{"data":{"b":"2"}}', "configmap/settings", "data.b"),
        ('{"metadata":{"labels":{"mine":"x"}}}', "service/web", "metadata.labels"),
        (
            '{"spec":{"template":{"spec":{"containers":[{"name":"c","env":[{"name":"MINE","value":"1"}]}]}}}}',
            "deployment/web",
            "spec.template.spec.containers[c].env",
        ),
        ('{"spec":{"template":{"spec":{"hostNetwork":true}}}}', "deployment/web", "spec.template.spec.hostNetwork"),
        ('{"data":{"mine":"eA=="}}', "secret/keys", "data.mine"),
    ],
    ids=["key", "label", "variable", "field", "secret"],
)
def test_what_a_hand_adds_is_seen_and_removed(  # noqa: PLR0913, PLR0917 - fixtures and cases
    settings: Settings,
    kube: Kube,
    namespace: str,
    capsys: pytest.CaptureFixture[str],
    tool: str,
    patch: str,
    kind: str,
    field: str,
) -> None:
    """A field the tree knows nothing of is no part of our object, whatever tool put it there."""
    deploy(settings, kube, tree(namespace))
    before = ctl(settings, "-n", namespace, "get", kind, "-o", "jsonpath={.spec}{.data}{.metadata.labels}")
    ctl(settings, "-n", namespace, "patch", kind, f"--field-manager={tool}", "-p", patch)
    capsys.readouterr()

    assert plan(settings, kube, tree(namespace)) == 2
    assert f"# {field}, added by '{tool}'" in capsys.readouterr().out
    assert deploy(settings, kube, tree(namespace)).changes == 1
    assert f"{field}, added by '{tool}': removed" in capsys.readouterr().err
    assert ctl(settings, "-n", namespace, "get", kind, "-o", "jsonpath={.spec}{.data}{.metadata.labels}") == before
    assert plan(settings, kube, tree(namespace)) == 0
    assert deploy(settings, kube, tree(namespace)).changes == 0


def test_what_a_hand_adds_to_a_custom_resource_is_removed(
    settings: Settings, kube: Kube, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A policy that gains `optional: true` must not stay open."""
    instance = obj("added.example.org/v1", "Bell", "front", namespace, spec={"size": 1})
    objects = [obj("v1", "Namespace", namespace), crd("Bell", "added.example.org", padding=2), instance]
    deploy(settings, kube, objects)
    ctl(settings, "-n", namespace, "patch", "bell/front", "--type=merge", "-p", '{"spec":{"field0":"x"}}')
    capsys.readouterr()

    assert plan(settings, kube, objects) == 2
    assert "-  field0: x" in capsys.readouterr().out
    assert deploy(settings, kube, objects).changes == 1
    assert live(kube, instance)["spec"] == {"size": 1}
    assert plan(settings, kube, objects) == 0


def test_a_value_that_a_hand_set_stays(settings: Settings, kube: Kube, namespace: str) -> None:
    """A generated value that a person changed is not removed: whatever uses the Secret would stop working."""
    objects = [obj("v1", "Namespace", namespace), generated(namespace)]
    deploy(settings, kube, objects)
    ctl(settings, "-n", namespace, "patch", "secret/keys", "-p", '{"stringData":{"a":"mine","more":"x"}}')

    assert plan(settings, kube, objects) == 2
    deploy(settings, kube, objects)
    data = live(kube, generated(namespace))["data"]

    assert data["a"] == base64.b64encode(b"mine").decode()
    assert "more" not in data
    assert plan(settings, kube, objects) == 0


def test_an_addition_beside_a_change_is_planned_whole(
    settings: Settings, kube: Kube, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A hand changed one key of ours and added another: one diff shows both."""
    deploy(settings, kube, tree(namespace))
    ctl(settings, "-n", namespace, "patch", "configmap/settings", "-p", '{"data":{"a":"9","b":"2"}}')
    capsys.readouterr()

    assert plan(settings, kube, tree(namespace)) == 2
    shown = capsys.readouterr().out
    assert [line in shown for line in ("-  a: '9'", "+  a: '1'", "-  b: '2'")] == [True] * 3
    assert deploy(settings, kube, tree(namespace)).changes == 1
    assert live(kube, tree(namespace)[3])["data"] == {"a": "1"}


def test_a_hand_that_set_the_default_changed_nothing(settings: Settings, kube: Kube, namespace: str) -> None:
    """A value that comes back by itself is no difference, and nobody's after the next deploy."""
    deploy(settings, kube, tree(namespace))
    for limit in (11, 10):
        patch = f'{{"spec":{{"revisionHistoryLimit":{limit}}}}}'
        ctl(settings, "-n", namespace, "patch", "deployment/web", "-p", patch)

    assert plan(settings, kube, tree(namespace)) == 0
    assert deploy(settings, kube, tree(namespace)).changes == 0
    version = live(kube, deployment(namespace))["metadata"]["resourceVersion"]
    assert deploy(settings, kube, tree(namespace)).changes == 0
    assert live(kube, deployment(namespace))["metadata"]["resourceVersion"] == version


def test_made_anew_by_hand_becomes_the_trees(settings: Settings, kube: Kube, namespace: str) -> None:
    """Deleted and created by hand with more in it: the defaults stay, the addition goes."""
    deploy(settings, kube, tree(namespace))
    for kind in ("deployment/web", "service/web"):
        found = json.loads(ctl(settings, "-n", namespace, "get", kind, "-o", "json"))
        made = deployment(namespace) if kind.startswith("deployment") else service(namespace)
        made["metadata"]["labels"] = {"mine": "x"}
        ctl(settings, "-n", namespace, "delete", kind)
        kube.create(made, "Mozilla")
        assert found["spec"]

    assert deploy(settings, kube, tree(namespace)).changes == 2
    assert not live(kube, deployment(namespace))["metadata"].get("labels")
    assert live(kube, service(namespace))["spec"]["clusterIP"]
    assert live(kube, deployment(namespace))["spec"]["revisionHistoryLimit"] == 10
    assert plan(settings, kube, tree(namespace)) == 0


def test_what_controllers_write_stays_unmentioned(
    settings: Settings, kube: Kube, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rollout's annotations, a restart, an injected value: no plan, no change."""
    deploy(settings, kube, tree(namespace))
    ctl(settings, "-n", namespace, "rollout", "restart", "deployment/web")
    add = {"op": "add", "path": "/metadata/annotations", "value": {"deployment.kubernetes.io/revision": "2", "x": "y"}}
    kube.json_patch(deployment(namespace), [add], "kube-controller-manager")
    inject = {"op": "add", "path": "/data/ca", "value": "injected"}
    # `web` is a program of the tree: its Deployment says so.
    kube.json_patch(tree(namespace)[3], [inject], "web-injector")
    capsys.readouterr()

    assert plan(settings, kube, tree(namespace)) == 0
    assert capsys.readouterr().out == ""
    assert deploy(settings, kube, tree(namespace)).changes == 0
    assert live(kube, tree(namespace)[3])["data"]["ca"] == "injected"
    assert live(kube, deployment(namespace))["metadata"]["annotations"]["x"] == "y"


def test_replicas_come_back_when_the_autoscaler_is_gone(settings: Settings, kube: Kube, namespace: str) -> None:
    """While it is there, it is not fought; the field it leaves behind is the tree's again."""
    deploy(settings, kube, tree(namespace))
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    autoscaler = obj("autoscaling/v2", "HorizontalPodAutoscaler", "web", namespace)
    kube.create(autoscaler | {"spec": {"scaleTargetRef": target, "maxReplicas": 5}}, "kubectl-autoscale")
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/web/scale"
    query, body = {"fieldManager": "kube-controller-manager"}, {"spec": {"replicas": 3}}
    kube.request("PATCH", path, query=query, body=body, content_type="application/merge-patch+json")

    with pytest.raises(ConflictError, match=r"\.spec\.replicas belongs to 'kube-controller-manager'"):
        deploy(settings, kube, tree(namespace))
    kube.delete(autoscaler)
    assert plan(settings, kube, tree(namespace)) == 2
    assert deploy(settings, kube, tree(namespace)).changes == 1
    assert live(kube, deployment(namespace))["spec"]["replicas"] == 1
    assert plan(settings, kube, tree(namespace)) == 0


FREE = '{"metadata":{"finalizers":null}}'


def test_held_by_a_finalizer_is_named_and_made_anew(
    settings: Settings,
    kube: Kube,
    namespace: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Deleted by hand and held: plan and deploy say by what; what they say to do works, and the object comes back."""
    monkeypatch.setattr("betelgeuse.apply._GOING_SECONDS", 1.0)
    deploy(settings, kube, tree(namespace))
    ctl(settings, "-n", namespace, "patch", "service/web", "-p", '{"metadata":{"finalizers":["example.org/guard"]}}')
    ctl(settings, "-n", namespace, "delete", "service/web", "--wait=false")
    capsys.readouterr()

    assert plan(settings, kube, tree(namespace)) == 2
    assert f"! Service {namespace}/web is being deleted since" in capsys.readouterr().out
    with pytest.raises(WaitTimeoutError, match=r"finalizer example\.org/guard holds it") as caught:
        deploy(settings, kube, tree(namespace))
    command = re.search("`kubectl (.*)`", str(caught.value))
    assert command is not None
    ctl(settings, *shlex.split(command[1]))
    result = deploy(settings, kube, tree(namespace))
    assert result.applied.outcomes[Key("", "Service", namespace, "web")] == Outcome.CREATED
    assert plan(settings, kube, tree(namespace)) == 0


def test_held_while_leaving_the_tree_is_never_orphaned(
    settings: Settings, kube: Kube, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It stays in the inventory, named by every deploy and plan, until it is gone."""
    deploy(settings, kube, tree(namespace))
    ctl(settings, "-n", namespace, "patch", "service/web", "-p", '{"metadata":{"finalizers":["example.org/guard"]}}')
    rest = [item for item in tree(namespace) if item["kind"] != "Service"]
    key = Key("", "Service", namespace, "web")
    for _ in range(2):
        result = deploy(settings, kube, rest)
        assert (list(result.pruned.going), result.pruned.deleted) == ([key], {})
        assert "web: left the tree, but is not gone yet" in capsys.readouterr().err
        assert key in inventory.load(kube).versions
        assert plan(settings, kube, rest) == 2
    ctl(settings, "-n", namespace, "patch", "service/web", "--type=merge", "-p", FREE)

    deploy(settings, kube, rest)
    assert key not in inventory.load(kube).versions
    assert plan(settings, kube, rest) == 0


@pytest.mark.parametrize("refused", [{"stringData": {"a": 735191}}, {"data": {"a": "canary 735191"}}])
def test_a_refused_secret_keeps_its_value(kube: Kube, namespace: str, refused: Obj) -> None:
    """The API server repeats a value that has another type: the line tells the place, never the value."""
    kube.create(obj("v1", "Namespace", namespace), "test")
    secret = obj("v1", "Secret", "s", namespace, **refused)

    for send in (kube.server_side_apply, kube.create):
        with pytest.raises(ApiError) as caught:
            send(secret, "test")
        assert "735191" not in f"{caught.value} {caught.value.causes}"


def test_deleted_by_hand_comes_back(settings: Settings, kube: Kube, namespace: str) -> None:
    """An object deleted by hand is created again."""
    deploy(settings, kube, tree(namespace))
    ctl(settings, "-n", namespace, "delete", "service/web")

    assert (
        deploy(settings, kube, tree(namespace)).applied.outcomes[Key("", "Service", namespace, "web")]
        == Outcome.CREATED
    )


def test_field_that_left_the_tree_is_removed(settings: Settings, kube: Kube, namespace: str) -> None:
    """A key taken out of the tree goes from the object, also when the change was undone half-way."""
    deploy(settings, kube, tree(namespace))
    more = tree(namespace)
    more[3]["data"]["b"] = "2"
    deploy(settings, kube, more)

    assert deploy(settings, kube, tree(namespace)).changes == 1
    assert live(kube, more[3])["data"] == {"a": "1"}


def test_controllers_field_is_a_conflict(settings: Settings, kube: Kube, namespace: str) -> None:
    """A field that a controller owns is not fought over: the error names object, field and manager."""
    deploy(settings, kube, tree(namespace))
    scaled = obj("apps/v1", "Deployment", "web", namespace, spec={"replicas": 4})
    kube.server_side_apply(scaled, "keda-operator", force=True)

    with pytest.raises(
        ConflictError, match=rf"Deployment {namespace}/web: \.spec\.replicas belongs to 'keda-operator'"
    ):
        deploy(settings, kube, tree(namespace))

    assert plan(settings, kube, tree(namespace)) == 2
    assert live(kube, deployment(namespace))["spec"]["replicas"] == 4


def test_prune_takes_only_what_is_ours(
    settings: Settings, kube: Kube, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What left the tree is deleted when we made it; what others made, or what holds data, stays and is named."""
    claim = obj("v1", "PersistentVolumeClaim", "data", namespace)
    claim["spec"] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    deploy(settings, kube, [*tree(namespace), claim])
    # Somebody else's object, and one of ours that somebody deleted and made anew.
    ctl(settings, "-n", namespace, "create", "configmap", "foreign")
    ctl(settings, "-n", namespace, "delete", "configmap", "settings")
    ctl(settings, "-n", namespace, "create", "configmap", "settings")
    keep = [item for item in tree(namespace) if item["kind"] == "Deployment"]
    capsys.readouterr()

    result = deploy(settings, kube, keep)

    assert list(result.pruned.forgotten) == [Key("", "ConfigMap", namespace, "settings")]
    assert set(result.pruned.deleted) == {Key("", "Service", namespace, "web")}
    assert set(result.pruned.kept) == {
        Key("", "Namespace", "", namespace),
        Key("", "PersistentVolumeClaim", namespace, "data"),
        Key("", "Secret", namespace, "keys"),
    }
    assert list(result.pruned.forgotten) == [Key("", "ConfigMap", namespace, "settings")]
    assert kube.get("v1", "ConfigMap", "settings", namespace) is not None
    assert kube.get("v1", "ConfigMap", "foreign", namespace) is not None
    assert (
        f"PersistentVolumeClaim {namespace}/data: kept although it left the tree: it holds data"
        in capsys.readouterr().err
    )
    again = deploy(settings, kube, keep)
    assert (again.changes, set(again.pruned.kept)) == (0, set(result.pruned.kept))


def test_what_was_there_before_stays(settings: Settings, kube: Kube, namespace: str) -> None:
    """An object that others made before us is changed while the tree says so, and never deleted."""
    ctl(settings, "create", "namespace", namespace)
    ctl(settings, "-n", namespace, "create", "configmap", "settings", "--from-literal=a=0")
    deploy(settings, kube, tree(namespace))
    assert live(kube, tree(namespace)[3])["data"] == {"a": "1"}

    result = deploy(settings, kube, [])

    assert set(result.pruned.forgotten.values()) == {"was there before us and stays as it is"}
    assert {key.kind for key in result.pruned.forgotten} == {"ConfigMap", "Namespace"}
    assert kube.get("v1", "ConfigMap", "settings", namespace) is not None


def _with_claims(settings: Settings, kube: Kube, namespace: str) -> list[Obj]:
    """Return a tree with volumes of each kind, deployed, and what controllers would make of it made by hand."""
    size = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    labels = {"app": "db"}
    sets = [obj("apps/v1", "StatefulSet", name, namespace) for name in ("db", "cache")]
    for each in sets:
        container = {"name": "c", "image": "example.org/db:1.0"}
        each["spec"] = {
            "serviceName": "db",
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": size}],
        }
    sets[1]["spec"]["persistentVolumeClaimRetentionPolicy"] = {"whenDeleted": "Delete"}
    postgres = crd("Cluster", "postgresql.cnpg.io")
    cluster = obj("postgresql.cnpg.io/v1", "Cluster", "pg", namespace, spec={"size": 1})
    objects = [obj("v1", "Namespace", namespace), *sets, postgres, cluster, obj("v1", "ConfigMap", "c", namespace)]
    apply_tree(settings, kube, objects, wait=False, profile="data")
    # As the StatefulSet controller makes them: an owner only where the policy says so.
    kube.create(obj("v1", "PersistentVolumeClaim", "data-db-0", namespace, spec=size), "kube-controller-manager")
    owner = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "name": "cache",
        "uid": live(kube, sets[1])["metadata"]["uid"],
    }
    owned = obj("v1", "PersistentVolumeClaim", "data-cache-0", namespace, spec=size)
    owned["metadata"]["ownerReferences"] = [owner]
    kube.create(owned, "kube-controller-manager")
    return objects


def test_a_smaller_profile_keeps_every_volume(
    settings: Settings, kube: Kube, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Claims, also those that StatefulSets made, databases and their namespace stay ours until their data may go."""
    objects = _with_claims(settings, kube, namespace)
    stay = {
        Key("", "PersistentVolumeClaim", namespace, "data-db-0"),
        Key("apps", "StatefulSet", namespace, "cache"),
        Key("postgresql.cnpg.io", "Cluster", namespace, "pg"),
        Key("apiextensions.k8s.io", "CustomResourceDefinition", "", "clusters.postgresql.cnpg.io"),
        Key("", "Namespace", "", namespace),
    }
    assert inventory.load(kube).profile == "data"
    capsys.readouterr()

    assert plan(settings, kube, []) == 2
    planned = capsys.readouterr().out
    result = deploy(settings, kube, [])

    gone = {Key("apps", "StatefulSet", namespace, "db"), Key("", "ConfigMap", namespace, "c")}
    assert set(result.pruned.deleted) == gone
    # The set's own claims were written down before it went; those with an owner need that owner.
    assert set(result.pruned.kept) == stay | {Key("", "PersistentVolumeClaim", namespace, "data-cache-0")}
    assert result.pruned.data == set(result.pruned.kept)
    assert all(f"- {key} (left the tree, will be deleted)" in planned for key in gone)
    assert all(f"= {key} (left the tree, will be kept: " in planned for key in result.pruned.kept)
    assert "`invoke deploy --prune-data` deletes it with its data" in capsys.readouterr().err
    assert set(inventory.load(kube).versions) == set(result.pruned.kept)
    assert inventory.load(kube).profile == ""
    assert plan(settings, kube, []) == 0

    back = deploy(settings, kube, objects)
    assert back.pruned.kept == {}
    assert set(inventory.load(kube).versions) == {key_of(item) for item in objects}
    deploy(settings, kube, [])

    assert plan(settings, kube, [], data=False) == 2
    last = apply_tree(settings, kube, [], wait=False, data=False)
    # No controller takes the guard from volume claims here, or empties the namespace.
    held = {key for key in result.pruned.kept if key.kind in {"PersistentVolumeClaim", "Namespace"}}
    assert set(last.pruned.going) == held
    assert set(last.pruned.deleted) == set(result.pruned.kept) - held
    assert set(inventory.load(kube).versions) == held
    for name in ("data-db-0", "data-cache-0"):
        claim = kube.get("v1", "PersistentVolumeClaim", name, namespace)
        # Its finalizer waits for a controller that is not here.
        assert claim is None or "deletionTimestamp" in claim["metadata"]


def test_remove_leaves_nothing_of_ours(settings: Settings, kube: Kube, namespace: str) -> None:
    """Removing keeps what holds data and stays ours, until it is asked for as well."""
    deploy(settings, kube, tree(namespace))
    kept = remove(settings, kube).kept
    ours = set(inventory.load(kube).versions)
    held = remove(settings, kube, data=True).going
    # No controller ends the deletion of a namespace here.
    finalize(kube, namespace)
    remove(settings, kube, data=True)

    assert set(held) == {Key("", "Namespace", "", namespace)}
    assert set(kept) == ours == {Key("", "Secret", namespace, "keys"), Key("", "Namespace", "", namespace)}
    assert inventory.load(kube).versions == {}
    assert kube.get("v1", "Secret", "keys", namespace) is None
    # The next test needs it.
    finalize(kube, inventory.NAMESPACE)


def test_crds_with_foreign_instances_stay(settings: Settings, kube: Kube, namespace: str) -> None:
    """A CRD leaves with our instances, but never takes somebody else's with it."""
    objects = [obj("v1", "Namespace", namespace), crd("Lamp", "foreign.example.org"), crd("Door", "ours.example.org")]
    objects.append(obj("ours.example.org/v1", "Door", "front", namespace, spec={"size": 1}))
    deploy(settings, kube, objects)
    kube.create(obj("foreign.example.org/v1", "Lamp", "desk", namespace, spec={"size": 1}), "someone")

    result = deploy(settings, kube, objects[:1])

    assert {key.kind for key in result.pruned.deleted} == {"Door", "CustomResourceDefinition"}
    assert list(result.pruned.kept.values()) == [f"Lamp {namespace}/desk still uses it"]
    assert kube.get("foreign.example.org/v1", "Lamp", "desk", namespace) is not None


def test_custom_resource_comes_with_its_crd(settings: Settings, kube: Kube, namespace: str) -> None:
    """A tree may hold a CRD and an instance of it: one apply is enough, in whatever order they are listed."""
    instance = obj("order.example.org/v1", "Chair", "first", namespace, spec={"size": 1})
    objects = [instance, crd("Chair", "order.example.org"), obj("v1", "Namespace", namespace)]

    assert plan(settings, kube, objects) == 2
    assert len(deploy(settings, kube, objects).applied.changes) == 3
    assert plan(settings, kube, objects) == 0


def test_secrets_are_made_once_and_never_shown(
    settings: Settings, kube: Kube, namespace: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Generated values stay the same for ever, new keys are added beside them, and no output holds a value."""
    first = deploy(settings, kube, tree(namespace))
    values = live(kube, generated(namespace))["data"]
    more = [generated(namespace, recipe="a: hex:16\nb: password:24\ntls: selfsigned:web,web.svc\nc: base64:32\n")]
    more += [item for item in tree(namespace) if item["kind"] != "Secret"]
    planned = plan(settings, kube, more)
    second = deploy(settings, kube, more)
    now = live(kube, generated(namespace))["data"]

    assert first.generated == {Key("", "Secret", namespace, "keys"): ["a", "b", "ca.crt", "tls.crt", "tls.key"]}
    assert second.generated == {Key("", "Secret", namespace, "keys"): ["c"]}
    assert planned == 2
    assert {key: now[key] for key in values} == values
    assert deploy(settings, kube, more).changes == 0
    shown = "".join(capfd.readouterr())
    assert "generated a, b, ca.crt" in shown
    assert "will be generated: c" in shown
    assert not [key for key, value in now.items() if value[:16] in shown]


def test_a_changed_secret_is_masked_in_plan(
    settings: Settings, kube: Kube, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Plan says that a Secret's value differs, and shows neither of the two."""
    secret = obj("v1", "Secret", "fixed", namespace, data={"token": "Y2FuYXJ5LXRyZWU="})
    objects = [obj("v1", "Namespace", namespace), secret]
    deploy(settings, kube, objects)
    ctl(settings, "-n", namespace, "patch", "secret/fixed", "-p", '{"stringData":{"token":"canary-live"}}')
    capsys.readouterr()

    assert plan(settings, kube, objects) == 2
    captured = capsys.readouterr()
    assert "-  token: '*** (before)'" in captured.out
    assert "+  token: '*** (after)'" in captured.out
    assert not re.search("canary|Y2FuYXJ5", captured.out + captured.err)


def test_copy_follows_when_its_source_appears(settings: Settings, kube: Kube, namespace: str) -> None:
    """A Secret that copies from one which a controller makes later is completed while we wait."""
    objects = [
        obj("v1", "Namespace", namespace),
        generated(namespace, "copied", f"password: copy:{namespace}/made-later/word"),
    ]

    def controller() -> None:
        time.sleep(1.0)
        kube.create(obj("v1", "Secret", "made-later", namespace, data={"word": "aGVsbG8="}), "controller")

    thread = threading.Thread(target=controller)
    thread.start()
    namespace_only = apply_tree(settings, kube, objects[:1], wait=False)
    result = apply_tree(settings, kube, objects, timeout=30)
    thread.join()

    assert namespace_only.changes == 1
    assert result.generated == {Key("", "Secret", namespace, "copied"): ["password"]}
    assert live(kube, objects[1])["data"] == {"password": "aGVsbG8="}
    assert apply_tree(settings, kube, objects, timeout=30).changes == 0


def test_job_with_a_new_template_runs_anew(settings: Settings, kube: Kube, namespace: str) -> None:
    """A Job cannot be changed: the engine replaces it, and says so."""

    def job(image: str) -> Obj:
        template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": image}]}}
        return obj("batch/v1", "Job", "once", namespace, spec={"template": template})

    objects = [obj("v1", "Namespace", namespace)]
    deploy(settings, kube, [*objects, job("example.org/app:1")])
    before = live(kube, job("example.org/app:1"))["metadata"]["uid"]

    result = deploy(settings, kube, [*objects, job("example.org/app:2")])

    assert result.applied.outcomes[Key("batch", "Job", namespace, "once")] == Outcome.CHANGED
    assert live(kube, job("example.org/app:2"))["metadata"]["uid"] != before


def claim(namespace: str, size: str = "1Gi", storage: str = "fast") -> Obj:
    """Return a volume claim."""
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": storage}
    return obj(
        "v1", "PersistentVolumeClaim", "data", namespace, spec=spec | {"resources": {"requests": {"storage": size}}}
    )


def database(namespace: str, size: str = "1Gi") -> Obj:
    """Return a StatefulSet with a claim template."""
    spec = deployment(namespace)["spec"] | {"serviceName": "db"}
    template = {"metadata": {"name": "data"}, "spec": claim(namespace, size)["spec"]}
    return obj("apps/v1", "StatefulSet", "db", namespace, spec=spec | {"volumeClaimTemplates": [template]})


def relabelled(namespace: str) -> Obj:
    """Return the Deployment with another selector."""
    found = deployment(namespace)
    found["spec"]["selector"] = {"matchLabels": {"app": "other"}}
    found["spec"]["template"]["metadata"] = {"labels": {"app": "other"}}
    return found


def binding(namespace: str, role: str) -> Obj:
    """Return a RoleBinding."""
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role}
    return obj("rbac.authorization.k8s.io/v1", "RoleBinding", "b", namespace, roleRef=reference)


@pytest.mark.parametrize("kind", ["claim", "larger", "smaller", "StatefulSet", "Deployment", "RoleBinding"])
def test_fixed_fields_cost_no_data(
    settings: Settings, kube: Kube, namespace: str, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """No advice deletes data; a command that is given works as it stands, and the deploy after it goes through."""
    old, new = {
        "claim": (claim(namespace), claim(namespace, storage="slow")),
        "larger": (claim(namespace), claim(namespace, "2Gi")),
        "smaller": (claim(namespace, "2Gi"), claim(namespace)),
        "StatefulSet": (database(namespace), database(namespace, "2Gi")),
        "Deployment": (deployment(namespace), relabelled(namespace)),
        "RoleBinding": (binding(namespace, "a"), binding(namespace, "b")),
    }[kind]
    home = obj("v1", "Namespace", namespace)
    deploy(settings, kube, [home, old])
    capsys.readouterr()

    assert plan(settings, kube, [home, new]) == 2
    planned = capsys.readouterr().out
    with pytest.raises(BetelgeuseError, match="was refused") as caught:
        deploy(settings, kube, [home, new])
    assert str(caught.value) in planned
    command = re.search("`kubectl (.*)`", str(caught.value))
    if old["kind"] == "PersistentVolumeClaim":
        assert "it holds data, so it is not to be deleted" in str(caught.value)
        assert command is None
        return
    assert command is not None
    assert ("--cascade=orphan" in command[1]) == (kind == "StatefulSet")
    # Nothing collects garbage here, so what an orphaning deletion waits for never comes.
    ctl(settings, *shlex.split(command[1]), "--wait=false")
    if kind == "StatefulSet":
        ctl(settings, "-n", namespace, "patch", "statefulset/db", "--type=merge", "-p", FREE)
    assert deploy(settings, kube, [home, new]).changes == 1


def test_typo_in_a_field_is_one_clear_line(settings: Settings, kube: Kube, namespace: str) -> None:
    """An unknown field is refused as kubectl refuses it, naming object and field."""
    wrong = deployment(namespace)
    wrong["spec"]["replica"] = wrong["spec"].pop("replicas")

    with pytest.raises(BetelgeuseError, match=rf"Deployment {namespace}/web was refused: .*spec\.replica\b") as caught:
        deploy(settings, kube, [obj("v1", "Namespace", namespace), wrong])

    assert "\n" not in str(caught.value)


def refused(kube: Kube, wanted: Obj) -> ApiError:
    """Apply an object until the server says no for another reason than that its kind is too new to be served."""
    deadline = time.monotonic() + SERVED_SECONDS
    while time.monotonic() < deadline:
        try:
            kube.server_side_apply(wanted, "betelgeuse")
        except UnknownKindError:
            pass
        except ApiError as error:
            return error
        time.sleep(0.1)
    pytest.fail(f"{wanted['kind']} was not refused within {SERVED_SECONDS} s")


def test_a_silent_webhook_is_a_named_reason(settings: Settings, kube: Kube, namespace: str) -> None:
    """The API server's words about an unreachable webhook are recognised, and only they are retried."""
    rule = {"apiGroups": ["hooked.example.org"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}
    client = {"service": {"namespace": namespace, "name": "nobody", "path": "/"}}
    hook: dict[str, Any] = {
        "name": "nobody.example.org",
        "clientConfig": client,
        "rules": [rule],
        "sideEffects": "None",
    }
    hook |= {"admissionReviewVersions": ["v1"], "timeoutSeconds": 1}
    webhook = obj("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", namespace, webhooks=[hook])
    deploy(settings, kube, [obj("v1", "Namespace", namespace), crd("Hook", "hooked.example.org"), webhook])
    instance = obj("hooked.example.org/v1", "Hook", "one", namespace, spec={"size": 1})

    reason = transient(refused(kube, instance), (), instance)

    assert reason is not None
    assert reason.reason == 'webhook nobody.example.org not answering yet (service "nobody" not found)'


def test_conflict_is_read_from_the_servers_answer(settings: Settings, kube: Kube, namespace: str) -> None:
    """The server's own conflict is parsed: field, manager, and that a human did it."""
    deploy(settings, kube, tree(namespace))
    ctl(settings, "-n", namespace, "scale", "deployment/web", "--replicas=3")

    with pytest.raises(ApiError) as caught:
        kube.server_side_apply(deployment(namespace), "betelgeuse")

    found = live(kube, deployment(namespace))
    assert [(entry.field, Controllers().owns(found, entry.manager)) for entry in conflicts_of(caught.value)] == [
        (".spec.replicas", False)
    ]


def test_wait_says_why(settings: Settings, kube: Kube, namespace: str) -> None:
    """A Deployment without pods ends the wait with its name and the reason."""
    with pytest.raises(WaitTimeoutError, match=rf"not ready after 1 s: {namespace}/web 0/1 ready: no controller"):
        apply_tree(settings, kube, tree(namespace), timeout=1)


def test_status_is_honest(settings: Settings, kube: Kube, namespace: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Status lists what is not ready with its reason, and exits 1."""
    deploy(settings, kube, tree(namespace))
    capsys.readouterr()

    assert status(settings, kube, tree(namespace), as_json=True) == 1
    found = json.loads(capsys.readouterr().out)
    assert [(entry["kind"], entry["name"]) for entry in found["waiting"]] == [("Deployment", "web")]


@pytest.mark.usefixtures("namespace")
def test_two_machines_do_not_deploy_at_once(settings: Settings, kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes second is refused with the first one's name; after that one's end the way is free."""
    monkeypatch.setattr(lease, "_process", lambda: "another-machine ns 1")
    with lease.held(kube, "local") as mine:
        monkeypatch.setattr(lease, "_process", lambda: "this-machine ns 1")
        with (
            pytest.raises(LockedError, match=r"@.* \(pid \d+\) deploys to local"),
            lease.held(connect(settings), "local"),
        ):
            pass
        mine.check()
    with lease.held(connect(settings), "local"):
        pass


def test_a_deploy_never_forgets_what_another_wrote(settings: Settings, kube: Kube, namespace: str) -> None:
    """An inventory that was written since it was read is not written over."""
    deploy(settings, kube, tree(namespace))
    mine, others = inventory.load(kube), inventory.load(kube)
    others.versions[Key("", "ConfigMap", namespace, "theirs")] = "v1"
    inventory.save(kube, others)

    with pytest.raises(LockedError, match="another deploy wrote the inventory of 'local'"):
        inventory.save(kube, mine)
    assert Key("", "ConfigMap", namespace, "theirs") in inventory.load(kube).versions


KILL = """
import json, sys
from betelgeuse import paths
from pathlib import Path
paths.STATE = Path(sys.argv[1])
from betelgeuse.kube import connect
from betelgeuse.settings import Settings
from betelgeuse.workflows.apply_tree import apply_tree
settings = Settings(env="local", domain="betelgeuse.test", kube_context=sys.argv[2])
apply_tree(settings, connect(settings), json.load(sys.stdin), wait=False)
"""


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.8, 1.0])
def test_killed_apply_converges(  # noqa: PLR0913, PLR0917 - fixtures
    settings: Settings, kube: Kube, namespace: str, tmp_path: Path, share: float, controlplane: Path
) -> None:
    """SIGKILL at any moment: what was made is in the inventory, and the next run completes the rest."""
    configs = [obj("v1", "ConfigMap", f"c{number}", namespace, data={"a": "1"}) for number in range(80)]
    objects = [*tree(namespace), *configs]
    argv = [sys.executable, "-c", KILL, str(tmp_path), settings.kube_context]
    environment = {**os.environ, "KUBECONFIG": str(controlplane)}
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)  # noqa: S603
    assert process.stdin is not None
    process.stdin.write(json.dumps(objects).encode())
    process.stdin.close()
    while process.poll() is None:
        made = len(kube.list("v1", "ConfigMap", namespace)) if kube.get("v1", "Namespace", namespace) else -1
        if made >= share * len(configs):
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    made_before = {item["metadata"]["name"] for item in kube.list("v1", "ConfigMap", namespace)}
    known = {key.name for key in inventory.load(kube).versions if key.kind == "ConfigMap"}

    result = deploy(settings, kube, objects)

    assert made_before <= known
    assert len(kube.list("v1", "ConfigMap", namespace)) == len(configs) + 1
    assert len(result.applied.outcomes) == len(objects)
    assert deploy(settings, kube, objects).changes == 0
    assert plan(settings, kube, objects) == 0


def test_second_deploy_of_a_platform_is_fast(settings: Settings, kube: Kube, namespace: str) -> None:
    """250 objects with 60 CRDs (4 MB): the second run ends within the promised time, import and connection included."""
    crds = [crd(f"Kind{number}", f"{namespace}.example.org", padding=450) for number in range(60)]
    rest = [obj("v1", "ConfigMap", f"c{number}", namespace, data={"a": "x" * 500}) for number in range(100)]
    rest += [deployment(namespace, f"d{number}") for number in range(45)]
    rest += [service(namespace, f"d{number}") for number in range(45)]
    objects = [obj("v1", "Namespace", namespace), *crds, *rest]
    size = len(json.dumps(objects)) / 1e6
    deploy(settings, kube, objects)

    begin = time.monotonic()
    result = deploy(settings, connect(settings), objects)
    seconds = time.monotonic() - begin

    assert (result.changes, len(objects)) == (0, 251)
    assert size > 3
    assert seconds < WARM_SECONDS, f"{seconds:.1f} s"


def test_strangers_are_refused(
    settings: Settings, controlplane: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A context no environment lists, one the file lacks, and a cluster without TLS verification are refused."""
    with pytest.raises(RefusedError, match="context 'prod' is not one of ours"):
        connect(settings, context="prod")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "insecure"))
    text = controlplane.read_text()
    (tmp_path / "insecure").write_text(re.sub("certificate-authority: .*", "insecure-skip-tls-verify: true", text))
    with pytest.raises(RefusedError, match="skips TLS verification"):
        connect(settings)
    (tmp_path / "insecure").write_text(text.replace(settings.kube_context, "betelgeuse-lokal"))
    with pytest.raises(RefusedError, match=r"no context 'betelgeuse-local'; did you mean 'betelgeuse-lokal'\?"):
        connect(settings)


def test_an_ended_certificate_is_told_apart(
    settings: Settings, controlplane: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server says Unauthorized; we say that our certificate ended, when, and what renews it."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "former"))
    (tmp_path / "former").write_text(controlplane.read_text().replace("/admin.", "/former."))

    with pytest.raises(ApiError, match=r"our certificate ended on \d{4}-\d\d-\d\d; `invoke deploy --env=local` renews"):
        connect(settings).refresh()


def test_silent_server_is_one_line(
    settings: Settings, controlplane: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that does not answer gives one line that says where and what to do."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "dead"))
    (tmp_path / "dead").write_text(re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:9", controlplane.read_text()))

    with pytest.raises(
        UnreachableError, match=r"the API server of 'local' at https://127\.0\.0\.1:9 does not answer: .*refused"
    ):
        connect(settings).raw("/readyz")
