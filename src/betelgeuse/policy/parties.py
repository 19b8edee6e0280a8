"""Those who call and are called: pods of one kind, nodes, the API server, the world."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any, Final

from betelgeuse.kube import Obj

WORKLOADS: Final = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod")
NAMESPACE_LABEL: Final = "kubernetes.io/metadata.name"
_EVERYONE: Final = "all"
POD: Final = frozenset({"cluster", _EVERYONE})
NODE: Final = frozenset({"host", "remote-node", "cluster", _EVERYONE})
API_SERVER: Final = NODE | {"kube-apiserver"}
WORLD: Final = frozenset({"world", _EVERYONE})
SHUT: Final = {22: "SSH", 2379: "etcd", 2380: "etcd's peers", 10250: "the kubelet"}
"""Ports of a node that no pod may ever reach, whatever a policy says."""

METADATA: Final = "169.254.169.254"
"""Where clouds hand out credentials to whoever asks from the machine."""


@dataclass(frozen=True)
class Party:
    """One side of a connection; `entities` are Cilium's names for what it is."""

    namespace: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    entities: frozenset[str] = POD
    ports: tuple[tuple[str, int, str], ...] = ()
    """(name, number, protocol) of what it listens on."""
    address: str = ""

    @property
    def is_pod(self) -> bool:
        """Whether policies select it by labels."""
        return self.entities == POD

    def __str__(self) -> str:
        """Show it: `ai/llm`, `the world`."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    def number(self, port: int | str) -> int:
        """Return the number of a port; -1 when nothing is named so."""
        if isinstance(port, int):
            return port
        return next((number for name, number, _ in self.ports if name == port), -1)

    def within(self, block: str) -> bool:
        """Whether its address lies in a block."""
        return bool(self.address) and ip_address(self.address) in ip_network(block)


def containers(spec: Mapping[str, Any]) -> Iterator[Obj]:
    """Yield every container of a pod spec that serves."""
    yield from spec.get("initContainers") or ()
    yield from spec.get("containers") or ()


def ports_of(spec: Mapping[str, Any]) -> tuple[tuple[str, int, str], ...]:
    """Return what a pod's containers declare to listen on."""
    declared = [port for container in containers(spec) for port in container.get("ports") or ()]
    return tuple((port.get("name", ""), port["containerPort"], port.get("protocol", "TCP")) for port in declared)


def of_pod(pod: Obj) -> Party:
    """Return a living pod as a party; one on the node's network is the node."""
    meta, spec = pod["metadata"], pod["spec"]
    entities = NODE if spec.get("hostNetwork") else POD
    labels = meta.get("labels") or {}
    address = (pod.get("status") or {}).get("podIP", "")
    return Party(meta["namespace"], meta["name"], labels, entities, ports_of(spec), address)


def _template(obj: Obj) -> Obj:
    if obj["kind"] == "Pod":
        return obj
    spec = obj["spec"]["jobTemplate"]["spec"] if obj["kind"] == "CronJob" else obj["spec"]
    found: Obj = spec["template"]
    return found


_PROXY: Final = {
    "app.kubernetes.io/name": "envoy",
    "app.kubernetes.io/component": "proxy",
    "app.kubernetes.io/managed-by": "envoy-gateway",
}
_PRIVILEGED_PORTS: Final = 1024
_SHIFT: Final = 10000
"""Envoy Gateway's proxies listen on 10000 more than a port that only root could open."""


def _proxies(objects: Iterable[Obj]) -> Iterator[Party]:
    """Yield the proxies of each Gateway, which its controller starts."""
    for gateway in (obj for obj in objects if obj["kind"] == "Gateway"):
        numbers = sorted({listener["port"] for listener in gateway["spec"]["listeners"]})
        inner = [number + _SHIFT if number < _PRIVILEGED_PORTS else number for number in numbers]
        ports = tuple(("", number, "TCP") for number in inner)
        yield Party(gateway["metadata"]["namespace"], gateway["metadata"]["name"], _PROXY, POD, ports)


def outsiders() -> tuple[Party, ...]:
    """Return who is no pod: the API server (a process of a node), the nodes, the world."""
    return (
        Party("", "kube-apiserver", entities=API_SERVER, ports=(("https", 6443, "TCP"),)),
        Party("", "nodes", entities=NODE, ports=(("ssh", 22, "TCP"), ("etcd", 2379, "TCP"), ("kubelet", 10250, "TCP"))),
        Party("", "world", entities=WORLD, ports=(("https", 443, "TCP"),)),
    )


def of_tree(objects: Iterable[Obj]) -> tuple[Party, ...]:
    """Return every kind of pod that will run with a network of its own, and the outsiders."""
    objects = list(objects)
    found = {}
    for obj in objects:
        if obj["kind"] in WORKLOADS:
            template, meta = _template(obj), obj["metadata"]
            spec = template.get("spec") or {}
            if not spec.get("hostNetwork"):
                labels = template["metadata"].get("labels") or {}
                party = Party(meta["namespace"], meta["name"], labels, POD, ports_of(spec))
                found[str(party)] = party
    for proxy in _proxies(objects):
        found[str(proxy)] = proxy
    # kubeadm installs it, so no object of the tree describes it.
    dns = Party("kube-system", "coredns", {"k8s-app": "kube-dns"}, POD, (("dns", 53, "UDP"), ("dns-tcp", 53, "TCP")))
    found.setdefault(str(dns), dns)
    return (*(found[name] for name in sorted(found)), *outsiders())
