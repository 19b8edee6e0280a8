"""Everything the tree runs is there, ready and stays so."""

from datetime import UTC, datetime

import pytest

from betelgeuse.kube import Obj
from betelgeuse.tree import Ref
from conformance import restarts
from conformance.site import Site
from conformance.timeouts import TIMEOUTS
from conformance.verdict import poll, require, require_none
from conformance.workloads.rules import restart_fault


def _readiness(live: Obj) -> str:
    """Return why a workload is not ready; empty when it is."""
    status, spec = live.get("status", {}), live.get("spec", {})
    if not live:
        return "it does not exist"
    if status.get("observedGeneration", 0) < live["metadata"].get("generation", 1):
        return "its controller has not seen the last change"
    daemon = live["kind"] == "DaemonSet"
    wanted = status.get("desiredNumberScheduled", 0) if daemon else spec.get("replicas", 1)
    ready = status.get("numberReady" if daemon else "readyReplicas", 0)
    updated = status.get("updatedNumberScheduled" if daemon else "updatedReplicas", 0)
    if wanted == 0:
        return "it runs nothing (0 wanted)"
    return "" if ready >= wanted and updated >= wanted else f"{ready} of {wanted} ready, {updated} up to date"


def test_workload_is_ready(site: Site, workload: Ref) -> None:
    """Every workload of the tree runs as many ready pods as it wants, all of its latest version."""
    # A bounded look, not one: a pod replaced a second ago (renewed certificate, drill) is not a broken promise.
    fault, _ = poll(lambda: _readiness(site.cluster.get(workload) or {}), lambda fault: not fault, TIMEOUTS.reaction)

    require(
        not fault,
        where=str(workload),
        want="all replicas ready and up to date",
        got=fault,
        reproduce=workload.kubectl("describe"),
    )


def test_no_pod_restarts_in_a_loop(site: Site, namespace: str) -> None:
    """No container of the namespace crashes again and again, and none waits for an image."""
    now = datetime.now(UTC)
    faults = [
        f"{pod['metadata']['name']}/{fault}"
        for pod in site.cluster.fresh("v1", "Pod", namespace)
        for status in [
            *pod["status"].get("initContainerStatuses", []),
            *pod["status"].get("containerStatuses", []),
        ]
        if (fault := restart_fault(status, now))
    ]

    require_none(
        faults, where=f"namespace {namespace}", want="no loop", reproduce=f"kubectl -n {namespace} get pods -o wide"
    )


@pytest.mark.last
def test_nothing_was_restarted(site: Site) -> None:
    """Every container of the platform runs on since the run began: never started anew, but where a check ended it."""
    require_none(
        restarts.faults(site.before, site.containers(), site.killed),
        where="the platform's namespaces, since the run began",
        want="the same containers, with the same count of restarts",
        reproduce="kubectl get pods -A; kubectl get events -A",
    )


def test_every_pod_is_ready(site: Site, namespace: str) -> None:
    """Every pod of the namespace is ready, or has done its work."""

    def unready() -> list[str]:
        return [
            f"{pod['metadata']['name']} is {pod['status'].get('phase')}"
            for pod in site.cluster.fresh("v1", "Pod", namespace)
            if pod["status"].get("phase") != "Succeeded"
            and "deletionTimestamp" not in pod["metadata"]
            and not any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
        ]

    faults, _ = poll(unready, lambda faults: not faults, TIMEOUTS.reaction)

    require_none(
        faults,
        where=f"namespace {namespace}",
        want="every pod Ready",
        reproduce=f"kubectl -n {namespace} get pods -o wide",
    )
