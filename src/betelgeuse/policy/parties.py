"""Those who call and are called: pods of one kind, nodes, the API server, the world."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Final

from betelgeuse.kube import Obj, api_group
from betelgeuse.tree.gates import without_policies
from betelgeuse.tree.listeners import listeners
from betelgeuse.tree.refs import ref
from betelgeuse.tree.workloads import WORKLOADS, labels, pod_spec, ports

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


def of_pod(pod: Obj) -> Party:
    """Return a living pod as a party; one on the node's network is the node."""
    meta, spec = pod["metadata"], pod["spec"]
    entities = NODE if spec.get("hostNetwork") else POD
    address = (pod.get("status") or {}).get("podIP", "")
    return Party(meta["namespace"], meta["name"], meta.get("labels") or {}, entities, ports(spec), address)


_PROXY: Final = {
    "app.kubernetes.io/name": "envoy",
    "app.kubernetes.io/component": "proxy",
    "app.kubernetes.io/managed-by": "envoy-gateway",
}
_PRIVILEGED_PORTS: Final = 1024
_SHIFT: Final = 10000
"""Envoy Gateway's proxies listen on 10000 more than a port that only root could open."""
_STATS: Final = 19001
"""Where each proxy tells its metrics, as its controller declares it."""
_NGINX_STATS: Final = 9113
_INSTANCE: Final = (("postgresql", 5432, "TCP"), ("metrics", 9187, "TCP"), ("status", 8000, "TCP"))
_SERVERS: Final = {"Prometheus": 9090, "Alertmanager": 9093}
_RELOADER: Final = ("reloader-web", 8080, "TCP")


def _proxy_labels(objects: Iterable[Obj]) -> dict[str, str]:
    """Return the labels that the tree's EnvoyProxy adds to the controller's own."""
    found: dict[str, str] = {}
    for obj in objects:
        if obj["kind"] == "EnvoyProxy":
            kubernetes = obj["spec"].get("provider", {}).get("kubernetes", {})
            found |= kubernetes.get("envoyDaemonSet", {}).get("pod", {}).get("labels", {})
    return found


def _proxies(objects: Sequence[Obj]) -> Iterator[Party]:
    """Yield the proxies of each Gateway, which its controller starts: they listen for its ListenerSets too."""
    added = _proxy_labels(objects)
    others = {(obj["metadata"].get("namespace", ""), obj["metadata"]["name"]): obj for obj in without_policies(objects)}
    gateways: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    parents = {ref(obj): obj["spec"]["parentRef"] for obj in objects if obj["kind"] == "ListenerSet"}
    for listener in listeners(objects):
        owner = listener.owner
        parent = parents.get(owner, {"name": owner.name})
        gateways[parent.get("namespace", owner.namespace), parent["name"]].add(listener.port)
    for (namespace, name), numbers in sorted(gateways.items()):
        if (namespace, name) in others:
            yield _nginx(others[namespace, name], numbers, objects)
            continue
        inner = [number + _SHIFT if number < _PRIVILEGED_PORTS else number for number in sorted(numbers)]
        ports = (*(("", number, "TCP") for number in inner), ("metrics", _STATS, "TCP"))
        yield Party(namespace, name, _PROXY | added, POD, ports)


def _nginx(gateway: Obj, numbers: Iterable[int], objects: Iterable[Obj]) -> Party:
    """Return NGINX's proxies of a Gateway: they listen on the ports of its listeners themselves."""
    meta, spec = gateway["metadata"], gateway["spec"]
    labels = {"app.kubernetes.io/name": f"{meta['name']}-{spec['gatewayClassName']}"}
    labels |= spec.get("infrastructure", {}).get("labels", {})
    proxies = (obj["spec"] for obj in objects if obj["kind"] == "NginxProxy")
    stats = next((spec["metrics"]["port"] for spec in proxies if "port" in spec.get("metrics", {})), _NGINX_STATS)
    ports = (*(("", number, "TCP") for number in sorted(numbers)), ("metrics", stats, "TCP"))
    return Party(meta.get("namespace", ""), meta["name"], labels, POD, ports)


def _instances(objects: Iterable[Obj]) -> Iterator[Party]:
    """Yield the pods of each PostgreSQL Cluster, which its operator starts."""
    for obj in objects:
        if (api_group(obj), obj["kind"]) == ("postgresql.cnpg.io", "Cluster"):
            namespace, name = obj["metadata"]["namespace"], obj["metadata"]["name"]
            added = (obj["spec"].get("inheritedMetadata") or {}).get("labels") or {}
            yield Party(namespace, f"{name}-1", {"cnpg.io/cluster": name} | added, POD, _INSTANCE)


def _servers(objects: Iterable[Obj]) -> Iterator[Party]:
    """Yield the pods of each Prometheus and Alertmanager, which their operator starts."""
    for obj in objects:
        if api_group(obj) == "monitoring.coreos.com" and (known := _SERVERS.get(obj["kind"])):
            name, spec = obj["metadata"]["name"], obj["spec"]
            program = obj["kind"].lower()
            labels = {
                **(spec.get("podMetadata") or {}).get("labels", {}),
                "app.kubernetes.io/name": program,
                "app.kubernetes.io/instance": name,
                "app.kubernetes.io/managed-by": "prometheus-operator",
                program: name,
            }
            listening = ((spec.get("portName", "web"), known, "TCP"), _RELOADER)
            yield Party(obj["metadata"]["namespace"], f"{program}-{name}-0", labels, POD, listening)


def unwritten(objects: Iterable[Obj]) -> Iterator[Party]:
    """Yield the pods that no object of the tree describes: controllers and kubeadm start them."""
    objects = list(objects)
    yield from _proxies(objects)
    yield from _instances(objects)
    yield from _servers(objects)
    names = (("dns", 53, "UDP"), ("dns-tcp", 53, "TCP"), ("metrics", 9153, "TCP"))
    yield Party("kube-system", "coredns", {"k8s-app": "kube-dns"}, POD, names)


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
            spec, meta = pod_spec(obj), obj["metadata"]
            if not spec.get("hostNetwork"):
                party = Party(meta["namespace"], meta["name"], labels(obj), POD, ports(spec))
                found[str(party)] = party
    for party in unwritten(objects):
        found.setdefault(str(party), party)
    return (*(found[name] for name in sorted(found)), *outsiders())
