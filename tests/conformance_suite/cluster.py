"""A model of the API server: the tree's objects, live, and the handful of calls the suite makes."""

import base64
import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from betelgeuse.kube import ApiError, Obj, Resource, UnknownKindError
from betelgeuse.policy.parties import Party
from betelgeuse.tree.matches import NO_PAGE
from conformance.probes.k8s import MIMIC
from tests.conformance_suite import gate, idp, network
from tests.conformance_suite.idp import DOMAIN
from tests.conformance_suite.model import APPS, ROUTES
from tests.conformance_suite.models import PLACES

_PLURALS = {
    "NetworkPolicy": "networkpolicies",
    "SecurityPolicy": "securitypolicies",
    "BackendTrafficPolicy": "backendtrafficpolicies",
}
_GLOBAL = {"Namespace", "Node", "ClusterRole", "ClusterRoleBinding", "CiliumClusterwideNetworkPolicy"}
_LABEL = "pod-security.kubernetes.io/enforce"


def _meta(name: str, namespace: str = "", **labels: str) -> Obj:
    place = {"namespace": namespace} if namespace else {}
    return {"name": name, **place, **({"labels": labels} if labels else {})}


def _listener(name: str, port: int, protocol: str, secret: str = "", hostname: str = "") -> Obj:
    found: Obj = {"name": name, "port": port, "protocol": protocol}
    if secret:
        found["tls"] = {"mode": "Terminate", "certificateRefs": [{"kind": "Secret", "name": secret}]}
    return {**found, "hostname": hostname} if hostname else found


def pod_spec(image: str = "model/portal:1.2.3") -> Obj:
    """Return the spec of a pod that obeys every rule."""
    amounts = {"cpu": "100m", "memory": "64Mi", "ephemeral-storage": "64Mi"}
    security = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {
        "name": "server",
        "image": image,
        "ports": [{"containerPort": 8080}],
        "resources": {"requests": amounts, "limits": amounts},
        "securityContext": security,
    }
    return {"automountServiceAccountToken": False, "serviceAccountName": "app", "containers": [container]}


def _redirect() -> Obj:
    """Return the spec of a route that leads to no application."""
    filters = [{"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 308}}]
    return {"parentRefs": [{"name": "gateway", "namespace": "gateway"}], "rules": [{"filters": filters}]}


_GATEWAY, _ENVOY = "gateway.networking.k8s.io/v1", "gateway.envoyproxy.io/v1alpha1"


def _app(name: str, port: int) -> list[Obj]:
    """Return an API: its host, behind a token."""
    rules = [
        {"matches": [{"method": method, "path": {"type": "Exact", "value": path}}], "backendRefs": [{"name": name}]}
        for method, path in sorted(ROUTES[name])
    ]
    # What the application has not, others answer.
    rules.append({"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "backendRefs": [{"name": "api-check"}]})
    jwt = {"providers": [{"name": "realm", "issuer": idp.ISSUER, "audiences": [name]}]}
    return [*_host(name, "ai", port, rules), _policy(name, "ai", "token", jwt=jwt), *_workload(name, "ai")]


def _host(name: str, namespace: str, port: int, rules: list[Obj], **annotations: str) -> list[Obj]:
    """Return what makes a name public."""
    host = f"{name}.{DOMAIN}"
    parent = {"kind": "ListenerSet", "name": name}
    listener = _listener("https", port, "HTTPS", f"{name}-tls", host)
    known = {f"betelgeuse.io/{key}": value for key, value in annotations.items()}
    meta = {**_meta(name, namespace), "annotations": known}
    certificate = {"secretName": f"{name}-tls", "dnsNames": [host]}
    return [
        _object(_GATEWAY, "ListenerSet", _meta(name, namespace), {"listeners": [listener]}),
        _object(_GATEWAY, "HTTPRoute", meta, {"hostnames": [host], "parentRefs": [parent], "rules": rules}),
        _object(_GATEWAY, "HTTPRoute", _meta(f"{name}-redirect", namespace), {"hostnames": [host], **_redirect()}),
        _object("cert-manager.io/v1", "Certificate", _meta(name, namespace), certificate),
    ]


def _policy(name: str, namespace: str, kind: str, **spec: object) -> Obj:
    meta = {**_meta(name, namespace), "labels": {"betelgeuse.io/gate": kind}}
    return _object(_ENVOY, "SecurityPolicy", meta, {"targetRefs": [{"kind": "HTTPRoute", "name": name}], **spec})


def _workload(name: str, namespace: str) -> list[Obj]:
    service = {"selector": {"app": name}, "ports": [{"port": 80}]}
    return [
        _object("v1", "Service", _meta(name, namespace), service),
        _object("apps/v1", "Deployment", _meta(name, namespace), {"replicas": 1, "template": {"spec": pod_spec()}}),
    ]


def _portal(port: int) -> list[Obj]:
    """Return the portal, behind a login, and a page behind a password."""
    paths = ("/", "/style.css", "/oauth2/callback", "/oauth2/logout")
    rules = [{"matches": [{"path": {"type": "Exact", "value": path}} for path in paths], "backendRefs": [{}]}]
    hidden = {"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplaceFullPath", "replaceFullPath": NO_PAGE}}}
    inside = {"matches": [{"path": {"type": "Exact", "value": "/metrics"}}], "filters": [hidden], "backendRefs": [{}]}
    rules.append(inside)
    claims = [{"name": "groups", "valueType": "StringArray", "values": list(gate.GROUPS)}]
    allow = {"action": "Allow", "principal": {"jwt": {"provider": "realm", "claims": claims}}}
    quiet = [{"name": name, "value": value} for name, value in gate.QUIET]
    login = {"provider": {"issuer": idp.ISSUER}, "clientID": "portal", "logoutPath": "/oauth2/logout"}
    policy = _policy(
        "portal",
        "ai",
        "login",
        oidc={**login, "denyRedirect": {"headers": quiet}},
        jwt={"providers": [{"issuer": idp.ISSUER, "audiences": ["portal"]}]},
        authorization={"defaultAction": "Deny", "rules": [allow]},
    )
    whole = [{"matches": [{"path": {"type": "Exact", "value": "/"}}], "backendRefs": [{}]}]
    basic = _policy("vault", "ai", "password", basicAuth={"users": {"name": "vault-basic-auth"}})
    return [*_host("portal", "ai", port, rules), policy, *_host("vault", "ai", port, whole), basic]


def _keycloak(port: int) -> list[Obj]:
    """Return the identity provider, and the clients that the tree declares."""
    prefixes = ("/realms/betelgeuse", "/admin/realms/betelgeuse")
    rules = [{"matches": [{"path": {"type": "PathPrefix", "value": path}} for path in prefixes], "backendRefs": [{}]}]
    told = {"public": "people log in here", "start": "/realms/betelgeuse/account/"}
    found = [*_host("auth", "auth", port, rules, **told), *_workload("keycloak", "auth")]
    clients = {name: f"id: {name}\naudiences: [{', '.join(apis)}]" for name, apis in idp.AUDIENCES.items()}
    clients["portal-oidc"] = "id: portal\nlogin: {host: portal, callback: /oauth2/callback}"
    for name, text in clients.items():
        meta = {**_meta(name, "auth"), "annotations": {"betelgeuse.io/oidc-client": text}}
        found.append(_object("v1", "Secret", meta))
    return found


def _object(api_version: str, kind: str, metadata: Obj, spec: Obj | None = None) -> Obj:
    found: Obj = {"apiVersion": api_version, "kind": kind, "metadata": metadata}
    return found if spec is None else {**found, "spec": spec}


def tree_objects(https: int, http: int) -> list[Obj]:
    """Return what a rendered tree of the model platform would hold."""
    gateway = [_listener("http", http, "HTTP"), _listener("https", https, "HTTPS", "default")]
    deny = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    found = [
        _object("gateway.networking.k8s.io/v1", "Gateway", _meta("gateway", "gateway"), {"listeners": gateway}),
        _object("cert-manager.io/v1", "Certificate", _meta("default", "gateway"), {"secretName": "default"}),
    ]
    for namespace in ("ai", "auth", "gateway"):
        found.append(_object("v1", "Namespace", _meta(namespace, **{_LABEL: "restricted"})))
        found.append(_object("networking.k8s.io/v1", "NetworkPolicy", _meta("default-deny", namespace), deny))
    found += [*network.policies((https, http)), *network.access()]
    for app in APPS:
        found += _app(app, https)
    limit = {"targetRefs": [{"kind": "HTTPRoute", "name": "llm"}], "circuitBreaker": {"maxParallelRequests": PLACES}}
    found.append(_object(_ENVOY, "BackendTrafficPolicy", _meta("llm", "ai"), limit))
    found.append(_object("v1", "Service", _meta("api-check", "ai"), {"selector": {"app": "api-check"}}))
    return [*found, *_portal(https), *_keycloak(https)]


def _ready(obj: Obj) -> None:
    """Give an object the status a healthy cluster would."""
    kind = obj["kind"]
    yes = {"status": "True"}
    if kind == "Deployment":
        obj["metadata"]["generation"] = 1
        obj["status"] = {"observedGeneration": 1, "readyReplicas": 1, "updatedReplicas": 1}
    if kind == "Gateway":
        obj["status"] = {"conditions": [{"type": "Programmed", **yes}], "addresses": [{"value": "127.0.0.1"}]}
    if kind in {"SecurityPolicy", "BackendTrafficPolicy"}:
        obj["status"] = {"ancestors": [{"conditions": [{"type": "Accepted", **yes}]}]}
    if kind == "HTTPRoute":
        conditions = [{"type": "Accepted", **yes}, {"type": "ResolvedRefs", **yes}]
        obj["status"] = {"parents": [{"conditions": conditions}]}
    if kind == "Certificate":
        dates = {
            "notBefore": "2026-01-01T00:00:00Z",
            "renewalTime": "2999-01-01T00:00:00Z",
            "notAfter": "3999-01-01T00:00:00Z",
        }
        obj["status"] = {"conditions": [{"type": "Ready", **yes}], **dates}


def pod(name: str, app: str) -> Obj:
    """Return a running, ready pod."""
    container = {"name": "server", "imageID": "sha256:1", "restartCount": 0, "state": {"running": {}}}
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": [container]}
    owner = {"kind": "ReplicaSet", "name": app}
    meta = {**_meta(name, "ai", app=app), "uid": f"uid-of-{name}", "ownerReferences": [owner]}
    return {**_object("v1", "Pod", meta, {**pod_spec(), "nodeName": "node-1"}), "status": status}


def proxy() -> Obj:
    """Return the pod of the gateway's proxy."""
    found = pod("gateway-0", "gateway")
    found["metadata"]["namespace"] = "gateway"
    found["spec"]["containers"][0].update(name="envoy", ports=[{"containerPort": 19001}])
    found["status"]["containerStatuses"][0]["name"] = "envoy"
    found["status"]["podIP"] = "10.0.0.1"
    return found


def node(name: str) -> Obj:
    """Return a ready node."""
    addresses = [{"type": "InternalIP", "address": network.NODE_ADDRESS}]
    info = {"kubeletVersion": "v1", "containerRuntimeVersion": "model", "kernelVersion": "6"}
    status = {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": info, "addresses": addresses}
    return {**_object("v1", "Node", _meta(name)), "status": status}


@dataclass
class FakeKube:
    """Stands where Kube stands."""

    tree: list[Obj]
    stored: dict[str, bytes]
    renew: Callable[[str], None] = lambda _: None
    live: list[Obj] = field(default_factory=list)
    cut_off: bool = False
    """Whether no pod reaches any other."""
    sealed: bool = True
    """Whether etcd keeps Secrets as ciphertext."""
    bounded: bool = True
    """Whether the kubelet looks at what pods write."""
    log: str = ""
    """What every pod logs."""
    silent: set[str] = field(default_factory=set)
    """Pods that log nothing."""
    metrics: str = "cilium_drop_count_total 0"
    top: bool = True
    """Whether somebody measures what nodes and pods use."""

    def __post_init__(self) -> None:
        """Make everything live and ready."""
        self.live = copy.deepcopy(self.tree)
        for obj in self.live:
            _ready(obj)
        keycloak = pod("keycloak-0", "keycloak")
        keycloak["metadata"]["namespace"] = "auth"
        self.live += [*(pod(f"{app}-0", app) for app in APPS), keycloak]
        for at, each in enumerate(self._of("Pod", None), start=2):
            each["status"]["podIP"] = f"10.0.0.{at}"
        ports = [listener["port"] for listener in self.find("Gateway", "gateway")["spec"]["listeners"]]
        front = {"type": "LoadBalancer", "selector": {"app": "gateway"}, "ports": [{"port": port} for port in ports]}
        self.live += [proxy(), node("node-1"), _object("v1", "Service", _meta("gateway", "gateway"), front)]
        self.live += [*network.members(), network.secret("keys", "ai", "correct-horse-battery-staple")]

    def find(self, kind: str, name: str, namespace: str = "") -> Obj:
        """Return the live object itself, for a test to break."""
        return next(obj for obj in self._of(kind, namespace) if obj["metadata"]["name"] == name)

    def _of(self, kind: str, namespace: str | None) -> list[Obj]:
        same = (obj for obj in self.live if obj["kind"] == kind)
        return [obj for obj in same if not namespace or obj["metadata"].get("namespace") == namespace]

    def restart(self, name: str, namespace: str) -> None:
        """Count a restart of a pod's container."""
        self.find("Pod", name, namespace)["status"]["containerStatuses"][0]["restartCount"] += 1

    def resource(self, api_version: str, kind: str) -> Resource:
        """Return where a kind is served."""
        if kind == "Unknown":
            message = "not served"
            raise UnknownKindError(message, 404)
        return Resource(api_version, kind, _PLURALS.get(kind, f"{kind.lower()}s"), kind not in _GLOBAL)

    def list(self, api_version: str, kind: str, namespace: str | None = None, *, labels: str = "") -> list[Obj]:
        """Return the objects of a kind."""
        self.resource(api_version, kind)
        wanted = dict(pair.split("=") for pair in labels.split(",") if pair)
        return [o for o in self._of(kind, namespace) if wanted.items() <= o["metadata"].get("labels", {}).items()]

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Obj | None:
        """Return one object."""
        if kind == "Secret" and (found := self._secret(name)):
            return found
        self.resource(api_version, kind)
        return next((copy.deepcopy(o) for o in self._of(kind, namespace) if o["metadata"]["name"] == name), None)

    def _secret(self, name: str) -> Obj | None:
        words = {
            **{name: {"client-secret": secret} for name, secret in idp.SECRETS.items()},
            "portal-oidc": {"client-secret": idp.SECRETS["portal"]},
            "keycloak-admin": dict(zip(("username", "password"), idp.ADMIN, strict=True)),
            "vault-basic-auth": {".htpasswd": "admin:{SHA}x", "password": "model-password"},
        }
        data = {key: value.encode() for key, value in words.get(name, {}).items()}
        if name.removesuffix("-tls") in self.stored:
            data = {"tls.crt": self.stored[name.removesuffix("-tls")]}
        return {"data": {key: base64.b64encode(value).decode() for key, value in data.items()}} if data else None

    def request(
        self,
        method: str,
        path: str,
        *,
        body: Obj | None = None,
        headers: Mapping[str, str] | None = None,
        **_: object,
    ) -> bytes:
        """Make one of the calls that are not plain reads."""
        body = body or {}
        if method == "POST" and path.endswith("/pods"):
            self._admit(path.split("/")[4], body)
        if method == "PUT" and "/certificates/" in path:
            self.renew(path.split("/")[-2])
        if path.endswith("/selfsubjectrulesreviews"):
            return network.reviewed(self.live, (headers or {})["Impersonate-User"], body["spec"]["namespace"])
        if path.endswith("/log"):
            pod_ = self.find("Pod", path.split("/")[6], path.split("/")[4])
            played = MIMIC in pod_["metadata"].get("labels", {})
            log = "" if pod_["metadata"]["name"] in self.silent else self.log
            return (network.printed(self.live, pod_, cut_off=self.cut_off) if played else log).encode()
        if "/metrics.k8s.io/" in path:
            return network.measured(self.live if self.top else (), path.rpartition("/")[2])
        if "/proxy/to/" in path:
            return self._call(int(path.rpartition("/")[2]))
        if method == "PATCH":
            live = self.find(body["kind"], body["metadata"]["name"], body["metadata"].get("namespace", ""))
            return json.dumps({**live, "spec": body.get("spec", {})}).encode()
        return b"{}"

    def _call(self, at: int) -> bytes:
        """Let the prober through to where no policy stands in the way."""
        config = json.loads(self.find("ConfigMap", "probe")["data"]["envoy.json"])
        endpoint = config["static_resources"]["clusters"][at]["load_assignment"]["endpoints"][0]["lb_endpoints"][0]
        address = endpoint["endpoint"]["address"]["socket_address"]["address"]
        port = endpoint["endpoint"]["address"]["socket_address"]["port_value"]
        caller = Party(self.find("ConfigMap", "probe")["metadata"]["namespace"], "probe")
        if self.cut_off or not network.comes_through(self.live, caller, address, port):
            message = "upstream connect error or disconnect/reset before headers. reset reason: connection timeout"
            raise ApiError(message, 503)
        return b"hello"

    def server_side_apply(self, obj: Obj, _manager: str, *, force: bool = False) -> Obj:
        """Keep an object; a pod is ready at once."""
        kept = copy.deepcopy(obj)
        kept["metadata"]["uid"] = f"uid-{len(self.live)}"
        if obj["kind"] == "Pod":
            played = MIMIC in obj["metadata"].get("labels", {})
            phase = "Succeeded" if played else "Running"
            kept["status"] = {"phase": phase, "conditions": [{"type": "Ready", "status": "True"}]}
            kept["spec"].setdefault("nodeName", "node-1")
            if obj["metadata"]["name"] == "greedy" and self.bounded:
                kept["status"] = {"phase": "Failed", "reason": "Evicted"}
        if obj["kind"] == "Namespace":
            self.live.append(_object("v1", "ServiceAccount", _meta("default", obj["metadata"]["name"])))
        self.live.append(kept)
        assert force
        return kept

    def delete(self, obj: Obj) -> bool:
        """Remove a namespace with all that is in it."""
        name = obj["metadata"]["name"]
        self.live = [o for o in self.live if o["metadata"].get("namespace") != name and o["metadata"]["name"] != name]
        # What it owned goes with it.
        owners = [(o, [owner["name"] for owner in o["metadata"].get("ownerReferences", [])]) for o in self.live]
        self.live = [o for o, names in owners if name not in names]
        return True

    def execute(
        self,
        _namespace: str,
        pod_: str,
        argv: Sequence[str],
        /,
        *,
        stdin: str = "",  # noqa: ARG002 - as kubectl's
        timeout: float = 30.0,  # noqa: ARG002 - as kubectl's
    ) -> str:
        """Run a program in a pod: etcd's client, or a look at the metrics of the network's agent."""
        if pod_.startswith("etcd"):
            return network.stored(self.live, argv, sealed=self.sealed)
        return self.metrics

    def raw(self, path: str) -> str:
        """Say that all is well."""
        return f"{path} ok"

    def _admit(self, namespace: str, pod_: Obj) -> None:
        """Refuse what Pod Security `restricted` refuses, where the namespace enforces it."""
        level = self.find("Namespace", namespace)["metadata"].get("labels", {}).get(_LABEL)
        security = pod_["spec"]["containers"][0]["securityContext"]
        spec = pod_["spec"]
        bad = security.get("privileged") or not security["runAsNonRoot"] or "hostNetwork" in spec or "hostPID" in spec
        bad = bad or "volumes" in spec or security["capabilities"].get("add")
        bad = bad or security["seccompProfile"]["type"] == "Unconfined"
        if bad and level == "restricted":
            message = 'pods is forbidden: violates PodSecurity "restricted:latest": …'
            raise ApiError(message, 403)
