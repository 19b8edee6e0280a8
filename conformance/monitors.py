"""What the tree's monitors select in the cluster, told without asking Prometheus."""

from collections.abc import Iterator
from typing import Final

from betelgeuse.kube import Obj
from betelgeuse.policy.selectors import matches
from betelgeuse.tree.workloads import ports
from conformance.site import Site

_SLICES: Final = "discovery.k8s.io/v1"
_SERVICE: Final = "kubernetes.io/service-name"


def places(site: Site, monitor: Obj) -> list[str]:
    """Return every place that a monitor selects now, as people name it."""
    kind, spec = monitor["kind"], monitor["spec"]
    if kind == "PodMonitor":
        return [
            f"{pod['metadata']['name']}:{endpoint['port']}"
            for endpoint in spec["podMetricsEndpoints"]
            for pod in _pods(site, monitor)
            if "port" in endpoint and endpoint["port"] in {name for name, _, _ in ports(pod["spec"])}
        ]
    if kind == "ServiceMonitor":
        return [
            f"{address}:{endpoint.get('port', endpoint.get('targetPort'))}"
            for endpoint in spec["endpoints"]
            for address in _addresses(site, monitor, endpoint)
        ]
    if kind == "Probe":
        return [str(each) for each in (spec["targets"].get("staticConfig") or {}).get("static") or ()]
    return [str(each) for config in spec.get("staticConfigs") or () for each in config["targets"]]


def _namespaces(site: Site, monitor: Obj) -> tuple[str, ...]:
    chosen = monitor["spec"].get("namespaceSelector") or {}
    if chosen.get("any"):
        return tuple(sorted({each["metadata"]["name"] for each in site.cluster.list("v1", "Namespace")}))
    return tuple(chosen.get("matchNames") or (monitor["metadata"]["namespace"],))


def _pods(site: Site, monitor: Obj) -> Iterator[Obj]:
    for namespace in _namespaces(site, monitor):
        for pod in site.cluster.fresh("v1", "Pod", namespace):
            running = pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]
            if running and matches(monitor["spec"]["selector"], pod["metadata"].get("labels") or {}):
                yield pod


def _addresses(site: Site, monitor: Obj, endpoint: Obj) -> Iterator[str]:
    """Yield the ready addresses behind one endpoint of a ServiceMonitor."""
    for namespace in _namespaces(site, monitor):
        services = site.cluster.fresh("v1", "Service", namespace)
        chosen = {
            service["metadata"]["name"]: _served(service, endpoint)
            for service in services
            if matches(monitor["spec"]["selector"], service["metadata"].get("labels") or {})
        }
        for piece in site.cluster.fresh(_SLICES, "EndpointSlice", namespace):
            name = (piece["metadata"].get("labels") or {}).get(_SERVICE, "")
            if name in chosen and any(port.get("name") in chosen[name] for port in piece.get("ports") or ()):
                for each in piece.get("endpoints") or ():
                    if (each.get("conditions") or {}).get("ready", True):
                        yield from each["addresses"]


def _served(service: Obj, endpoint: Obj) -> set[str]:
    """Return the names of a Service's ports that an endpoint of a monitor means."""
    wanted = {endpoint.get("port"), endpoint.get("targetPort")} - {None}
    return {
        port.get("name", "")
        for port in service["spec"].get("ports") or ()
        if wanted & {port.get("name", ""), port.get("targetPort", port["port"])}
    }
