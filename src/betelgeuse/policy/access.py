"""What service accounts may do: Roles and bindings, evaluated. Pure: objects in, rights out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from betelgeuse.kube import Obj

DEFAULT: Final = "default"
_ANY: Final = "*"
_READ: Final = frozenset({"get", "list", "watch"})
_MAKES_PODS: Final = {
    "": {"pods", "replicationcontrollers"},
    "apps": {"deployments", "daemonsets", "statefulsets", "replicasets"},
    "batch": {"jobs", "cronjobs"},
}


@dataclass(frozen=True, order=True)
class Right:
    """One verb on one resource (`pods/exec` with its subresource), of one name or of all (empty)."""

    verb: str
    group: str
    resource: str
    name: str = ""

    def covers(self, verb: str, group: str, resource: str) -> bool:
        """Whether it includes an action on some object."""
        main, _, sub = resource.partition("/")
        resources = {_ANY, resource, f"*/{sub}" if sub else main}
        return self.verb in {_ANY, verb} and self.group in {_ANY, group} and self.resource in resources

    def __str__(self) -> str:
        """Show it: `get secrets`, `patch deployments.apps`."""
        where = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{self.verb} {where}{f' {self.name}' if self.name else ''}"


@dataclass(frozen=True, order=True)
class Account:
    """A service account."""

    namespace: str
    name: str

    @property
    def user(self) -> str:
        """The name under which the API server knows it."""
        return f"system:serviceaccount:{self.namespace}:{self.name}"

    @property
    def groups(self) -> frozenset[str]:
        """The groups it is in."""
        return frozenset({"system:serviceaccounts", f"system:serviceaccounts:{self.namespace}", "system:authenticated"})

    def __str__(self) -> str:
        """Show it: `ai/llm`."""
        return f"{self.namespace}/{self.name}"


def rights_of_rules(rules: Iterable[Obj]) -> set[Right]:
    """Return every right of a list of rules, one by one."""
    return {
        Right(verb, group, resource, name)
        for rule in rules
        for verb in rule.get("verbs") or ()
        for group in rule.get("apiGroups") or ()
        for resource in rule.get("resources") or ()
        for name in rule.get("resourceNames") or ("",)
    }


@dataclass(frozen=True)
class Access:
    """Roles and bindings, from a rendered tree or from a cluster."""

    roles: Mapping[tuple[str, str, str], Obj] = field(default_factory=dict)
    bindings: tuple[Obj, ...] = ()

    @classmethod
    def read(cls, objects: Iterable[Obj]) -> "Access":
        """Take the Roles and bindings out of objects."""
        roles: dict[tuple[str, str, str], Obj] = {}
        bindings = []
        for obj in objects:
            if obj["kind"] in {"Role", "ClusterRole"}:
                roles[obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"]] = obj
            elif obj["kind"] in {"RoleBinding", "ClusterRoleBinding"}:
                bindings.append(obj)
        return cls(roles, tuple(bindings))

    def _role(self, binding: Obj) -> Obj:
        ref = binding["roleRef"]
        namespace = binding["metadata"].get("namespace", "") if ref["kind"] == "Role" else ""
        return self.roles.get((ref["kind"], namespace, ref["name"]), {})

    def bound(self) -> set[Account]:
        """Return every service account that a binding names."""
        return {
            Account(subject.get("namespace", binding["metadata"].get("namespace", "")), subject["name"])
            for binding in self.bindings
            for subject in binding.get("subjects") or ()
            if subject["kind"] == "ServiceAccount"
        }

    def rights(self, account: Account, namespace: str) -> set[Right]:
        """Return what an account may do in a namespace, what it may do everywhere included."""
        found: set[Right] = set()
        for binding in self.bindings:
            wide = binding["kind"] == "ClusterRoleBinding"
            if (wide or binding["metadata"]["namespace"] == namespace) and _names(binding, account):
                found |= rights_of_rules(self._role(binding).get("rules") or ())
        return found

    def namespaces(self) -> set[str]:
        """Return the namespaces in which something is bound."""
        return {binding["metadata"]["namespace"] for binding in self.bindings if binding["kind"] == "RoleBinding"}


def _names(binding: Obj, account: Account) -> bool:
    for subject in binding.get("subjects") or ():
        if subject["kind"] == "ServiceAccount":
            place = subject.get("namespace", binding["metadata"].get("namespace", ""))
            if (place, subject["name"]) == (account.namespace, account.name):
                return True
        elif subject["name"] == account.user or (subject["kind"] == "Group" and subject["name"] in account.groups):
            return True
    return False


def accounts(objects: Iterable[Obj], namespaces: Iterable[str]) -> tuple[Account, ...]:
    """Return every service account that objects declare or bind, and the default one of each namespace."""
    objects = list(objects)
    named = {
        Account(obj["metadata"]["namespace"], obj["metadata"]["name"])
        for obj in objects
        if obj["kind"] == "ServiceAccount"
    }
    defaults = {Account(namespace, DEFAULT) for namespace in namespaces}
    return tuple(sorted(named | defaults | Access.read(objects).bound()))


def powers(rights: Iterable[Right]) -> set[str]:
    """Return the rights by which an account becomes more than it is, by name."""
    found = set()
    for right in rights:
        if any(right.covers(verb, "", "secrets") for verb in _READ):
            found.add("read-secrets")
        if right.covers("create", "", "pods/exec") or right.covers("create", "", "pods/attach"):
            found.add("exec")
        if any(right.covers("create", group, kind) for group, kinds in _MAKES_PODS.items() for kind in kinds):
            found.add("make-pods")
        if any(right.covers(verb, "rbac.authorization.k8s.io", "clusterroles") for verb in ("escalate", "bind")):
            found.add("escalate")
        if right.covers("impersonate", "", "users") or right.covers("impersonate", "", "serviceaccounts"):
            found.add("impersonate")
        if right.covers("create", "", "serviceaccounts/token"):
            found.add("make-tokens")
        if any(right.covers(verb, "", "nodes/proxy") for verb in ("get", "create")):
            found.add("nodes-proxy")
    return found


def powers_anywhere(access: Access, account: Account) -> set[str]:
    """Return an account's powers, in whichever namespace."""
    return powers(right for namespace in {*access.namespaces(), ""} for right in access.rights(account, namespace))
