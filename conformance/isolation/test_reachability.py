"""Who reaches whom, tried from pods of a strange namespace on every node."""

import pytest

from conformance.inside import Inside
from conformance.parallel import gather
from conformance.probes.inside import Target
from conformance.site import Site
from conformance.tree import Raw
from conformance.verdict import require_none

pytestmark = pytest.mark.feature("prober")


def _tried(inside: Inside, targets: list[Target]) -> list[tuple[Raw, Target, bool]]:
    pairs = [(pod, target) for pod in inside.pods for target in targets]
    reached = gather(lambda pair: inside.reaches(*pair), pairs, workers=12)
    return [(pod, target, came) for (pod, target), came in zip(pairs, reached, strict=True)]


def _told(pod: Raw, target: Target) -> str:
    return f"{target} from a pod on {pod['spec']['nodeName']}"


def _by_hand(inside: Inside, target: Target) -> str:
    pod = inside.pods[0]["metadata"]["name"]
    return f"a pod in any namespace: nc -z -w 2 {target.address} {target.port} (here {inside.namespace}/{pod})"


def _is_public(site: Site, namespace: str) -> bool:
    """Whether anyone may call: the gateway's proxies, and what has no policies because it is the cluster's own."""
    gateways = {gateway.namespace for gateway in site.tree.gateways}
    return namespace in gateways or site.exemptions.level(namespace) == "privileged"


def test_stranger_reaches_no_pod(site: Site, inside: Inside, namespace: str) -> None:
    """A pod of a strange namespace, on whichever node, reaches no port of the namespace's pods."""
    if _is_public(site, namespace):
        return  # what of these must be reached is the next check's claim; what must not, the policies'
    targets = [target for target in inside.targets if target.name.startswith(f"{namespace}/")]

    tried = _tried(inside, targets)

    require_none(
        [_told(pod, target) for pod, target, came in tried if came],
        where=f"namespace {namespace}",
        want=f"none of {len(targets)} ports reached from {len(inside.pods)} nodes",
        reproduce=_by_hand(inside, targets[0]) if targets else f"kubectl -n {namespace} get pods -o wide",
    )


def test_proxies_are_reached_from_every_node(site: Site, inside: Inside) -> None:
    """Every proxy of the gateway is reached from a pod on every node: the network joins the nodes, and the prober works."""
    gateways = {gateway.namespace for gateway in site.tree.gateways}
    proxies = [t for t in inside.targets if t.name.partition("/")[0] in gateways and t.port in _proxy_ports(site)]

    tried = _tried(inside, proxies)

    require_none(
        [_told(pod, target) for pod, target, came in tried if not came] if proxies else ["no proxy found"],
        where="gateway",
        want=f"all of {len(proxies)} listening ports reached from {len(inside.pods)} nodes",
        reproduce=_by_hand(inside, proxies[0]) if proxies else "kubectl get pods -A -o wide",
    )


def _proxy_ports(site: Site) -> set[int]:
    """Return where the proxies take connections: the Gateway's ports, shifted by 10000 when privileged."""
    return {port + 10_000 if port < 1024 else port for port in site.tree.ports}
