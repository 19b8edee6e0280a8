"""Checks of pods before they exist: the rules conformance applies to those that do."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml

from betelgeuse.kube import Obj, describe
from betelgeuse.tree.workloads import WORKLOADS, containers, pod_spec
from conformance import exemptions
from conformance.workloads.rules import RULES, faults
from tests.render.exemptions import NO_READINESS
from tests.render.trees import Tree, strings

_IMAGE: Final = re.compile(r"^[a-z0-9.-]+(:\d+)?(/[a-z0-9._-]+)+(:[A-Za-z0-9._-]+)?(@sha256:[0-9a-f]{64})?$")
_OWN: Final = "betelgeuse.local/"
_PROBED: Final = ("Deployment", "StatefulSet", "DaemonSet")


def _as_pod(obj: Obj) -> Obj:
    """Return a pod as the workload's controller would name it."""
    meta = obj["metadata"]
    return {"metadata": {"namespace": meta.get("namespace", ""), "name": f"{meta['name']}-0"}, "spec": pod_spec(obj)}


def pods_keep_the_rules(tree: Tree) -> Iterator[str]:
    """Pods are restricted, with requests and limits, unless an exemption with a reason says otherwise."""
    allowed = exemptions.load()
    for obj in tree.kind(*WORKLOADS):
        pod = _as_pod(obj)
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        for rule in RULES:
            if not allowed.allows(namespace, name, rule):
                yield from (f"{describe(obj)}: {rule}: {fault}" for fault in faults(pod, rule))


def _templates_inside(tree: Tree) -> Iterator[tuple[str, Obj]]:
    """Yield (where, pod) of the pods that a controller makes from a text of its ConfigMap."""
    for obj in tree.kind("ConfigMap"):
        for key, text in (obj.get("data") or {}).items():
            if "\nkind: Pod\n" in text:
                yield f"{describe(obj)}: data.{key}", yaml.safe_load(text)


def _places(value: Any, at: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:  # noqa: ANN401 - any JSON value
    """Yield (path, mapping) of every mapping in a value."""
    if isinstance(value, Mapping):
        yield at, value
    entries = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, item in entries:
        yield from _places(item, f"{at}.{key}" if at else str(key))


def controllers_are_told_bounds_of_disk(tree: Tree) -> Iterator[str]:
    """What other objects say of the pods that a controller makes has the bounds of disk that the rules ask of pods."""
    described = [
        (describe(obj), obj) for obj in tree.objects if obj["kind"] not in {"CustomResourceDefinition", *WORKLOADS}
    ]
    for where, obj in [*described, *_templates_inside(tree)]:
        for at, place in _places(obj):
            resources, volume = place.get("resources"), place.get("emptyDir", {"sizeLimit": ""})
            if isinstance(resources, Mapping) and "memory" in resources.get("limits", {}):
                lacks = [each for each in ("requests", "limits") if "ephemeral-storage" not in resources.get(each, {})]
                yield from (f"{where}: {at}.resources: no {each} for ephemeral-storage" for each in lacks)
            if "sizeLimit" not in (volume or {}):
                yield f"{where}: {at}.emptyDir: no sizeLimit"


def images(tree: Tree) -> Iterator[tuple[str, str]]:
    """Yield (where, image) of every image the tree names, those inside other objects included."""
    for where, pod in _templates_inside(tree):
        yield from ((where, container["image"]) for container in containers(pod["spec"]))
    for obj in tree.objects:
        if obj["kind"] != "CustomResourceDefinition":
            for at, text in strings(obj):
                if at.endswith((".image", ".imageName")) or (
                    at.endswith(".value") and _IMAGE.match(text) and ":" in text.rpartition("/")[2]
                ):
                    yield f"{describe(obj)}: {at}", text


def images_are_pinned(tree: Tree) -> Iterator[str]:
    """Every image has its registry, and a tag that is not `latest`, or a digest."""
    for where, image in images(tree):
        tag = image.rpartition("/")[2].partition(":")[2]
        if not _IMAGE.match(image):
            yield f"{where}: {image!r} does not name its registry in full"
        elif "@sha256:" not in image and tag in {"", "latest"}:
            yield f"{where}: {image} is not pinned"


def images_are_of_the_version_that_manifests_say(tree: Tree) -> Iterator[str]:
    """Manifests of one release are not run with the programs of another."""
    for obj in tree.kind(*WORKLOADS):
        said = obj["metadata"].get("labels", {}).get("app.kubernetes.io/version", "")
        for container in containers(pod_spec(obj)):
            if said and not container["image"].rpartition(":")[2].startswith(said):
                yield f"{describe(obj)}: manifests of {said} run {container['image']}"


def images_are_ours_where_nothing_can_be_pulled(tree: Tree) -> Iterator[str]:
    """The embedded cluster runs what this machine built, and never pulls."""
    if tree.settings.env != "local":
        return
    for where, image in images(tree):
        if not image.startswith(_OWN):
            yield f"{where}: {image} is not built here; no program of programs/ or apps/ replaces it"
    for obj in tree.kind(*WORKLOADS):
        for container in containers(pod_spec(obj)):
            if container.get("imagePullPolicy") == "Always":
                yield f"{describe(obj)}: container {container['name']} always pulls"


def pods_say_whether_they_serve(tree: Tree) -> Iterator[str]:
    """A pod behind a Service has a readiness probe: traffic waits for it."""
    for obj in tree.kind("Service"):
        for pods in tree.selected(
            obj["metadata"]["namespace"], {"matchLabels": obj["spec"].get("selector") or {"": ""}}
        ):
            if pods.owner in NO_READINESS:
                continue
            if pods.spec and not any("readinessProbe" in each for each in pods.spec.get("containers", ())):
                yield f"{pods.owner}: is behind {describe(obj)} without a readinessProbe"


def tokens_are_not_mounted_for_nothing(tree: Tree) -> Iterator[str]:
    """Pods whose account has no role carry no API token."""
    bound = {
        (subject.get("namespace", binding["metadata"].get("namespace", "")), subject["name"])
        for binding in tree.kind("RoleBinding", "ClusterRoleBinding")
        for subject in binding.get("subjects", ())
    }
    accounts = {(o["metadata"]["namespace"], o["metadata"]["name"]): o for o in tree.kind("ServiceAccount")}
    for obj in tree.kind(*WORKLOADS):
        spec, namespace = pod_spec(obj), obj["metadata"].get("namespace", "")
        account = (namespace, spec.get("serviceAccountName", "default"))
        mounted = spec.get(
            "automountServiceAccountToken", accounts.get(account, {}).get("automountServiceAccountToken", True)
        )
        if mounted and account not in bound:
            yield f"{describe(obj)}: mounts a token of {account[1]}, which has no role; switch it off"


CHECKS: Final = (
    pods_keep_the_rules,
    controllers_are_told_bounds_of_disk,
    images_are_pinned,
    images_are_of_the_version_that_manifests_say,
    images_are_ours_where_nothing_can_be_pulled,
    pods_say_whether_they_serve,
    tokens_are_not_mounted_for_nothing,
)
