"""Namespaces refuse pods that would break out."""

from typing import Final

import pytest

from betelgeuse.kube import Obj
from conformance.probes.k8s import FORBIDDEN
from conformance.site import Site, random_label
from conformance.verdict import require

_LABEL: Final = "pod-security.kubernetes.io"
_VIOLATED: Final = 'violates PodSecurity "restricted:latest"'
"""The policy's name and version: another reason to refuse the pod proves nothing."""

_ROOT: Final[Obj] = {"securityContext": {"runAsUser": 0, "runAsNonRoot": False}}
_PRIVILEGED: Final[Obj] = {"securityContext": {"privileged": True}}


def _pod(namespace: str, spec: Obj | None = None, container: Obj | None = None) -> Obj:
    """Return a pod that obeys every restricted rule, but for what is given."""
    confined = {
        "allowPrivilegeEscalation": False,
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    given = container or {}
    security = {**confined, **given.get("securityContext", {})}
    if security.get("privileged"):
        # The API server refuses this contradiction before admission gets to speak.
        security["allowPrivilegeEscalation"] = True
    resources = {"cpu": "10m", "memory": "16Mi"}
    body = {
        "name": "probe",
        "image": "registry.invalid/probe:1",
        "resources": {"requests": resources, "limits": resources},
        **given,
        "securityContext": security,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"conformance-{random_label()}", "namespace": namespace},
        "spec": {"automountServiceAccountToken": False, "containers": [body], **(spec or {})},
    }


_BREAKOUTS: Final[dict[str, tuple[Obj, Obj]]] = {
    "privileged": ({}, _PRIVILEGED),
    "root": ({}, _ROOT),
    "host-network": ({"hostNetwork": True}, {}),
    "host-pid": ({"hostPID": True}, {}),
    "host-path": ({"volumes": [{"name": "root", "hostPath": {"path": "/"}}]}, {}),
    "added-capability": ({}, {"securityContext": {"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}}}),
    "no-seccomp": ({}, {"securityContext": {"seccompProfile": {"type": "Unconfined"}}}),
}


def test_namespace_has_its_level(site: Site, namespace: str) -> None:
    """Every namespace enforces Pod Security `restricted`, or the level listed for it with a reason."""
    level = site.exemptions.level(namespace)
    live = next((n for n in site.cluster.list("v1", "Namespace") if n["metadata"]["name"] == namespace), {})
    labels = live.get("metadata", {}).get("labels", {})
    # A namespace without a label enforces nothing, which is what `privileged` says.
    enforced = labels.get(f"{_LABEL}/enforce", "privileged")

    require(
        enforced == level and labels.get(f"{_LABEL}/enforce-version", "latest") == "latest",
        where=f"namespace {namespace}",
        want=f"{_LABEL}/enforce={level}",
        got=enforced,
        reproduce=f"kubectl get namespace {namespace} --show-labels",
    )


@pytest.mark.parametrize("breakout", sorted(_BREAKOUTS))
def test_breakout_is_refused(site: Site, namespace: str, breakout: str) -> None:
    """A pod that asks for the node's powers is refused, unless the namespace is listed as exempt."""
    spec, container = _BREAKOUTS[breakout]

    reply = site.cluster.dry_create(_pod(namespace, spec, container))

    refused = reply.status == FORBIDDEN and _VIOLATED in reply.text
    require(
        refused or site.exemptions.level(namespace) == "privileged",
        where=f"namespace {namespace}, {breakout}",
        want=f"403: {_VIOLATED}",
        got=reply,
        reproduce=f"kubectl -n {namespace} run probe --image=x --dry-run=server --privileged",
    )


def test_confined_pod_is_admitted(site: Site, namespace: str) -> None:
    """The control of this file: the same pod without the fault is admitted, so the refusals are about the fault."""
    reply = site.cluster.dry_create(_pod(namespace))

    require(
        reply.ok,
        where=f"namespace {namespace}",
        want="a restricted pod accepted",
        got=reply,
        reproduce=f"kubectl -n {namespace} run probe --image=x --dry-run=server",
    )
