"""The prober inside the cluster, for the time of a run: put there, asked, taken away."""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from betelgeuse.errors import BetelgeuseError
from betelgeuse.kube import Obj
from betelgeuse.tree import Ref
from betelgeuse.tree.workloads import ports as ports_of
from conformance.probes import inside as prober
from conformance.probes.http import Answer, Request
from conformance.probes.inside import Target
from conformance.site import Site
from conformance.timeouts import TIMEOUTS
from conformance.verdict import poll, require

IDENTITY: Final = (
    "X-Auth-Request-User",
    "X-Auth-Request-Email",
    "X-Auth-Request-Groups",
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X-Forwarded-Groups",
    "X-Forwarded-Preferred-Username",
    "X-Auth-Request-Access-Token",
    "X-Forwarded-Access-Token",
    "X-WEBAUTH-USER",
    "X-WEBAUTH-GROUPS",
    "Remote-User",
    "Remote-Groups",
    "X-Remote-User",
    "X-Client-Id",
)
"""Headers by which some application somewhere believes who the caller is (CVE-2025-64484)."""
ADDRESS: Final = (
    "Forwarded",
    "X-Real-IP",
    "X-Original-Forwarded-For",
    "X-Client-IP",
    "True-Client-IP",
    "X-Cluster-Client-IP",
    "Fastly-Client-IP",
    "CF-Connecting-IP",
)
"""Headers by which some application somewhere believes where a request comes from."""
FORWARDED: Final = "X-Forwarded-For"
"""The one that the gateway itself writes."""
CONTROL: Final = "X-Conformance-Control"
_LONGEST_RUN: Final = timedelta(minutes=15)
_MANAGER: Final = "betelgeuse-conformance"


def underscored(header: str) -> str:
    """Return the spelling that many frameworks take for the dashed one."""
    return header.replace("-", "_")


@dataclass(frozen=True)
class Inside:
    """The prober while it runs: one pod on every node that has the gateway's image."""

    site: Site
    namespace: str
    host: str
    pods: tuple[Obj, ...]
    targets: tuple[Target, ...]

    def reaches(self, pod: Obj, target: Target) -> bool:
        """Whether the network lets a pod through to a target.

        A policy drops silently, so a connection that is made, reset or refused has come through: only a connect that
        times out has not.
        """
        reply = self.site.cluster.pod_http(pod, prober.PORT, f"/to/{self.targets.index(target)}")
        return "connection timeout" not in reply.text

    def echo(self, request: Request) -> Answer:
        """Return the prober's echo of a request with the control header; its route needs a moment to be programmed."""
        answer, _ = poll(
            lambda: self.site.send(request),
            lambda answer: answer.header(prober.saw(CONTROL)) == "seen",
            TIMEOUTS.reaction,
        )
        require(
            answer.header(prober.saw(CONTROL)) == "seen",
            where=f"http://{request.host}/",
            want=f"an echo of {CONTROL}: seen, through the gateway",
            got=answer,
            reproduce=self.site.curl(request),
        )
        return answer


def _image(site: Site) -> tuple[str, tuple[str, ...]]:
    """Return the gateway's Envoy image, and the nodes that have it."""
    found: dict[str, list[str]] = {}
    for gateway in site.tree.gateways:
        for pod in site.cluster.list("v1", "Pod", gateway.namespace):
            for container in pod["spec"]["containers"]:
                if container["name"] == "envoy":
                    found.setdefault(container["image"], []).append(pod["spec"]["nodeName"])
    require(
        found,
        where="namespace of the gateway",
        want="a pod with a container `envoy`",
        got="none",
        reproduce="kubectl get pods -A",
    )
    image = next(iter(found))
    return image, tuple(sorted(set(found[image])))


def _own_address(pod: Obj) -> str:
    """Return the address of a running pod, unless it is its node's."""
    running = pod["status"].get("phase") == "Running" and not pod["spec"].get("hostNetwork")
    return str(pod["status"].get("podIP", "")) if running else ""


def _named_ports(pod: Obj) -> list[tuple[str, int]]:
    return [(name, number) for name, number, protocol in ports_of(pod["spec"]) if protocol == "TCP"]


def _served_ports(service: Obj, pod: Obj) -> Iterator[int]:
    """Yield the pod's ports that a Service leads to."""
    names = dict(_named_ports(pod))
    for port in service["spec"].get("ports", []):
        wanted = port.get("targetPort", port["port"])
        if port.get("protocol", "TCP") == "TCP" and (isinstance(wanted, int) or wanted in names):
            yield wanted if isinstance(wanted, int) else names[wanted]


def _selects(service: Obj, pod: Obj) -> bool:
    selector = service["spec"].get("selector") or {}
    return bool(selector) and selector.items() <= pod["metadata"].get("labels", {}).items()


def targets(site: Site) -> tuple[Target, ...]:
    """Return every TCP port of the platform's pods: what they declare, and what a Service leads to."""
    found = set()
    for namespace in site.tree.namespaces:
        services = site.cluster.list("v1", "Service", namespace)
        for pod in site.cluster.list("v1", "Pod", namespace):
            address = _own_address(pod)
            if not address:
                continue
            selecting = [service for service in services if _selects(service, pod)]
            public = {
                port
                for service in selecting
                if service["spec"].get("type") == "LoadBalancer"
                for port in _served_ports(service, pod)
            }
            ports = {port for _, port in _named_ports(pod)} | public
            ports |= {port for service in selecting for port in _served_ports(service, pod)}
            name = f"{namespace}/{pod['metadata']['name']}"
            found |= {Target(name, address, port, public=port in public) for port in ports}
    return tuple(sorted(found))


def _ready(site: Site, namespace: str, wanted: int) -> tuple[Obj, ...]:
    def look() -> tuple[Obj, ...]:
        pods = site.cluster.fresh("v1", "Pod", namespace)
        return tuple(
            pod
            for pod in pods
            if any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
        )

    pods, seconds = poll(look, lambda pods: len(pods) == wanted, TIMEOUTS.prober)
    require(
        len(pods) == wanted,
        where=f"namespace {namespace}",
        want=f"{wanted} probe pods Ready within {TIMEOUTS.prober:.0f} s",
        got=f"{len(pods)} after {seconds:.0f} s",
        reproduce=f"kubectl -n {namespace} describe pods",
    )
    return pods


def _remove(site: Site, name: str) -> None:
    with suppress(BetelgeuseError):
        site.cluster.kube.delete({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


def is_left_over(obj: Obj) -> bool:
    """Whether something of a run is what an interrupted one left; a young one may belong to a run beside this one."""
    return datetime.now(UTC) - datetime.fromisoformat(obj["metadata"]["creationTimestamp"]) > _LONGEST_RUN


@contextmanager
def running(site: Site) -> Iterator[Inside]:
    """Put the prober into the cluster, and take it away, with what an interrupted run may have left."""
    for left in site.cluster.fresh("v1", "Namespace", labels=f"{prober.LABEL}=true"):
        if is_left_over(left):
            _remove(site, left["metadata"]["name"])
    namespace = f"conformance-{uuid.uuid4().hex[:8]}"
    image, nodes = _image(site)
    headers = [CONTROL, FORWARDED, *ADDRESS, *(each for name in IDENTITY for each in (name, underscored(name)))]
    try:
        tried = targets(site)
        _put(site, prober.objects(namespace, image, nodes, prober.config(headers, tried)))
        pods = _ready(site, namespace, len(nodes))
        host = f"echo.{namespace}.{site.settings.domain}"
        _put(site, [prober.route(namespace, host, site.tree.find(site.tree.gateways[0]))])
        yield Inside(site, namespace, host, pods, tried)
    finally:
        _remove(site, namespace)


def _put(site: Site, objects: Sequence[Obj]) -> None:
    for obj in objects:
        site.cluster.kube.server_side_apply(obj, _MANAGER, force=True)
        if obj["kind"] == "Namespace":
            _await_account(site, obj["metadata"]["name"])


def started(site: Site, pod: Obj) -> Obj:
    """Put a pod into the cluster and return it as it is once it runs."""
    site.cluster.kube.server_side_apply(pod, _MANAGER, force=True)
    place = Ref("Pod", pod["metadata"]["namespace"], pod["metadata"]["name"], "v1")
    seen, seconds = poll(
        lambda: site.cluster.get(place) or {},
        lambda seen: seen.get("status", {}).get("phase") == "Running",
        TIMEOUTS.prober,
    )
    phase = seen.get("status", {}).get("phase", "none")
    require(
        phase == "Running",
        where=str(place),
        want=f"running within {TIMEOUTS.prober:.0f} s",
        got=f"{phase} after {seconds:.0f} s",
        reproduce=place.kubectl("describe"),
    )
    return seen


def _await_account(site: Site, namespace: str) -> None:
    """Pods are refused until the namespace's default service account is there."""
    account = Ref("ServiceAccount", namespace, "default", "v1")
    poll(lambda: site.cluster.get(account), bool, TIMEOUTS.reaction)
