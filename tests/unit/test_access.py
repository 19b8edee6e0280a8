"""What accounts may do: Roles and bindings, evaluated."""

from typing import Any

import pytest

from betelgeuse.policy.access import Access, Account, Right, accounts, powers, powers_anywhere, rights_of_rules
from tests.unit.fakes import obj

Obj = dict[str, Any]
APP = Account("shop", "app")


def _role(name: str, *rules: Obj, namespace: str = "") -> Obj:
    meta = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"kind": "Role" if namespace else "ClusterRole", "metadata": meta, "rules": list(rules)}


def _binding(role: Obj, *subjects: Obj, namespace: str = "") -> Obj:
    meta = {"name": "b", **({"namespace": namespace} if namespace else {})}
    ref = {"kind": role["kind"], "name": role["metadata"]["name"]}
    kind = "RoleBinding" if namespace else "ClusterRoleBinding"
    return {"kind": kind, "metadata": meta, "roleRef": ref, "subjects": list(subjects)}


def _rule(verbs: str, resources: str, groups: str = "") -> Obj:
    return {"verbs": verbs.split(), "resources": resources.split(), "apiGroups": groups.split(",")}


ME = {"kind": "ServiceAccount", "name": "app", "namespace": "shop"}
READ = _rule("get list", "pods")


def test_cluster_binding_counts_everywhere() -> None:
    """And a Role's binding in its namespace only."""
    wide, near = _role("wide", READ), _role("near", _rule("delete", "jobs", "batch"), namespace="data")
    access = Access.read([wide, near, _binding(wide, ME), _binding(near, ME, namespace="data")])

    assert access.rights(APP, "other") == {Right("get", "", "pods"), Right("list", "", "pods")}
    assert access.rights(APP, "data") - access.rights(APP, "other") == {Right("delete", "batch", "jobs")}
    assert access.rights(Account("shop", "b"), "data") == set()
    assert access.bound() == {APP}
    assert access.namespaces() == {"data"}


def test_cluster_role_bound_in_a_namespace() -> None:
    """Gives its rights there; an account named without a namespace is the binding's own."""
    role = _role("r", READ)
    access = Access.read([role, _binding(role, {"kind": "ServiceAccount", "name": "app"}, namespace="shop")])

    assert access.rights(APP, "shop")
    assert not access.rights(APP, "data")


@pytest.mark.parametrize(
    "subject",
    [
        {"kind": "User", "name": "system:serviceaccount:shop:app"},
        {"kind": "Group", "name": "system:serviceaccounts"},
        {"kind": "Group", "name": "system:serviceaccounts:shop"},
        {"kind": "Group", "name": "system:authenticated"},
    ],
)
def test_other_ways_to_name_an_account(subject: Obj) -> None:
    """By its user name, and by its groups."""
    role = _role("r", READ)

    assert Access.read([role, _binding(role, subject)]).rights(APP, "x")


def test_strangers_and_missing_roles_give_nothing() -> None:
    """A binding for somebody else, or to a role that is not there."""
    role = _role("r", READ)
    others = [{"kind": "User", "name": "jane"}, {"kind": "Group", "name": "system:serviceaccounts:data"}]

    assert not Access.read([role, _binding(role, *others)]).rights(APP, "x")
    assert not Access.read([_binding(role, ME)]).rights(APP, "x")


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        (_rule("get", "secrets"), {"read-secrets"}),
        (_rule("watch", "*"), {"read-secrets"}),
        (_rule("create", "secrets"), set()),
        (_rule("create", "pods/exec"), {"exec"}),
        (_rule("create", "pods"), {"make-pods"}),
        (_rule("create", "cronjobs", "batch"), {"make-pods"}),
        (_rule("create", "deployments", "extensions"), set()),
        (_rule("create", "serviceaccounts/token"), {"make-tokens"}),
        (_rule("get", "nodes/proxy"), {"nodes-proxy"}),
        (_rule("impersonate", "users"), {"impersonate"}),
        (_rule("bind", "clusterroles", "rbac.authorization.k8s.io"), {"escalate"}),
        (_rule("get list watch", "pods configmaps"), set()),
        (
            _rule("*", "*", "*"),
            {"read-secrets", "exec", "make-pods", "make-tokens", "nodes-proxy", "impersonate", "escalate"},
        ),
    ],
)
def test_powers(rule: Obj, found: set[str]) -> None:
    """Rights by which an account becomes more than it is, also hidden in a star."""
    assert powers(rights_of_rules([rule])) == found


def test_powers_are_found_in_any_namespace() -> None:
    """One namespace is enough."""
    role = _role("r", _rule("get", "secrets"), namespace="data")

    assert powers_anywhere(Access.read([role, _binding(role, ME, namespace="data")]), APP) == {"read-secrets"}


def test_names_limit_a_right() -> None:
    """One right per name; shown as people say it."""
    rule = {**_rule("get", "secrets"), "resourceNames": ["a", "b"]}

    assert {str(right) for right in rights_of_rules([rule])} == {"get secrets a", "get secrets b"}
    assert str(Right("patch", "apps", "deployments")) == "patch deployments.apps"
    assert APP.user == "system:serviceaccount:shop:app"


def test_accounts_are_declared_bound_or_everybodys() -> None:
    """Each once, in order."""
    subjects = [{"kind": "ServiceAccount", "name": "robot", "namespace": "far"}, {"kind": "User", "name": "x"}]
    role = {"kind": "Role", "name": "r", "apiGroup": "rbac.authorization.k8s.io"}
    objects = [
        obj("v1", "ServiceAccount", "llm", "ai"),
        obj("rbac.authorization.k8s.io/v1", "RoleBinding", "b", "ai", roleRef=role, subjects=subjects),
    ]

    assert [str(each) for each in accounts(objects, ["ai"])] == ["ai/default", "ai/llm", "far/robot"]
