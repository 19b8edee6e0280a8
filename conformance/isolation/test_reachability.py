"""Who reaches whom, tried from pods of a strange namespace on every node."""

import pytest

from betelgeuse.kube import Obj
from conformance.inside import Inside
from conformance.parallel import gather
from conformance.probes.inside import Target
from conformance.site import Site
from conformance.verdict import require_none

pytestmark = pytest.mark.feature("prober")


def _tried(site: Site, inside: Inside) -> list[tuple[Obj, Target, bool]]:
    """Try everything at once: what is denied takes its whole timeout, and there is much of it."""

    def look() -> list[tuple[Obj, Target, bool]]:
        pairs = [(pod, target) for pod in inside.pods for target in inside.targets]
        reached = gather(lambda pair: inside.reaches(*pair), pairs, workers=16)
        return [(pod, target, came) for (pod, target), came in zip(pairs, reached, strict=True)]

    return site.once(("reachability", inside.namespace), look)


def _told(pod: Obj, target: Target) -> str:
    return f"{target} from a pod on {pod['spec']['nodeName']}"


def _by_hand(inside: Inside, target: Target) -> str:
    pod = inside.pods[0]["metadata"]["name"]
    return f"a pod in any namespace: nc -z -w 2 {target.address} {target.port} (here {inside.namespace}/{pod})"


def test_stranger_reaches_no_pod(site: Site, inside: Inside, namespace: str) -> None:
    """A pod of a strange namespace, on whichever node, reaches no port of the namespace's pods but the public ones."""
    # The cluster's own namespace holds what everyone needs (DNS) and what shares the nodes' network.
    exempt = site.exemptions.level(namespace) == "privileged"
    own = [target for target in inside.targets if target.name.startswith(f"{namespace}/")]
    closed = [target for target in own if not exempt and not target.public]

    tried = _tried(site, inside)

    require_none(
        [_told(pod, target) for pod, target, came in tried if came and target in closed],
        where=f"namespace {namespace}",
        want=f"none of {len(closed)} ports reached from {len(inside.pods)} nodes",
        reproduce=_by_hand(inside, closed[0]) if closed else f"kubectl -n {namespace} get pods -o wide",
    )


def test_proxies_are_reached_from_every_node(site: Site, inside: Inside) -> None:
    """A pod on any node reaches the gateway's proxies on every node: the network is one, and the prober sees it."""
    proxies = [target for target in inside.targets if target.public]

    tried = [(pod, target, came) for pod, target, came in _tried(site, inside) if target in proxies]

    require_none(
        [_told(pod, target) for pod, target, came in tried if not came] if proxies else ["no proxy found"],
        where="gateway",
        want=f"all of {len(proxies)} listening ports reached from {len(inside.pods)} nodes",
        reproduce=_by_hand(inside, proxies[0]) if proxies else "kubectl get pods -A -o wide",
    )
