"""A prober inside the cluster: the platform's own Envoy image, told what to echo and whom to call. Pure: objects out.

No image with a shell is needed: Envoy answers with the request headers it saw, and connects to every target on demand,
so its answer tells whether the network let it through.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from betelgeuse.kube import Obj

LABEL: Final = "betelgeuse.io/conformance-run"
PORT: Final = 8080
_HCM: Final = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER: Final = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """A port inside the cluster, with the pod it belongs to; `public` when a LoadBalancer Service leads there."""

    name: str
    address: str
    port: int
    public: bool = False

    def __str__(self) -> str:
        """Show both."""
        return f"{self.name} ({self.address}:{self.port})"


def saw(header: str) -> str:
    """Return the name of the answer's header that tells what was seen of a request's header."""
    return f"x-saw-{header.lower().replace('_', '-under-')}"


def _echo(headers: Iterable[str]) -> Obj:
    shown = [{"header": {"key": saw(name), "value": f"%REQ({name})%"}} for name in headers]
    return {
        "match": {"prefix": "/"},
        "direct_response": {"status": 200, "body": {"inline_string": "echo\n"}},
        "response_headers_to_add": shown,
    }


def _cluster(at: int, target: Target) -> Obj:
    place = {"socket_address": {"address": target.address, "port_value": target.port}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": place}}]}]
    name = f"target-{at}"
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": endpoints},
    }


def config(headers: Sequence[str], targets: Sequence[Target]) -> Obj:
    """Return Envoy's configuration: /to/N calls target N, everything else echoes."""
    calls = [
        {
            "match": {"path": f"/to/{at}"},
            "route": {"cluster": f"target-{at}", "timeout": "3s"},
            # Where an answer leads (the gateway's redirect) is not followed: that there is one is what we ask.
            "response_headers_to_remove": ["location"],
        }
        for at in range(len(targets))
    ]
    manager = {
        "@type": _HCM,
        "stat_prefix": "probe",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [*calls, _echo(headers)]}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": _ROUTER}}],
    }
    listener = {
        "name": "probe",
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": PORT}},  # noqa: S104 - inside its own pod
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    clusters = [_cluster(at, target) for at, target in enumerate(targets)]
    return {"static_resources": {"listeners": [listener], "clusters": clusters}}


def _pod(namespace: str, node: str, image: str) -> Obj:
    security = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    container = {
        "name": "envoy",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["envoy", "-c", "/config/envoy.json", "--disable-hot-restart", "--concurrency", "1"],
        "ports": [{"containerPort": PORT}],
        "readinessProbe": {"httpGet": {"path": "/", "port": PORT}, "periodSeconds": 1},
        "resources": {
            "requests": {"cpu": "10m", "memory": "32Mi", "ephemeral-storage": "64Mi"},
            "limits": {"cpu": "500m", "memory": "128Mi", "ephemeral-storage": "64Mi"},
        },
        "securityContext": security,
        "volumeMounts": [{"name": "config", "mountPath": "/config"}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"probe-{node}", "namespace": namespace, "labels": {"app": "probe"}},
        "spec": {
            "nodeName": node,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [{"name": "config", "configMap": {"name": "probe"}}],
        },
    }


def objects(namespace: str, image: str, nodes: Iterable[str], settings: Obj) -> list[Obj]:
    """Return everything the prober needs, in order: a namespace of its own, its configuration, a pod per node."""
    meta = {"name": "probe", "namespace": namespace}
    levels = {"pod-security.kubernetes.io/enforce": "restricted", LABEL: "true"}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": levels}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"envoy.json": json.dumps(settings)}},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta,
            "spec": {"selector": {"app": "probe"}, "ports": [{"port": PORT, "appProtocol": "http"}]},
        },
        *(_pod(namespace, node, image) for node in nodes),
    ]


def route(namespace: str, host: str, gateway: Obj) -> Obj:
    """Return the route that makes the prober answer as a public host, on the gateway's plain listener."""
    listener = next(entry["name"] for entry in gateway["spec"]["listeners"] if entry["protocol"] == "HTTP")
    parent = {
        "group": "gateway.networking.k8s.io",
        "kind": "Gateway",
        "name": gateway["metadata"]["name"],
        "namespace": gateway["metadata"]["namespace"],
        "sectionName": listener,
    }
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "probe", "namespace": namespace},
        "spec": {
            "parentRefs": [parent],
            "hostnames": [host],
            "rules": [{"backendRefs": [{"name": "probe", "port": PORT}]}],
        },
    }
