"""The nodes: all there, all ready, all used."""

import pytest

from conformance.site import Site
from conformance.verdict import require, require_none


def test_nodes_are_ready(site: Site) -> None:
    """The cluster has as many nodes as the environment says, all Ready and under no pressure."""
    nodes = site.cluster.fresh("v1", "Node")
    faults = [
        f"{node['metadata']['name']}: {condition['type']} is {condition['status']} ({condition.get('message', '')})"
        for node in nodes
        for condition in node["status"].get("conditions", [])
        if condition["status"] != ("True" if condition["type"] == "Ready" else "False")
    ]
    if len(nodes) != site.settings.nodes:
        faults.append(f"{len(nodes)} nodes: {[node['metadata']['name'] for node in nodes]}")

    require_none(
        faults,
        where=f"nodes of {site.settings.env}",
        want=f"{site.settings.nodes} nodes, all Ready",
        reproduce="kubectl get nodes -o wide",
    )


@pytest.mark.feature("multi-node")
def test_pods_are_spread(site: Site) -> None:
    """Pods of the platform run on every node."""
    nodes = {node["metadata"]["name"] for node in site.cluster.list("v1", "Node")}
    used = {
        pod["spec"].get("nodeName")
        for namespace in site.tree.namespaces
        for pod in site.cluster.list("v1", "Pod", namespace)
        if pod["status"].get("phase") == "Running" and not pod["spec"].get("hostNetwork")
    }

    require(
        nodes <= used,
        where=f"nodes of {site.settings.env}",
        want="a pod on a network of its own on every node",
        got=f"none on {', '.join(sorted(nodes - used))}",
        reproduce="kubectl get pods -A -o wide",
    )


@pytest.mark.feature("multi-node")
def test_every_node_has_its_gateway(site: Site) -> None:
    """The gateway's proxies run on every node whose address is public, so a lost node takes only its own address."""
    addresses = {
        address["address"]: node["metadata"]["name"]
        for node in site.cluster.list("v1", "Node")
        for address in node["status"].get("addresses", [])
    }
    wanted = {addresses[address] for address in site.addresses if address in addresses}
    running = {
        pod["spec"].get("nodeName")
        for gateway in site.tree.gateways
        for pod in site.cluster.list("v1", "Pod", gateway.namespace)
        if "gateway.envoyproxy.io/owning-gateway-name" in pod["metadata"].get("labels", {})
    }

    require(
        wanted and wanted <= running,
        where="gateway",
        want=f"a proxy on {', '.join(sorted(wanted))}",
        got=f"proxies on {', '.join(sorted(str(node) for node in running))}",
        reproduce="kubectl get pods -A -o wide -l gateway.envoyproxy.io/owning-gateway-name",
    )
