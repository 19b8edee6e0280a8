"""`kubectl top`: what nodes and pods use now."""

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from betelgeuse.errors import BetelgeuseError
from betelgeuse.kube import Obj
from conformance.site import Site
from conformance.timeouts import TIMEOUTS
from conformance.verdict import poll, require_none

pytestmark = pytest.mark.feature("resource-metrics")

_API: Final = "/apis/metrics.k8s.io/v1beta1"
_SETTLED: Final = timedelta(minutes=3)
"""Of what is younger nothing was measured yet."""


def _listed(site: Site, what: str) -> dict[tuple[str, str], Obj]:
    """Return what is told of each node or pod; nothing while nobody answers."""
    try:
        items = site.cluster.ask("GET", f"{_API}/{what}").data.get("items") or ()
    except BetelgeuseError:
        items = ()
    return {(item["metadata"].get("namespace", ""), item["metadata"]["name"]): item for item in items}


def _settled(pod: Obj) -> bool:
    started = (status.get("state", {}).get("running") for status in pod["status"].get("containerStatuses") or ())
    ages = [datetime.now(UTC) - datetime.fromisoformat(each["startedAt"]) for each in started if each]
    return bool(ages) and min(ages) > _SETTLED


def _nodes(site: Site) -> list[str]:
    told = {name: item["usage"] for (_, name), item in _listed(site, "nodes").items()}
    names = [node["metadata"]["name"] for node in site.cluster.list("v1", "Node")]
    return [f"{name}: {told.get(name)}" for name in names if not {"cpu", "memory"} <= set(told.get(name) or ())]


def test_nodes_tell_what_they_use(site: Site) -> None:
    """The API answers for every node: processor and memory in use (`kubectl top nodes`)."""
    seen, _ = poll(lambda: _nodes(site), lambda seen: not seen, TIMEOUTS.reaction)

    require_none(seen, where=f"{_API}/nodes", want="cpu and memory of each", reproduce="kubectl top nodes")


def test_pods_tell_what_they_use(site: Site, namespace: str) -> None:
    """The API answers for every pod of the namespace that has run for a while (`kubectl top pods`)."""

    def missing() -> list[str]:
        told = _listed(site, "pods")
        pods = site.cluster.fresh("v1", "Pod", namespace)
        old = [pod for pod in pods if pod["status"].get("phase") == "Running" and _settled(pod)]
        return [pod["metadata"]["name"] for pod in old if (namespace, pod["metadata"]["name"]) not in told]

    seen, _ = poll(missing, lambda seen: not seen, TIMEOUTS.reaction)

    require_none(
        seen,
        where=f"{_API}/pods, namespace {namespace}",
        want="an entry for each pod that is older than three minutes",
        reproduce=f"kubectl -n {namespace} top pods",
    )
