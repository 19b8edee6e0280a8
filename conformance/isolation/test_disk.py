"""What a pod writes to its node's disk is bounded, and costs nobody else anything."""

from typing import Final

import pytest

from betelgeuse.kube import Obj
from betelgeuse.tree import Ref
from conformance.inside import Inside
from conformance.probes import mimic
from conformance.site import Site
from conformance.timeouts import TIMEOUTS
from conformance.verdict import poll, require

pytestmark = pytest.mark.feature("prober")

_WRITTEN: Final = {"modest": 4, "greedy": 48}
"""MiB that each of two pods writes into a folder of 16."""
_PROGRAM: Final = """
import signal, sys
with open("/tmp/written", "wb") as file:
    for _ in range(int(sys.argv[1])):
        file.write(b"x" * 2**20)
signal.pause()
"""


def _pod(namespace: str, name: str, image: str) -> Obj:
    amounts = {"cpu": "10m", "memory": "64Mi", "ephemeral-storage": "64Mi"}
    container = {
        "name": "writer",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/usr/bin/python3", "-c", _PROGRAM, str(_WRITTEN[name])],
        "resources": {"requests": amounts, "limits": {**amounts, "cpu": "1"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - a folder of its own
    }
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 0,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "16Mi"}}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def _evicted(site: Site) -> set[str]:
    """Return the pods of the platform that were evicted; the kubelet leaves them to be seen."""
    pods = (pod for space in site.tree.namespaces for pod in site.cluster.fresh("v1", "Pod", space))
    found = (pod["metadata"] for pod in pods if pod["status"].get("reason") == "Evicted")
    return {f"{meta['namespace']}/{meta['name']}" for meta in found}


def _writers(site: Site, inside: Inside) -> dict[str, Ref]:
    """Return the two pods, started at the first call; they go with the run's namespace."""

    def start() -> dict[str, Ref]:
        site.once(("evicted",), lambda: _evicted(site))
        for name in _WRITTEN:
            pod = _pod(inside.namespace, name, mimic.image(site.tree))
            site.cluster.kube.server_side_apply(pod, "betelgeuse-conformance", force=True)
        return {name: Ref("Pod", inside.namespace, name, "v1") for name in _WRITTEN}

    return site.once(("writers", inside.namespace), start)


def _state(site: Site, pod: Ref) -> str:
    status = (site.cluster.get(pod) or {}).get("status", {})
    return f"{status.get('phase')} {status.get('reason', '')}".strip()


@pytest.mark.early
def test_writer_runs(site: Site, inside: Inside) -> None:
    """A pod that writes within its bounds runs."""
    pod = _writers(site, inside)["modest"]

    seen, _ = poll(lambda: _state(site, pod), lambda seen: seen == "Running", TIMEOUTS.prober)

    require(seen == "Running", where=str(pod), want="Running", got=seen, reproduce=pod.kubectl("describe"))


@pytest.mark.late
def test_full_disk_is_the_writers_own(site: Site, inside: Inside) -> None:
    """A pod that writes more to the disk than it may is evicted, and no other."""
    pods = _writers(site, inside)

    seen, seconds = poll(lambda: _state(site, pods["greedy"]), lambda seen: seen == "Failed Evicted", TIMEOUTS.eviction)

    others = sorted(_evicted(site) - site.once(("evicted",), set))
    require(
        seen == "Failed Evicted" and not others and _state(site, pods["modest"]) == "Running",
        where=f"{pods['greedy']}, {_WRITTEN['greedy']} MiB in an emptyDir of 16Mi",
        want="this pod evicted, no other, and one beside it that wrote less running on",
        got=f"{seen} after {seconds:.0f} s, with it {others or 'none'}; beside it: {_state(site, pods['modest'])}",
        reproduce="kubectl get pods -A --field-selector=status.phase=Failed",
    )
