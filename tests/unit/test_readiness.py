"""Ready or not, and why: one row per state worth telling apart."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from betelgeuse.readiness import READY, State, judge, short
from tests.unit.fakes import obj

Data = Mapping[str, Any]
GATEWAY = "gateway.networking.k8s.io/v1"
ENVOY = "gateway.envoyproxy.io/v1alpha1"


@dataclass(frozen=True)
class Case:
    """A live object and the reason it is not ready ("" when it is)."""

    name: str
    kind: tuple[str, str]
    status: Data | None
    reason: str
    spec: Data = field(default_factory=dict)
    generation: int = 1


def condition(name: str, *, status: str = "True", **rest: object) -> dict[str, object]:
    """Return one condition."""
    return {"type": name, "status": status, **rest}


def listener(name: str, *conditions: Data) -> Data:
    """Return the status of a listener."""
    return {"name": name, "conditions": list(conditions)}


ALL = [condition(name) for name in ("Accepted", "ResolvedRefs", "Programmed")]
BAD_REFS = condition("ResolvedRefs", status="False", reason="InvalidCertificateRef", message="secret x not found")
PARENT = {"name": "web", "kind": "ListenerSet"}
ROUTE = {"parentRefs": [PARENT]}
ANSWER = {"parentRef": {"group": "gateway.networking.k8s.io", **PARENT, "namespace": "n"}}
DEPLOYMENT, DAEMONSET, STATEFULSET = ("apps/v1", "Deployment"), ("apps/v1", "DaemonSet"), ("apps/v1", "StatefulSet")
PROMETHEUS = ("monitoring.coreos.com/v1", "Prometheus")
POSTGRES = ("postgresql.cnpg.io/v1", "Cluster")
DONE = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1, "readyReplicas": 1}
UNSEEN = "no controller has looked at it"
OLD = {"observedGeneration": 1}

CASES = [
    Case("namespace", ("v1", "Namespace"), {"phase": "Active"}, ""),
    Case("namespace-ending", ("v1", "Namespace"), {"phase": "Terminating"}, "phase Terminating"),
    Case("namespace-new", ("v1", "Namespace"), None, "phase unknown"),
    Case(
        "crd",
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        {"conditions": [condition("NamesAccepted"), condition("Established")]},
        "",
    ),
    Case("crd-new", ("apiextensions.k8s.io/v1", "CustomResourceDefinition"), None, f"not NamesAccepted yet: {UNSEEN}"),
    Case("deployment", DEPLOYMENT, DONE, ""),
    Case("deployment-new", DEPLOYMENT, None, f"0/1 ready: {UNSEEN}"),
    Case("deployment-stale", DEPLOYMENT, DONE, f"0/1 ready: {UNSEEN}", generation=2),
    Case(
        "deployment-pods-missing",
        DEPLOYMENT,
        {**DONE, "availableReplicas": 0},
        "0/2 ready, 1/2 updated",
        {"replicas": 2},
    ),
    Case("deployment-not-available", DEPLOYMENT, {**DONE, "availableReplicas": 0}, "0/1 ready"),
    Case("deployment-old-pods", DEPLOYMENT, {**DONE, "replicas": 2}, "1/1 ready, old pods still ending"),
    Case("deployment-zero", DEPLOYMENT, OLD, "", {"replicas": 0}),
    Case(
        "deployment-forbidden",
        DEPLOYMENT,
        {**OLD, "conditions": [condition("ReplicaFailure", message="violates PodSecurity")]},
        "0/1 ready, 0/1 updated (violates PodSecurity)",
    ),
    Case("statefulset", STATEFULSET, DONE, ""),
    Case("statefulset-rolling", STATEFULSET, {**DONE, "readyReplicas": 3}, "1/3 ready, 1/3 updated", {"replicas": 3}),
    Case(
        "statefulset-partition",
        STATEFULSET,
        {**DONE, "readyReplicas": 3},
        "",
        {"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 2}}},
    ),
    Case(
        "statefulset-on-delete", STATEFULSET, {**OLD, "readyReplicas": 1}, "", {"updateStrategy": {"type": "OnDelete"}}
    ),
    Case(
        "daemonset",
        DAEMONSET,
        {**OLD, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2},
        "",
    ),
    Case(
        "daemonset-one-node",
        DAEMONSET,
        {**OLD, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 1},
        "1/2 ready",
    ),
    Case(
        "daemonset-on-delete",
        DAEMONSET,
        {**OLD, "desiredNumberScheduled": 1, "numberAvailable": 1},
        "",
        {"updateStrategy": {"type": "OnDelete"}},
    ),
    Case("job", ("batch/v1", "Job"), {"conditions": [condition("Complete")]}, ""),
    Case("job-running", ("batch/v1", "Job"), {}, "not complete"),
    Case(
        "job-failed",
        ("batch/v1", "Job"),
        {"conditions": [condition("Failed", message="BackoffLimitExceeded")]},
        "failed: BackoffLimitExceeded",
    ),
    Case("pod", ("v1", "Pod"), {"conditions": [condition("Ready")]}, ""),
    Case("pod-done", ("v1", "Pod"), {"phase": "Succeeded"}, ""),
    Case("pod-pending", ("v1", "Pod"), {"phase": "Pending"}, "Pending"),
    Case("service", ("v1", "Service"), None, ""),
    Case(
        "service-address", ("v1", "Service"), {"loadBalancer": {"ingress": [{"ip": "1"}]}}, "", {"type": "LoadBalancer"}
    ),
    Case(
        "service-no-address",
        ("v1", "Service"),
        {"loadBalancer": {}},
        "no load balancer address yet (GATEWAY_ADDRESSES, the nodes that run its pods)",
        {"type": "LoadBalancer"},
    ),
    Case("certificate", ("cert-manager.io/v1", "Certificate"), {"conditions": [condition("Ready")]}, ""),
    Case(
        "certificate-waiting",
        ("cert-manager.io/v1", "Certificate"),
        {"conditions": [condition("Ready", status="False", reason="DoesNotExist", message="Issuing")]},
        "not Ready (DoesNotExist: Issuing)",
    ),
    Case(
        "certificate-stale",
        ("cert-manager.io/v1", "Certificate"),
        {"conditions": [condition("Ready", observedGeneration=1)]},
        f"not Ready yet: {UNSEEN}",
        generation=2,
    ),
    Case("postgres", POSTGRES, {"phase": "Cluster in healthy state", "conditions": [condition("Ready")]}, ""),
    Case("postgres-new", POSTGRES, None, f"not Ready yet: {UNSEEN}"),
    Case(
        "postgres-starting",
        POSTGRES,
        {
            "phase": "Setting up primary",
            "phaseReason": "Creating primary instance pg-1",
            "conditions": [condition("Ready", status="False", reason="ClusterIsNotReady")],
        },
        "Setting up primary: Creating primary instance pg-1",
    ),
    Case("prometheus", PROMETHEUS, {"conditions": [condition("Reconciled"), condition("Available")]}, ""),
    Case("prometheus-new", PROMETHEUS, None, f"not Reconciled yet: {UNSEEN}"),
    Case(
        "prometheus-starting",
        PROMETHEUS,
        {"conditions": [condition("Reconciled"), condition("Available", status="False", reason="NoPodReady")]},
        "not Available (NoPodReady)",
    ),
    Case(
        "issuer",
        ("cert-manager.io/v1", "ClusterIssuer"),
        {"conditions": [condition("Ready", status="Unknown")]},
        "not Ready",
    ),
    Case("gatewayclass", (GATEWAY, "GatewayClass"), {"conditions": [condition("Accepted")]}, ""),
    Case("gateway-new", (GATEWAY, "Gateway"), None, f"not Accepted yet: {UNSEEN}"),
    Case(
        "gateway",
        (GATEWAY, "Gateway"),
        {"conditions": ALL, "listeners": [listener("https", *ALL)]},
        "",
        {"listeners": [{"name": "https"}]},
    ),
    Case(
        "gateway-no-address",
        (GATEWAY, "Gateway"),
        {"conditions": [condition("Accepted"), condition("Programmed", status="False", reason="AddressNotAssigned")]},
        "not Programmed (AddressNotAssigned)",
    ),
    Case(
        "gateway-listener",
        (GATEWAY, "Gateway"),
        {"conditions": ALL, "listeners": [listener("http", *ALL), listener("https", ALL[0], BAD_REFS, ALL[2])]},
        "listener https: not ResolvedRefs (InvalidCertificateRef: secret x not found)",
        {"listeners": [{"name": "http"}, {"name": "https"}]},
    ),
    Case(
        "listenerset",
        (GATEWAY, "ListenerSet"),
        {"conditions": ALL},
        f"listener https: not Accepted yet: {UNSEEN}",
        {"listeners": [{"name": "https"}]},
    ),
    Case("route", (GATEWAY, "HTTPRoute"), {"parents": [{**ANSWER, "conditions": ALL[:2]}]}, "", ROUTE),
    Case(
        "route-unanswered",
        (GATEWAY, "HTTPRoute"),
        {},
        "ListenerSet web has not answered (does it exist, does it allow routes from this namespace?)",
        ROUTE,
    ),
    Case(
        "route-other-parent-answered",
        (GATEWAY, "HTTPRoute"),
        {"parents": [{"parentRef": {"name": "web"}, "conditions": ALL}]},
        "ListenerSet web has not answered (does it exist, does it allow routes from this namespace?)",
        ROUTE,
    ),
    Case(
        "route-no-backend",
        (GATEWAY, "HTTPRoute"),
        {
            "parents": [
                {**ANSWER, "conditions": [ALL[0], condition("ResolvedRefs", status="False", reason="BackendNotFound")]}
            ]
        },
        "ListenerSet web: not ResolvedRefs (BackendNotFound)",
        ROUTE,
    ),
    Case("policy", (ENVOY, "SecurityPolicy"), {"ancestors": [{"ancestorRef": {"name": "g"}, "conditions": ALL}]}, ""),
    Case("policy-new", (ENVOY, "SecurityPolicy"), {}, "not Accepted yet: its target has not answered (does it exist?)"),
    Case(
        "policy-conflict",
        (ENVOY, "BackendTrafficPolicy"),
        {
            "ancestors": [
                {
                    "ancestorRef": {"name": "g"},
                    "conditions": [condition("Accepted", status="False", reason="Conflicted")],
                }
            ]
        },
        "g: not Accepted (Conflicted)",
    ),
    Case("unknown-kind", ("x.org/v1", "Lamp"), None, ""),
    Case("unknown-kind-without-ready", ("x.org/v1", "Lamp"), {"conditions": [condition("Shiny", status="False")]}, ""),
    Case("unknown-kind-odd-status", ("x.org/v1", "Lamp"), {"conditions": "none"}, ""),
    Case(
        "unknown-kind-not-ready",
        ("x.org/v1", "Lamp"),
        {"conditions": [condition("Ready", status="False", message="dark")]},
        "not Ready (dark)",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_verdict(case: Case) -> None:
    """The state of the object gives exactly this reason."""
    live = obj(*case.kind, "x", "n", generation=case.generation, spec=case.spec)
    if case.status is not None:
        live["status"] = case.status
    state = judge(live)

    assert (state.reason, state.ready) == (case.reason, not case.reason)
    assert state.fatal == (case.name == "job-failed")


def test_what_is_being_deleted_is_not_ready() -> None:
    """An object on its way out is not counted."""
    live = obj("v1", "Service", "x", "n")
    live["metadata"]["deletionTimestamp"] = "now"

    assert judge(live) == State(ready=False, reason="is being deleted since now")
    live["metadata"]["finalizers"] = ["x.org/guard"]
    assert judge(live).reason == "is being deleted since now; finalizer x.org/guard holds it"
    assert judge(obj("v1", "Service", "x", "n")) == READY


def test_messages_stay_short() -> None:
    """A controller's essay becomes one line of bearable length."""
    assert len(short("word \n" * 100)) == 160
    assert short("a \n b") == "a b"
