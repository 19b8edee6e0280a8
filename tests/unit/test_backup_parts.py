"""Copies that no server of a store makes: values of Secrets, and volumes that people's pods have in turn."""

import base64
import json
import time
from typing import Any

import pytest

from betelgeuse.backups import claims, keys
from betelgeuse.errors import BetelgeuseError
from betelgeuse.kube import Key, Obj, key_of
from betelgeuse.rotation import ROTATE
from betelgeuse.secrets import ANNOTATION, ROTATED
from betelgeuse.tree import backups as declarations
from betelgeuse.tree.backups import Backup
from tests.unit.fakes import FakeKube, obj

_KEYS = "name: keys\nmethod: secrets\n"


def _text(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def _secret(name: str, recipes: str, mode: str = "never", **values: str) -> Obj:
    annotations = {ANNOTATION: recipes, declarations.ANNOTATION: _KEYS} | ({ROTATE: mode} if mode else {})
    data = {key: _text(value) for key, value in values.items()}
    return obj("v1", "Secret", name, "apps", annotations=annotations, data=data)


def _cluster(one: str = "a1", other: str = "b1") -> tuple[FakeKube, list[Obj]]:
    tree = [_secret("one", "key: hex:8\nhost: literal:h"), _secret("other", "key: hex:8")]
    live = [_secret("one", "", key=one, host="h"), _secret("other", "", key=other)]
    return FakeKube(*live), tree


def _value(cluster: FakeKube, name: str) -> str:
    return base64.b64decode(cluster.objects[Key("", "Secret", "apps", name)]["data"]["key"]).decode()


def test_secrets_of_one_name_are_one_copy() -> None:
    """Each Secret says for itself that it belongs to the keys."""
    _, tree = _cluster()

    found = declarations.backups(tree)

    assert [key_of(secret).name for secret in found["keys"].objects] == ["one", "other"]


def test_a_lost_key_comes_back() -> None:
    """What has another value gets the copy's, and is marked so that its users are started anew; the rest is left."""
    cluster, tree = _cluster()
    copy = keys.dump(cluster.kube, "keys", tree)
    fresh, _ = _cluster(one="a2")

    changed = keys.load(fresh.kube, "keys", tree, copy)

    assert changed == [Key("", "Secret", "apps", "one")]
    assert (_value(fresh, "one"), _value(fresh, "other")) == ("a1", "b1")
    assert fresh.objects[changed[0]]["metadata"]["annotations"][ROTATED]
    assert keys.load(fresh.kube, "keys", tree, copy) == []


@pytest.mark.parametrize(("mode", "kept"), [("never", set()), ("", {"previous-key"})])
def test_a_password_of_before_is_kept(mode: str, kept: set[str]) -> None:
    """Whose holder may know only the newer one; a key that encrypts has nobody to be told of."""
    tree = [_secret("one", "key: hex:8\nhost: literal:h", mode)]
    cluster, _ = _cluster()
    fresh, _ = _cluster(one="a2")

    (changed,) = keys.load(fresh.kube, "keys", tree, keys.dump(cluster.kube, "keys", tree))

    data = fresh.objects[changed]["data"]
    assert set(data) == {"key", "host"} | kept
    assert all(data[name] == _text("a2") for name in kept)


def test_a_secret_that_the_copy_has_not_stays() -> None:
    """It is younger than the copy."""
    cluster, tree = _cluster()
    copy = keys.dump(cluster.kube, "keys", tree[:1])
    fresh, _ = _cluster(one="a2", other="b2")

    keys.load(fresh.kube, "keys", tree, copy)

    assert (_value(fresh, "one"), _value(fresh, "other")) == ("a1", "b2")


@pytest.mark.parametrize("copy", ["", "-- databases", "[]", json.dumps({"store": "other", "format": 1, "secrets": {}})])
def test_a_strange_copy_changes_no_secret(copy: str) -> None:
    """What is no copy of these Secrets is refused before one is written."""
    cluster, tree = _cluster()

    with pytest.raises(BetelgeuseError, match="this is no copy of keys; nothing was changed"):
        keys.load(cluster.kube, "keys", tree, copy)
    assert cluster.log == []


def test_a_key_that_is_not_made_yet_is_told() -> None:
    """Neither is half of it copied, nor is anything written beside it."""
    cluster, tree = _cluster()
    copy = keys.dump(cluster.kube, "keys", tree)
    empty = FakeKube(_secret("one", "", key="a2", host="h"))

    for attempt in (
        lambda: keys.dump(empty.kube, "keys", tree),
        lambda: keys.load(empty.kube, "keys", tree, copy),
    ):
        with pytest.raises(BetelgeuseError, match="Secret apps/other has no key yet: `invoke deploy` makes it"):
            attempt()
    assert empty.log == []


_HOMES = "name: homes\nmethod: claims\npath: /home/x\n"
_SHAPE = {"accessModes": ["ReadWriteOncePod"], "resources": {"requests": {"storage": "5Gi"}}}


def _template(path: str = "/home/x") -> Obj:
    container = {
        "name": "notebook",
        "image": "lab:1",
        "args": ["serve"],
        "env": [{"name": "A", "value": "b"}],
        "ports": [{"containerPort": 1}],
        "readinessProbe": {},
        "securityContext": {"readOnlyRootFilesystem": True},
        "volumeMounts": [
            {"name": "home", "mountPath": path},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a pod's own
            {"name": "account", "mountPath": "/account"},
        ],
    }
    volumes = [
        {"name": "home", "ephemeral": {"volumeClaimTemplate": {"spec": _SHAPE}}},
        {"name": "tmp", "emptyDir": {}},
        {"name": "account", "secret": {"secretName": "account"}},
    ]
    spec = {"securityContext": {"runAsNonRoot": True}, "containers": [container], "volumes": volumes}
    template = {"metadata": {"labels": {"open": "everything"}}, "spec": spec}
    annotations = {declarations.ANNOTATION: _HOMES}
    return obj("v1", "PodTemplate", "notebook", "people", annotations=annotations, template=template)


def _homes(path: str = "/home/x") -> Backup:
    return declarations.backups([_template(path)])["homes"]


def _claim(name: str) -> Obj:
    return obj("v1", "PersistentVolumeClaim", name, "people")


def _pod(name: str, claim: str, phase: str = "Running", **more: Any) -> Obj:  # noqa: ANN401 - metadata
    spec = {"volumes": [{"name": "home", "persistentVolumeClaim": {"claimName": claim}}]}
    status = {"phase": phase, "conditions": [{"type": "Ready", "status": "True"}]}
    return obj("v1", "Pod", name, "people", spec=spec, status=status, **more)


class Cluster(FakeKube):
    """Makes pods ready at once."""

    def create(self, entry: Obj, manager: str) -> Obj:
        """Create what must not exist yet."""
        if entry["kind"] == "Pod":
            entry = {**entry, "status": _pod("", "")["status"]}
        return super().create(entry, manager)

    def names(self, kind: str) -> list[str]:
        """Return the names of what is there."""
        return sorted(key.name for key in self.objects if key.kind == kind)


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every sleep pass at once."""
    monkeypatch.setattr(time, "sleep", lambda _: None)


def test_a_pod_for_a_copy_has_the_volume_and_nothing_else() -> None:
    """As confined as the template's, without its Secrets, its labels and what it serves; it ends by itself."""
    made = claims.pod(_homes(), "home-ann")

    spec = made["spec"]
    (container,) = spec["containers"]
    assert made["metadata"]["labels"] == {"app.kubernetes.io/component": "copy"}
    assert [volume["name"] for volume in spec["volumes"]] == ["home", "tmp"]
    assert spec["volumes"][0]["persistentVolumeClaim"] == {"claimName": "home-ann"}
    assert spec["securityContext"] == {"runAsNonRoot": True}
    assert spec["activeDeadlineSeconds"] > 0
    assert set(container) == {"name", "image", "securityContext", "volumeMounts", "command"}
    assert [mount["name"] for mount in container["volumeMounts"]] == ["home", "tmp"]
    assert _template()["template"]["spec"]["containers"][0]["args"] == ["serve"]


def test_a_volume_in_use_is_copied_where_it_is() -> None:
    """In its owner's pod, which stays."""
    cluster = Cluster(_claim("home-ann"), _pod("notebook-ann", "home-ann"), _pod("notebook-bob", "home-bob"))

    with claims.held(cluster.kube, _homes(), "home-ann") as name:
        assert name == "notebook-ann"
    assert cluster.names("Pod") == ["notebook-ann", "notebook-bob"]


def test_a_volume_at_rest_gets_a_pod_for_the_time() -> None:
    """It goes, whatever happens; one that a killed run left is used, one that ended goes too."""
    left: Any = {"labels": {"app.kubernetes.io/component": "copy"}}
    cluster = Cluster(_claim("home-ann"), _pod("copy-home-ann-1", "home-ann", "Failed", **left))

    def fail() -> None:
        with claims.held(cluster.kube, _homes(), "home-ann") as name:
            assert cluster.names("Pod") == [name]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert cluster.names("Pod") == []

    cluster.put(_pod("copy-home-ann-2", "home-ann", **left))
    with claims.held(cluster.kube, _homes(), "home-ann") as name:
        assert name == "copy-home-ann-2"
    assert cluster.names("Pod") == []


def test_a_claim_that_is_lost_is_made_for_a_restore_alone() -> None:
    """With the shape that the template has."""
    cluster = Cluster()

    with (
        pytest.raises(BetelgeuseError, match="homes: people has no claim 'home-ann'"),
        claims.held(cluster.kube, _homes(), "home-ann"),
    ):
        pass
    with claims.held(cluster.kube, _homes(), "home-ann", make=True):
        pass

    assert claims.names(cluster.kube, _homes()) == ["home-ann"]
    assert cluster.objects[Key("", "PersistentVolumeClaim", "people", "home-ann")]["spec"] == _SHAPE


def test_a_template_without_the_volume_is_told() -> None:
    """With the place where it was looked for."""
    with pytest.raises(BetelgeuseError, match="has no volume at /home/x"):
        claims.pod(_homes("/elsewhere"), "home-ann")
