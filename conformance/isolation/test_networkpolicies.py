"""Namespaces are closed unless a policy opens them."""

from betelgeuse.kube import Obj
from conformance.site import Site
from conformance.verdict import require

_OPEN = "privileged"


def denies_by_default(policies: tuple[Obj, ...], direction: str) -> bool:
    """Whether one of the policies selects every pod, speaks of the direction and allows nothing in it."""
    return any(
        not policy["spec"].get("podSelector")
        and direction in policy["spec"].get("policyTypes", [])
        and not policy["spec"].get(direction.lower())
        for policy in policies
    )


def test_namespace_denies_by_default(site: Site, namespace: str) -> None:
    """Every namespace denies all traffic in both directions unless another policy of it allows it."""
    policies = site.cluster.list("networking.k8s.io/v1", "NetworkPolicy", namespace)
    missing = [way for way in ("Ingress", "Egress") if not denies_by_default(policies, way)]

    # The control plane's namespace is the one whose pods share the node's network, where policies do not reach.
    require(
        not missing or site.exemptions.level(namespace) == _OPEN,
        where=f"namespace {namespace}",
        want="a NetworkPolicy that selects all pods and allows nothing, for Ingress and for Egress",
        got=f"none for {' and '.join(missing)} among {[p['metadata']['name'] for p in policies]}",
        reproduce=f"kubectl -n {namespace} get networkpolicies -o yaml",
    )


def test_no_policy_opens_to_the_world(site: Site, namespace: str) -> None:
    """Only the gateway takes traffic from anywhere; every other namespace names who may call."""
    gateways = {gateway.namespace for gateway in site.tree.gateways}
    found = [
        policy["metadata"]["name"]
        for policy in site.cluster.list("networking.k8s.io/v1", "NetworkPolicy", namespace)
        for rule in policy["spec"].get("ingress") or []
        if not rule.get("from") or any(peer.get("ipBlock", {}).get("cidr") == "0.0.0.0/0" for peer in rule["from"])
    ]

    require(
        not found or namespace in gateways or site.exemptions.level(namespace) == _OPEN,
        where=f"namespace {namespace}",
        want="a `from` in every ingress rule",
        got=f"open to everyone: {', '.join(found)}",
        reproduce=f"kubectl -n {namespace} get networkpolicies -o yaml",
    )
