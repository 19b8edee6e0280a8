"""The network's own agents: watched by whoever may, by nobody else."""

from betelgeuse.kube import Obj
from conformance.site import Site
from conformance.verdict import require, require_none

_NAMESPACE = "kube-system"
_ASK = "exec 3<>/dev/tcp/127.0.0.1/{port}; printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3; grep -m 1 {word} <&3"
_METRICS = {9962: "^cilium_drop_count_total"}
"""Port on the node's loopback -> a line that its page must have."""


def _agents(site: Site) -> tuple[Obj, ...]:
    pods = site.cluster.list("v1", "Pod", _NAMESPACE)
    return tuple(pod for pod in pods if pod["metadata"].get("labels", {}).get("k8s-app") == "cilium")


def test_metrics_are_there_for_those_who_may(site: Site) -> None:
    """Every agent counts what it drops, on its node's loopback; the scans of this suite see that it is there only."""
    agents = _agents(site)
    faults = []
    for agent in agents:
        name = agent["metadata"]["name"]
        for port, word in _METRICS.items():
            seen = site.execute(_NAMESPACE, name, ["bash", "-c", _ASK.format(port=port, word=word)])
            faults += [] if seen.startswith(word.lstrip("^")) else [f"{name}: port {port} has no {word}"]

    listed = f"kubectl -n {_NAMESPACE} get pods"
    require(agents, where=_NAMESPACE, want="agents of the network", got="none", reproduce=listed)
    require_none(
        faults,
        where=f"{len(agents)} agents",
        want="metrics on the loopback",
        reproduce="kubectl -n kube-system port-forward ds/cilium 9962; curl 127.0.0.1:9962/metrics",
    )
