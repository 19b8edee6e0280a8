"""The model cluster's network, rights and etcd: what the suite's probes would see there."""

import base64
import json
from collections.abc import Sequence

from betelgeuse.kube import Obj
from betelgeuse.policy.access import Access, Account
from betelgeuse.policy.parties import NODE, SHUT, WORLD, Party, of_pod
from betelgeuse.policy.verdicts import Policies
from conformance.probes.k8s import MIMIC

RBAC = "rbac.authorization.k8s.io/v1"
NODE_ADDRESS = "10.0.0.250"
_COMMON = {"verbs": ["create"], "apiGroups": ["authorization.k8s.io"], "resources": ["selfsubjectaccessreviews"]}


def _meta(name: str, namespace: str = "") -> Obj:
    return {"name": name, **({"namespace": namespace} if namespace else {})}


def policies(ports: Sequence[int]) -> list[Obj]:
    """Return what opens the model's namespaces again, and what no pod may reach."""
    front = {"podSelector": {"matchLabels": {"app": "gateway"}}, "policyTypes": ["Ingress", "Egress"]}
    opened = {
        "ingress": [{"ports": [{"port": port} for port in ports]}],
        "egress": [{"to": [{"namespaceSelector": {}}]}],
    }
    shut = [{"port": str(port), "protocol": "TCP"} for port in SHUT]
    guard = {
        "endpointSelector": {},
        "enableDefaultDeny": {"ingress": False, "egress": False},
        "egressDeny": [{"toCIDR": ["169.254.0.0/16"]}, {"toEntities": ["host"], "toPorts": [{"ports": shut}]}],
    }
    return [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": _meta("proxy", "gateway"),
            "spec": {**front, **opened},
        },
        {
            "apiVersion": "cilium.io/v2",
            "kind": "CiliumClusterwideNetworkPolicy",
            "metadata": _meta("guard"),
            "spec": guard,
        },
    ]


def access() -> list[Obj]:
    """Return the model's accounts and rights: a controller that reads Secrets and starts the proxies."""
    secrets = {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["secrets"]}
    starts = {"verbs": ["create"], "apiGroups": ["apps"], "resources": ["daemonsets"]}
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "controller"}
    subject = {"kind": "ServiceAccount", "name": "envoy-gateway", "namespace": "gateway"}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _meta("envoy-gateway", "gateway")},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _meta("app", "ai")},
        {"apiVersion": RBAC, "kind": "ClusterRole", "metadata": _meta("controller"), "rules": [secrets, starts]},
        {
            "apiVersion": RBAC,
            "kind": "ClusterRoleBinding",
            "metadata": _meta("controller"),
            "roleRef": ref,
            "subjects": [subject],
        },
    ]


def members() -> list[Obj]:
    """Return the pods of the control plane and the network that the suite asks."""
    labels = {"etcd-node-1": {"component": "etcd"}, "cilium-1": {"k8s-app": "cilium"}}
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {**_meta(name, "kube-system"), "labels": own},
            "spec": {"containers": []},
            "status": {"phase": "Running"},
        }
        for name, own in labels.items()
    ]


def comes_through(live: Sequence[Obj], caller: Party, address: str, port: int) -> bool:
    """Tell whether the model's network lets a connection through, by the policies that are live."""
    pods = (obj for obj in live if obj["kind"] == "Pod" and obj["status"].get("podIP") == address)
    outside = Party("", "outside", entities=NODE if address == NODE_ADDRESS else WORLD, address=address)
    callee = next(map(of_pod, pods), outside)
    return Policies.read(live).verdict(caller, callee, port).allowed


def printed(live: Sequence[Obj], pod: Obj, *, cut_off: bool) -> str:
    """Return what a pod that plays another's part prints."""
    meta = pod["metadata"]
    run, name = meta["labels"][MIMIC], meta["name"]
    place = (meta["namespace"], f"conformance-{run}")
    configs = (obj for obj in live if obj["kind"] == "ConfigMap")
    config = next(each for each in configs if (each["metadata"]["namespace"], each["metadata"]["name"]) == place)
    plan = json.loads(config["data"][f"{name.removeprefix(f'conformance-{run}-')}.json"])
    caller = Party(meta["namespace"], name, meta["labels"])
    places = [place for place in plan["places"] if not cut_off and comes_through(live, caller, *place)]
    return json.dumps({"reached": places, "complete": True, "open": {address: [] for address in plan["scan"]}})


def reviewed(live: Sequence[Obj], user: str, namespace: str) -> bytes:
    """Return what the API server tells an account about its rights."""
    *_, home, name = user.split(":")
    found = Access.read(live).rights(Account(home, name), namespace)
    rules = [
        {
            "verbs": [right.verb],
            "apiGroups": [right.group],
            "resources": [right.resource],
            **({"resourceNames": [right.name]} if right.name else {}),
        }
        for right in found
    ]
    return json.dumps({"status": {"resourceRules": [_COMMON, *rules]}}).encode()


def measured(live: Sequence[Obj], what: str) -> bytes:
    """Return what the API of resource metrics tells of nodes or pods."""
    kind = {"nodes": "Node", "pods": "Pod"}[what]
    usage = {"cpu": "5m", "memory": "64Mi"}
    items = [{"metadata": obj["metadata"], "usage": usage} for obj in live if obj["kind"] == kind]
    return json.dumps({"items": items}).encode()


def stored(live: Sequence[Obj], argv: Sequence[str], *, sealed: bool) -> str:
    """Return what etcd's client prints for `get KEY --hex [--prefix]`."""
    key = next(word for word in argv if word.startswith("/registry"))
    lines = []
    for obj in live:
        meta = obj["metadata"]
        place = f"/registry/{obj['kind'].lower()}s/{meta.get('namespace')}/{meta['name']}"
        if place == key or ("--prefix" in argv and place.startswith(key)):
            text = json.dumps(obj).encode()
            hidden = obj["kind"] == "Secret" and sealed
            value = b"k8s:enc:secretbox:v1:cluster:" + text[::-1] if hidden else text
            lines += [_hex(place.encode()), _hex(value)]
    return "\n".join(lines)


def _hex(value: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in value)


def secret(name: str, namespace: str, value: str) -> Obj:
    """Return a Secret as the platform makes them."""
    meta = {**_meta(name, namespace), "annotations": {"betelgeuse.io/generate": "password: password:32"}}
    data = {"password": base64.b64encode(value.encode()).decode()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data}
