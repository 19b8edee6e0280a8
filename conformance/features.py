"""Features: what an environment may or may not have, told from the tree and the settings alone."""

from collections.abc import Callable, Mapping
from typing import Final

from betelgeuse import servers
from betelgeuse.settings import LOCAL, Settings
from betelgeuse.tree import Tree, gates
from conformance.probes import mimic

_PUBLIC_ACME: Final = "letsencrypt.org"


def _own_control_plane(settings: Settings) -> bool:
    """Whether this project forms the control plane, so that it can promise what etcd keeps."""
    return settings.env == LOCAL or bool(servers.load(settings.env))


def _host(label: str) -> Callable[[Tree, Settings], bool]:
    return lambda tree, _: any(host.label == label for host in tree.hosts)


def _store(name: str) -> Callable[[Tree, Settings], bool]:
    return lambda tree, _: name in tree.stores


def _workload(area: str, name: str) -> Callable[[Tree, Settings], bool]:
    return lambda tree, _: any((each.namespace, each.name) == (area, name) for each in tree.workloads)


def _api(name: str) -> Callable[[Tree, Settings], bool]:
    return lambda tree, _: any(obj["metadata"]["name"] == name for obj in tree.kind("APIService"))


STORES: Final = ("kafka", "neo4j", "opensearch", "postgres", "s3", "valkey")

FEATURES: Final[Mapping[str, Callable[[Tree, Settings], bool]]] = {
    "llm": _host("llm"),
    "embeddings": _host("embeddings"),
    "tokens": lambda tree, _: bool(tree.behind(gates.TOKEN)),
    "two-token-hosts": lambda tree, _: len(tree.behind(gates.TOKEN)) > 1,
    "login": lambda tree, _: bool(tree.behind(gates.LOGIN)),
    "password": lambda tree, _: bool(tree.behind(gates.PASSWORD)),
    "portal": _host("portal"),
    "chat": _host("chat"),
    "prober": lambda tree, _: bool(tree.gateways),
    "etcd": lambda _, settings: _own_control_plane(settings),
    "matrix": lambda tree, _: bool(mimic.image(tree)),
    "multi-node": lambda _, settings: settings.nodes > 1,
    **{f"store-{name}": _store(name) for name in STORES},
    "store-qdrant": _host("vector"),
    "git": _host("git"),
    "n8n": _host("n8n"),
    "notebooks": _host("jupyter"),
    "argocd": _host("cd"),
    "observability": _host("prometheus"),
    "logs": _host("logs"),
    "traces": _host("traces"),
    # Perses stands behind the gateway's login; Grafana signs people in itself.
    "dashboards": lambda tree, _: any(host.label == "grafana" for host in tree.behind(gates.LOGIN)),
    "events": _workload("observability", "events"),
    "label-studio": _host("label"),
    "workflows": _host("argo"),
    # What pages show is the way on a machine with the embedded cluster.
    "pages": lambda _, settings: settings.env == LOCAL,
    "resource-metrics": _api("v1beta1.metrics.k8s.io"),
    "mlflow": _host("mlflow"),
    "store-accounts": lambda tree, _: bool(tree.stores),
    "store-outside": lambda tree, _: bool(tree.tcp_hosts),
    "forced-renewal": lambda tree, _: (
        bool(tree.certificates) and not any(_PUBLIC_ACME in server for server in tree.acme_servers)
    ),
}
"""Feature -> whether it is there. Where it is not, a test marked `feature(name)` is skipped with that as the reason."""


def present(tree: Tree, settings: Settings, insisted: tuple[str, ...] = ()) -> dict[str, bool]:
    """Return every feature with whether it counts as present; an insisted one does, whatever the tree says."""
    return {name: name in insisted or bool(test(tree, settings)) for name, test in FEATURES.items()}
