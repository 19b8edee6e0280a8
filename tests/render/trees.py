"""A rendered tree as the checks see it: objects, pods that will run, and who selects whom."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from betelgeuse.kube import Obj, describe
from betelgeuse.policy import parties
from betelgeuse.policy.parties import NAMESPACE_LABEL
from betelgeuse.policy.selectors import matches
from betelgeuse.settings import Settings
from betelgeuse.tree import reader
from betelgeuse.tree.workloads import WORKLOADS, labels, pod_spec, ports

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


SOLVER: Final = Pods(
    "cert-manager's solver",
    ANY_NAMESPACE,
    "solver",
    {"acme.cert-manager.io/http01-solver": "true"},
    frozenset({8089}),
    {},
)
"""cert-manager answers HTTP-01 challenges from short-lived pods beside the Certificate."""

_STATIC: Final = {"hostNetwork": True, "containers": [{"readinessProbe": {}}]}
CONTROL_PLANE: Final = tuple(
    Pods(
        f"kubeadm's {name}",
        "kube-system",
        name,
        {"component": name, "tier": "control-plane"},
        frozenset({port}),
        _STATIC,
    )
    for name, port in (("kube-scheduler", 10259), ("kube-controller-manager", 10257))
)
"""kubeadm's static pods, which serve on the node's address."""


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


class Tree(reader.Tree):
    """One environment, rendered."""

    def __init__(self, settings: Settings, objects: list[Obj]) -> None:
        """Keep the objects."""
        super().__init__(objects, settings.domain)
        self.settings = settings

    @cached_property
    def namespace_labels(self) -> dict[str, dict[str, str]]:
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
            listening = frozenset(each for name, number, _ in ports(spec) for each in (name, number) if each)
            namespace = meta.get("namespace", "")
            declared.append(Pods(describe(obj), namespace, meta["name"], labels(obj), listening, spec))
        runtime = [
            Pods(f"pods of {party}", party.namespace, party.name, party.labels, listening, {})
            for party in parties.unwritten(self.objects)
            for listening in [frozenset(each for name, number, _ in party.ports for each in (name, number) if each)]
        ]
        return [*declared, *runtime, SOLVER, *CONTROL_PLANE]

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
                    pods.namespace == ANY_NAMESPACE and namespaces in self.namespace_labels
                )
            elif pods.namespace == ANY_NAMESPACE:
                inside = any(matches(namespaces, labels) for labels in self.namespace_labels.values())
            else:
                inside = matches(
                    namespaces, self.namespace_labels.get(pods.namespace, {NAMESPACE_LABEL: pods.namespace})
                )
            if inside and matches(selector, pods.labels):
                found.append(pods)
        return found
