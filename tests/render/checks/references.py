"""Checks of names: whatever an object refers to exists."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from betelgeuse.kube import Obj, describe
from betelgeuse.tree.workloads import WORKLOADS, containers, pod_spec
from tests.render.trees import Tree

Ref = tuple[str, str, str]
"""kind, namespace (empty for cluster-wide kinds), name."""

_VOLUMES: Final = {
    "configMap": ("ConfigMap", "name"),
    "secret": ("Secret", "secretName"),
    "persistentVolumeClaim": ("PersistentVolumeClaim", "claimName"),
}
_PROJECTED: Final = {"configMap": ("ConfigMap", "name"), "secret": ("Secret", "name")}
_VARIABLES: Final = {
    "configMapKeyRef": ("ConfigMap", "name"),
    "secretKeyRef": ("Secret", "name"),
    "configMapRef": ("ConfigMap", "name"),
    "secretRef": ("Secret", "name"),
}


def _named(sources: Iterable[Mapping[str, Any]], table: Mapping[str, tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield (kind, name) of what sources name, optional ones left out."""
    for source in sources:
        for key, (kind, field) in table.items():
            if key in source and not source[key].get("optional"):
                yield kind, source[key][field]


def _pod_references(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (kind, name) of what pods need to start."""
    if "serviceAccountName" in spec:
        yield "ServiceAccount", spec["serviceAccountName"]
    yield from (("Secret", secret["name"]) for secret in spec.get("imagePullSecrets", ()))
    volumes = spec.get("volumes", ())
    yield from _named(volumes, _VOLUMES)
    yield from _named((s for v in volumes for s in v.get("projected", {}).get("sources", ())), _PROJECTED)
    for container in containers(spec):
        values = [entry.get("valueFrom", {}) for entry in container.get("env", ())]
        yield from _named([*values, *container.get("envFrom", ())], _VARIABLES)


def _exists(tree: Tree, ref: Ref) -> bool:
    made = ref[0] == "Secret" and ref[1:] in tree.made_secrets
    return made or ref in tree.index


def pods_find_what_they_mount(tree: Tree) -> Iterator[str]:
    """ConfigMaps, Secrets, claims and ServiceAccounts of pods exist."""
    for obj in tree.kind(*WORKLOADS):
        namespace = obj["metadata"].get("namespace", "")
        for kind, name in _pod_references(pod_spec(obj)):
            if not _exists(tree, (kind, namespace, name)):
                yield f"{describe(obj)}: {kind} {namespace}/{name} does not exist"


def services_select_pods(tree: Tree) -> Iterator[str]:
    """Every Service has pods behind it, with the ports it leads to."""
    for obj in tree.kind("Service"):
        selector = obj["spec"].get("selector")
        if not selector:
            continue
        pods = tree.selected(obj["metadata"]["namespace"], {"matchLabels": selector})
        if not pods:
            yield f"{describe(obj)}: selects no pod ({selector})"
            continue
        for port in obj["spec"].get("ports", ()):
            target = port.get("targetPort", port["port"])
            if all(target not in each.ports for each in pods):
                yield f"{describe(obj)}: port {target!r} is none of {pods[0].owner}"


def routes_lead_somewhere(tree: Tree) -> Iterator[str]:
    """Backends of routes are Services of the tree, with that port."""
    ports = {
        (each["metadata"]["namespace"], each["metadata"]["name"]): [port["port"] for port in each["spec"]["ports"]]
        for each in tree.kind("Service")
    }
    # The operator makes the Service of a PostgreSQL Cluster.
    clusters = [each["metadata"] for each in tree.kind("Cluster")]
    ports |= {(each["namespace"], f"{each['name']}-rw"): [5432] for each in clusters}
    for route in tree.kind("HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute"):
        for rule in route["spec"].get("rules", ()):
            for ref in rule.get("backendRefs", ()):
                key = (ref.get("namespace", route["metadata"]["namespace"]), ref["name"])
                if ref.get("kind", "Service") == "Service" and ref.get("port") not in ports.get(key, ()):
                    yield f"{describe(route)}: backend {'/'.join(key)}:{ref.get('port')} does not exist"


def _space(obj: Obj) -> str:
    return str(obj["metadata"].get("namespace", ""))


def _target(obj: Obj, ref: Mapping[str, Any], kind: str) -> Ref:
    return ref.get("kind", kind), ref.get("namespace", _space(obj)), ref["name"]


def _of_route(obj: Obj) -> Iterator[Ref]:
    filters = [each for rule in obj["spec"].get("rules", ()) for each in rule.get("filters", ())]
    extensions = [each["extensionRef"] for each in filters if "extensionRef" in each]
    yield from (_target(obj, ref, "Gateway") for ref in [*obj["spec"].get("parentRefs", ()), *extensions])


def _of_policy(obj: Obj) -> Iterator[Ref]:
    spec = obj["spec"]
    yield from (_target(obj, ref, "Gateway") for ref in spec.get("targetRefs", ()))
    secrets = [spec.get("oidc", {}).get("clientSecret"), spec.get("basicAuth", {}).get("users")]
    yield from (_target(obj, ref, "Secret") for ref in secrets if ref)


def _of_certificate(obj: Obj) -> Iterator[Ref]:
    ref = obj["spec"]["issuerRef"]
    kind = ref.get("kind", "Issuer")
    yield kind, "" if kind == "ClusterIssuer" else _space(obj), ref["name"]


def _of_binding(obj: Obj) -> Iterator[Ref]:
    role = obj["roleRef"]
    yield role["kind"], _space(obj) if role["kind"] == "Role" else "", role["name"]
    for subject in obj.get("subjects", ()):
        if subject["kind"] == "ServiceAccount":
            yield _target(obj, subject, "ServiceAccount")


def _of_webhooks(obj: Obj) -> Iterator[Ref]:
    clients = [hook["clientConfig"] for hook in obj.get("webhooks", ())]
    yield from (_target(obj, each["service"], "Service") for each in clients if "service" in each)


_REFS: Final[Mapping[str, Callable[[Obj], Iterator[Ref]]]] = {
    "BackendTrafficPolicy": _of_policy,
    "Certificate": _of_certificate,
    "ClientTrafficPolicy": _of_policy,
    "ClusterRoleBinding": _of_binding,
    "Gateway": lambda obj: iter([("GatewayClass", "", obj["spec"]["gatewayClassName"])]),
    "GatewayClass": lambda obj: iter([_target(obj, obj["spec"]["parametersRef"], "")]),
    "HTTPRoute": _of_route,
    "ListenerSet": lambda obj: iter([_target(obj, obj["spec"]["parentRef"], "Gateway")]),
    "MutatingWebhookConfiguration": _of_webhooks,
    "RoleBinding": _of_binding,
    "SecurityPolicy": _of_policy,
    "ValidatingWebhookConfiguration": _of_webhooks,
}
"""What objects of a kind refer to."""


def names_lead_to_objects(tree: Tree) -> Iterator[str]:
    """Parents, targets, issuers, roles and subjects exist."""
    for obj in tree.objects:
        refer = _REFS.get(obj["kind"])
        for ref in refer(obj) if refer else ():
            if not _exists(tree, ref):
                yield f"{describe(obj)}: {ref[0]} {'/'.join(filter(None, ref[1:]))} does not exist"


CHECKS: Final = (pods_find_what_they_mount, services_select_pods, routes_lead_somewhere, names_lead_to_objects)
