"""Small changes to who may reach what, each of which a check must notice."""

from typing import TYPE_CHECKING, Final

from tests.render.changes import Mutation, Objects, drop_field, remove, set_field

if TYPE_CHECKING:
    from betelgeuse.kube import Obj

_OUT: Final = "nodes_are_out_of_reach"
_POWERS: Final = "powers_are_listed"
_DENIED: Final = "spec/egressDeny/0/toPorts/0/ports"


def _open_namespace(objects: Objects) -> None:
    """Undo both what shuts a namespace and what holds every pod back."""
    objects.remove("NetworkPolicy", "default-deny", "ai")
    objects.remove("CiliumClusterwideNetworkPolicy", "nodes-are-out-of-reach")
    objects.remove("CiliumClusterwideNetworkPolicy", "kubelets-are-out-of-reach")


def _bound(name: str, verbs: list[str], resources: list[str]) -> Mutation:
    def change(objects: Objects) -> None:
        meta = {"name": "surplus", "namespace": "ai"}
        rule: Obj = {"apiGroups": ["*"], "resources": resources, "verbs": verbs}
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": meta, "rules": [rule]}
        subjects = [{"kind": "ServiceAccount", "name": "llm", "namespace": "ai"}]
        ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "surplus"}
        objects.all += [role, {**role, "kind": "RoleBinding", "subjects": subjects, "roleRef": ref}]

    return Mutation(name, _POWERS, change)


GUARDS: Final = (
    Mutation(
        "every port of a node",
        "nodes_are_named_with_a_port",
        drop_field("CiliumNetworkPolicy", "envoy-gateway", "spec/egress/0/toPorts"),
    ),
    Mutation("nodes open to all", _OUT, remove("CiliumClusterwideNetworkPolicy", "nodes-are-out-of-reach")),
    Mutation("kubelets open to all", _OUT, remove("CiliumClusterwideNetworkPolicy", "kubelets-are-out-of-reach")),
    Mutation("namespace and nodes open", _OUT, _open_namespace),
    Mutation(
        "SSH left out", _OUT, drop_field("CiliumClusterwideNetworkPolicy", "nodes-are-out-of-reach", f"{_DENIED}/0")
    ),
    Mutation(
        "half of etcd left out",
        _OUT,
        drop_field("CiliumClusterwideNetworkPolicy", "nodes-are-out-of-reach", f"{_DENIED}/1/endPort"),
    ),
    Mutation(
        "metadata left out",
        _OUT,
        set_field(
            "CiliumClusterwideNetworkPolicy", "nodes-are-out-of-reach", "spec/egressDeny/1/toCIDR/0", "10.0.0.0/8"
        ),
    ),
    _bound("secrets readable", ["get"], ["secrets"]),
    _bound("everything allowed", ["*"], ["*"]),
    _bound("shell in pods", ["create"], ["pods/exec"]),
    _bound("pods made", ["create"], ["deployments"]),
)
