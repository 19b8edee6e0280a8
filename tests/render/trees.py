"""A rendered tree as the checks see it: objects, pods that will run, and who selects whom."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from betelgeuse.kube import Obj
from betelgeuse.policy.parties import NAMESPACE_LABEL
from betelgeuse.policy.selectors import matches
from betelgeuse.settings import Settings

WORKLOADS: Final = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod")
POLICIES: Final = ("NetworkPolicy", "CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy")
ANY_NAMESPACE: Final = ""


@dataclass(frozen=True)
class Pods:
    """Pods with the same labels: those of a workload, or those that a controller will start."""

    owner: str
    namespace: str
    name: str
    labels: Mapping[str, str]
    ports: frozenset[int | str]
    spec: Mapping[str, Any]


RUNTIME: Final = (
    # Envoy Gateway makes the proxies of an EnvoyProxy; ports below 1024 become 10000 more.
    Pods(
        "EnvoyProxy gateway/gateway",
        "gateway",
        "gateway",
        {
            "app.kubernetes.io/name": "envoy",
            "app.kubernetes.io/component": "proxy",
            "app.kubernetes.io/managed-by": "envoy-gateway",
        },
        frozenset({10080, 10443}),
        {},
    ),
    # cert-manager answers HTTP-01 challenges from short-lived pods beside the Certificate.
    Pods(
        "cert-manager's solver",
        ANY_NAMESPACE,
        "solver",
        {"acme.cert-manager.io/http01-solver": "true"},
        frozenset({8089}),
        {},
    ),
    # kubeadm installs CoreDNS.
    Pods("kubeadm's CoreDNS", "kube-system", "coredns", {"k8s-app": "kube-dns"}, frozenset({53}), {}),
)
"""Pods no object of the tree describes, and who starts them."""


def shown(obj: Obj) -> str:
    """Name an object: `Deployment ai/llm`."""
    meta = obj["metadata"]
    namespace = meta.get("namespace")
    return f"{obj['kind']} {f'{namespace}/' if namespace else ''}{meta['name']}"


def group(obj: Obj) -> str:
    """Return an object's API group; the core group is empty."""
    first, slash, _ = str(obj["apiVersion"]).partition("/")
    return first if slash else ""


def strings(value: Any, at: str = "") -> Iterator[tuple[str, str]]:  # noqa: ANN401 - any JSON value
    """Yield (path, text) of every string in a value; keys of mappings are part of the path."""
    if isinstance(value, str):
        yield at, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from strings(item, f"{at}.{key}" if at else str(key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from strings(item, f"{at}[{index}]")


def pod_spec(obj: Obj) -> Obj:
    """Return the pod spec of a workload."""
    return _template(obj).get("spec", {})  # type: ignore[no-any-return] # the API's own shape


def _template(obj: Obj) -> Obj:
    if obj["kind"] == "Pod":
        return obj
    spec = obj["spec"]["jobTemplate"]["spec"] if obj["kind"] == "CronJob" else obj["spec"]
    return spec["template"]  # type: ignore[no-any-return] # the API's own shape


def containers(spec: Mapping[str, Any]) -> Iterator[Obj]:
    """Yield every container of a pod spec."""
    yield from spec.get("initContainers", ())
    yield from spec.get("containers", ())


def _ports(spec: Mapping[str, Any]) -> Iterator[int | str]:
    for container in containers(spec):
        for port in container.get("ports", ()):
            yield port["containerPort"]
            if "name" in port:
                yield port["name"]


@dataclass(frozen=True)
class Tree:
    """One environment, rendered."""

    settings: Settings
    objects: list[Obj]

    def kind(self, *kinds: str) -> Iterator[Obj]:
        """Yield the objects of some kinds."""
        return (obj for obj in self.objects if obj["kind"] in kinds)

    @cached_property
    def namespaces(self) -> dict[str, dict[str, str]]:
        """Labels of every namespace, the one every namespace has included."""
        found = {obj["metadata"]["name"]: obj["metadata"].get("labels", {}) for obj in self.kind("Namespace")}
        used = {obj["metadata"]["namespace"] for obj in self.objects if obj["metadata"].get("namespace")}
        return {name: {NAMESPACE_LABEL: name, **found.get(name, {})} for name in {*found, *used}}

    @cached_property
    def index(self) -> set[tuple[str, str, str]]:
        """(kind, namespace, name) of every object."""
        return {(obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"]) for obj in self.objects}

    @cached_property
    def pods(self) -> list[Pods]:
        """Every kind of pod that will run."""
        declared = []
        for obj in self.kind(*WORKLOADS):
            spec, meta = pod_spec(obj), obj["metadata"]
            labels = _template(obj).get("metadata", {}).get("labels", {})
            namespace = meta.get("namespace", "")
            declared.append(Pods(shown(obj), namespace, meta["name"], labels, frozenset(_ports(spec)), spec))
        return [*declared, *RUNTIME]

    @cached_property
    def made_secrets(self) -> set[tuple[str, str]]:
        """(namespace, name) of the Secrets that exist at run time: in the tree, or made from a Certificate."""
        certificates = {(obj["metadata"]["namespace"], obj["spec"]["secretName"]) for obj in self.kind("Certificate")}
        return certificates | {(space, name) for kind, space, name in self.index if kind == "Secret"}

    def selected(self, namespaces: Mapping[str, Any] | str, selector: Mapping[str, Any]) -> list[Pods]:
        """Return the pods a selector means, in one namespace or in those a namespace selector means."""
        found = []
        for pods in self.pods:
            if isinstance(namespaces, str):
                inside = pods.namespace == namespaces or (
                    pods.namespace == ANY_NAMESPACE and namespaces in self.namespaces
                )
            elif pods.namespace == ANY_NAMESPACE:
                inside = any(matches(namespaces, labels) for labels in self.namespaces.values())
            else:
                inside = matches(namespaces, self.namespaces.get(pods.namespace, {NAMESPACE_LABEL: pods.namespace}))
            if inside and matches(selector, pods.labels):
                found.append(pods)
        return found
