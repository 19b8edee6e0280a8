"""Is it ready, and if not, why not? One pure predicate per kind."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from betelgeuse import deletion
from betelgeuse.kube import Obj, api_group

_MESSAGE: Final = 160


@dataclass(frozen=True)
class State:
    """The verdict on one object."""

    ready: bool
    reason: str = ""
    fatal: bool = False
    """Whether waiting cannot help any more."""


READY: Final = State(ready=True)


def _no(reason: str, *, fatal: bool = False) -> State:
    return State(ready=False, reason=reason, fatal=fatal)


def short(text: object) -> str:
    """Return a message as one line of bearable length."""
    line = " ".join(str(text).split())
    return line if len(line) <= _MESSAGE else line[: _MESSAGE - 1] + "…"


def _conditions(holder: Mapping[str, Any] | None) -> dict[str, Mapping[str, Any]]:
    return {str(entry.get("type")): entry for entry in (holder or {}).get("conditions") or ()}


def _stale(obj: Obj, observed: object) -> bool:
    """Whether a status speaks of an older version of the object."""
    return isinstance(observed, int) and observed < int(obj["metadata"].get("generation") or 0)


def _want(obj: Obj, holder: Mapping[str, Any] | None, *types: str, who: str = "") -> State:
    """Demand that conditions are True and speak of this generation."""
    found = _conditions(holder)
    prefix = f"{who}: " if who else ""
    for name in types:
        condition = found.get(name)
        if condition is None or _stale(obj, condition.get("observedGeneration")):
            return _no(f"{prefix}not {name} yet: no controller has looked at it")
        if condition.get("status") != "True":
            words = ": ".join(str(condition[key]) for key in ("reason", "message") if condition.get(key))
            return _no(short(f"{prefix}not {name}" + (f" ({words})" if words else "")))
    return READY


def _first(states: Iterable[State]) -> State:
    return next((state for state in states if not state.ready), READY)


def condition(*types: str) -> Callable[[Obj], State]:
    """Return a predicate: these conditions of the status are True."""
    return lambda obj: _want(obj, obj.get("status"), *types)


def _namespace(obj: Obj) -> State:
    phase = (obj.get("status") or {}).get("phase", "unknown")
    return READY if phase == "Active" else _no(f"phase {phase}")


def _rollout(obj: Obj, want: int, updated: int, available: int) -> State:
    if _stale(obj, (obj.get("status") or {}).get("observedGeneration", 0)):
        return _no(f"0/{want} ready: no controller has looked at it")
    if updated < want:
        return _no(f"{min(available, updated)}/{want} ready, {updated}/{want} updated")
    return READY if available >= want else _no(f"{available}/{want} ready")


def _deployment(obj: Obj) -> State:
    status = obj.get("status") or {}
    want = int((obj.get("spec") or {}).get("replicas", 1))
    state = _rollout(obj, want, int(status.get("updatedReplicas") or 0), int(status.get("availableReplicas") or 0))
    if state.ready and int(status.get("replicas") or 0) > want:
        return _no(f"{want}/{want} ready, old pods still ending")
    failure = _conditions(status).get("ReplicaFailure", {})
    if not state.ready and failure.get("status") == "True":
        return _no(short(f"{state.reason} ({failure.get('message', 'pods cannot be created')})"))
    return state


def _statefulset(obj: Obj) -> State:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    want, ready = int(spec.get("replicas", 1)), int(status.get("readyReplicas") or 0)
    strategy = spec.get("updateStrategy") or {}
    partition = int((strategy.get("rollingUpdate") or {}).get("partition") or 0)
    updated = int(status.get("updatedReplicas") or 0) + min(partition, want)
    return _rollout(obj, want, want if strategy.get("type") == "OnDelete" else updated, ready)


def _daemonset(obj: Obj) -> State:
    status = obj.get("status") or {}
    want, updated = int(status.get("desiredNumberScheduled") or 0), int(status.get("updatedNumberScheduled") or 0)
    on_delete = ((obj.get("spec") or {}).get("updateStrategy") or {}).get("type") == "OnDelete"
    return _rollout(obj, want, want if on_delete else updated, int(status.get("numberAvailable") or 0))


def _job(obj: Obj) -> State:
    found = _conditions(obj.get("status"))
    if found.get("Failed", {}).get("status") == "True":
        return _no(short(f"failed: {found['Failed'].get('message', 'no message')}"), fatal=True)
    done = any(found.get(name, {}).get("status") == "True" for name in ("Complete", "Suspended"))
    return READY if done else _no("not complete")


def _pod(obj: Obj) -> State:
    status = obj.get("status") or {}
    if status.get("phase") == "Succeeded":
        return READY
    ready = _conditions(status).get("Ready", {}).get("status") == "True"
    return READY if ready else _no(status.get("phase", "unknown"))


def _service(obj: Obj) -> State:
    if (obj.get("spec") or {}).get("type") != "LoadBalancer":
        return READY
    ingress = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress")
    return READY if ingress else _no("no load balancer address yet (GATEWAY_ADDRESSES, the nodes that run its pods)")


def _listeners(obj: Obj) -> Iterator[State]:
    """Judge each listener: a Gateway is Programmed even when one of them lacks its certificate."""
    reported = {entry.get("name"): entry for entry in (obj.get("status") or {}).get("listeners") or ()}
    for listener in (obj.get("spec") or {}).get("listeners") or ():
        name = listener.get("name")
        yield _want(obj, reported.get(name), "Accepted", "ResolvedRefs", "Programmed", who=f"listener {name}")


def _gateway(obj: Obj) -> State:
    # A listener without its certificate explains a Gateway that is not programmed, so it is asked in between.
    status = obj.get("status")
    return _first([_want(obj, status, "Accepted"), *_listeners(obj), _want(obj, status, "Programmed")])


_PARENT: Final = (("group", "gateway.networking.k8s.io"), ("kind", "Gateway"), ("name", None), ("sectionName", None))


def _parent(reference: Mapping[str, Any], namespace: object) -> tuple[object, ...]:
    values = tuple(reference.get(name, default) for name, default in _PARENT)
    return (*values, reference.get("port"), reference.get("namespace", namespace))


def _route(obj: Obj) -> State:
    """Judge a route: every parent it names must have accepted it and found its backends."""
    namespace = obj["metadata"].get("namespace")
    parents = (obj.get("status") or {}).get("parents") or ()
    for reference in (obj.get("spec") or {}).get("parentRefs") or ():
        wanted = _parent(reference, namespace)
        who = f"{reference.get('kind', 'Gateway')} {reference.get('name')}"
        answers = [entry for entry in parents if _parent(entry.get("parentRef") or {}, namespace) == wanted]
        if not answers:
            return _no(f"{who} has not answered (does it exist, does it allow routes from this namespace?)")
        state = _first(_want(obj, answer, "Accepted", "ResolvedRefs", who=who) for answer in answers)
        if not state.ready:
            return state
    return READY


def _policy(obj: Obj) -> State:
    ancestors = (obj.get("status") or {}).get("ancestors") or ()
    if not ancestors:
        return _no("not Accepted yet: its target has not answered (does it exist?)")
    names = [str((entry.get("ancestorRef") or {}).get("name")) for entry in ancestors]
    return _first(_want(obj, entry, "Accepted", who=name) for entry, name in zip(ancestors, names, strict=True))


def _cluster(obj: Obj) -> State:
    """Judge a PostgreSQL Cluster: its condition says whether, its phase says why not."""
    status = obj.get("status") or {}
    state = _want(obj, status, "Ready")
    words = ": ".join(str(status[key]) for key in ("phase", "phaseReason") if status.get(key))
    return state if state.ready or not words else _no(short(words))


def _generic(obj: Obj) -> State:
    """Judge a kind we know nothing of: it is ready unless its own Ready condition says otherwise."""
    status = obj.get("status")
    if isinstance(status, Mapping) and isinstance(status.get("conditions"), list) and "Ready" in _conditions(status):
        return _want(obj, status, "Ready")
    return READY


_GATEWAY_API: Final = "gateway.networking.k8s.io"
_ENVOY: Final = "gateway.envoyproxy.io"
READINESS: Final[Mapping[tuple[str, str], Callable[[Obj], State]]] = {
    ("", "Namespace"): _namespace,
    ("", "Pod"): _pod,
    ("", "Service"): _service,
    ("apps", "DaemonSet"): _daemonset,
    ("apps", "Deployment"): _deployment,
    ("apps", "StatefulSet"): _statefulset,
    ("batch", "Job"): _job,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): condition("NamesAccepted", "Established"),
    ("apiregistration.k8s.io", "APIService"): condition("Available"),
    ("cert-manager.io", "Certificate"): condition("Ready"),
    ("cert-manager.io", "ClusterIssuer"): condition("Ready"),
    ("cert-manager.io", "Issuer"): condition("Ready"),
    ("postgresql.cnpg.io", "Cluster"): _cluster,
    ("monitoring.coreos.com", "Alertmanager"): condition("Reconciled", "Available"),
    ("monitoring.coreos.com", "Prometheus"): condition("Reconciled", "Available"),
    (_GATEWAY_API, "Gateway"): _gateway,
    (_GATEWAY_API, "GatewayClass"): condition("Accepted"),
    (_GATEWAY_API, "ListenerSet"): _gateway,
    ("gateway.networking.x-k8s.io", "XListenerSet"): _gateway,
    **{(_GATEWAY_API, f"{kind}Route"): _route for kind in ("HTTP", "GRPC", "TLS", "TCP", "UDP")},
    (_GATEWAY_API, "BackendTLSPolicy"): _policy,
    **{
        (_ENVOY, kind): _policy
        for kind in ("SecurityPolicy", "ClientTrafficPolicy", "BackendTrafficPolicy", "EnvoyExtensionPolicy")
    },
}
"""Kind -> predicate. A kind that is not here is judged by its Ready condition, if it has one."""


def judge(obj: Obj) -> State:
    """Return whether a live object is ready."""
    if deletion.going(obj):
        return _no(deletion.reason(obj))
    return READINESS.get((api_group(obj), str(obj.get("kind"))), _generic)(obj)


def judge_node(node: Obj) -> State:
    """Return whether a node is ready and takes pods."""
    state = judge(node)
    return _no("is cordoned") if state.ready and (node.get("spec") or {}).get("unschedulable") else state
