"""Is the suite vacuous? What must have run is computed a second time, without the code that collects the checks.

Promises are read from the files' syntax trees, subjects from the raw objects; both are compared with what ran. A file
that was not collected, a loop over nothing, a silent deselection or a surprising skip turns the run red.
"""

import ast
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from betelgeuse.kube import Obj
from betelgeuse.settings import Settings
from betelgeuse.tree.dashboards import dashboards
from conformance.exemptions import Exemptions
from conformance.probes import hello
from conformance.workloads.rules import RULES

HERE: Final = Path(__file__).parent
SELF: Final = "test_completeness.py::test_everything_declared_was_checked"
_MANY: Final = 5


@dataclass(frozen=True, slots=True)
class Promise:
    """One test function as written: its place, its claim, the subjects it sweeps, the features it needs."""

    id: str
    claim: str
    arguments: frozenset[str]
    features: tuple[str, ...]


@dataclass
class Ran:
    """What a run did, filled while it goes."""

    executed: dict[str, dict[str, set[str]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(set)))
    skipped: dict[str, str] = field(default_factory=dict)
    deselected: list[str] = field(default_factory=list)

    def note(self, promise: str, subjects: Mapping[str, str]) -> None:
        """Note that a check was executed, to whatever end."""
        seen = self.executed[promise]
        for argument, subject in subjects.items():
            seen[argument].add(subject)


def _features(marks: Iterable[ast.expr]) -> list[str]:
    return [
        str(argument.value)
        for mark in marks
        for call in (mark.elts if isinstance(mark, ast.List | ast.Tuple) else [mark])
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("mark.feature")
        for argument in call.args
        if isinstance(argument, ast.Constant)
    ]


def _module_marks(module: ast.Module) -> list[ast.expr]:
    assigned = (node for node in module.body if isinstance(node, ast.Assign))
    return [node.value for node in assigned if ast.unparse(node.targets[0]) == "pytestmark"]


def promises(root: Path = HERE) -> tuple[Promise, ...]:
    """Read every promise out of the files, without importing them."""
    found = []
    for path in sorted(root.rglob("test_*.py")):
        module = ast.parse(path.read_text("utf-8"))
        for node in module.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                name = f"{path.relative_to(root).as_posix()}::{node.name}"
                claim = (ast.get_docstring(node) or "").partition("\n")[0]
                arguments = frozenset(arg.arg for arg in node.args.args)
                features = _features([*_module_marks(module), *node.decorator_list])
                found.append(Promise(name, claim, arguments, tuple(features)))
    return tuple(found)


def _label(obj: Obj) -> str:
    meta = obj["metadata"]
    return "/".join(part for part in (obj["kind"], meta.get("namespace", ""), meta["name"]) if part)


_OWN_SUBJECT: Final = {
    "Gateway": "gateway",
    "Certificate": "certificate",
    "Namespace": "namespace",
    "Deployment": "workload",
    "StatefulSet": "workload",
    "DaemonSet": "workload",
    "PodMonitor": "monitor",
    "Probe": "monitor",
    "ScrapeConfig": "monitor",
    "ServiceMonitor": "monitor",
    "PrometheusRule": "rules",
}


def _add_listeners(found: dict[str, set[str]], listeners: Iterable[Obj], domain: str) -> None:
    for listener in listeners:
        found["listener_port"].add(str(listener["port"]))
        if listener["protocol"] == "HTTPS" and listener.get("hostname"):
            found["host"].add(listener["hostname"])
        if listener.get("tls", {}).get("certificateRefs"):
            found["tls_name"].add(listener.get("hostname") or domain)


def _tcp_hosts(objects: Sequence[Obj]) -> set[str]:
    """Return what databases and brokers are reached by: the first name of their certificate, and a port."""
    names = {
        _label(obj).partition("/")[2]: obj["spec"].get("dnsNames") for obj in objects if obj["kind"] == "Certificate"
    }
    return {
        f"{names[_label(obj).partition('/')[2]][0]}:{listener['port']}"
        for obj in objects
        if obj["kind"] == "ListenerSet"
        for listener in obj["spec"]["listeners"]
        if listener["protocol"] in {"TCP", "TLS"}
    }


def _app_routes(objects: Sequence[Obj]) -> list[Obj]:
    """Return the routes that lead to an application."""
    routes = (obj for obj in objects if obj["kind"] == "HTTPRoute")
    return [route for route in routes if any("backendRefs" in rule for rule in route["spec"].get("rules", []))]


def _behind(objects: Sequence[Obj], asks: Callable[[Obj], object]) -> set[str]:
    """Return the hosts of the routes whose policy asks in a certain way."""
    asked = {
        (policy["metadata"]["namespace"], target["name"])
        for policy in objects
        if policy["kind"] == "SecurityPolicy" and asks(policy["spec"])
        for target in policy["spec"].get("targetRefs", [])
    }
    return {
        name
        for route in _app_routes(objects)
        if (route["metadata"]["namespace"], route["metadata"]["name"]) in asked
        for name in route["spec"].get("hostnames", [])
    }


def _public(objects: Sequence[Obj]) -> set[str]:
    """Return the hosts whose routes say why they ask nobody."""
    return {
        name
        for route in _app_routes(objects)
        if route["metadata"].get("annotations", {}).get("betelgeuse.io/public")
        for name in route["spec"].get("hostnames", [])
    }


def _accounts(objects: Sequence[Obj]) -> set[str]:
    """Return the service accounts that exist or are bound, as namespace/name."""
    found = {_label(obj).partition("/")[2] for obj in objects if obj["kind"] == "ServiceAccount"}
    for obj in objects:
        if obj["kind"] in {"RoleBinding", "ClusterRoleBinding"}:
            accounts = (each for each in obj.get("subjects") or [] if each["kind"] == "ServiceAccount")
            found |= {
                f"{each.get('namespace', obj['metadata'].get('namespace', ''))}/{each['name']}" for each in accounts
            }
    return found


def _store_pages(objects: Sequence[Obj]) -> set[str]:
    """Return the stores that accounts are declared for, and the vector store, which has none."""
    labels = ((obj["metadata"].get("labels") or {}).get("betelgeuse.io/store") for obj in objects)
    return {str(label) for label in labels if label} | {
        "qdrant" for obj in objects if _label(obj) == "Service/vec/qdrant"
    }


def _notebook_pages(objects: Sequence[Obj]) -> set[str]:
    """Return the stores whose account is mounted in people's notebook servers."""
    volumes = (obj["template"]["spec"].get("volumes", []) for obj in objects if obj["kind"] == "PodTemplate")
    names = (volume.get("secret", {}).get("secretName", "") for each in volumes for volume in each)
    return {name.removeprefix("research-") for name in names if name.startswith("research-")}


def subjects(objects: Sequence[Obj], settings: Settings) -> dict[str, set[str]]:
    """Return what each argument must have swept, from the raw objects."""
    found: dict[str, set[str]] = {
        name: set() for name in ("tls_name", "host", "listener_port", "workload", "namespace")
    }
    found |= {name: set() for name in ("declared", "gateway", "certificate", "monitor", "rules", "dashboard")}
    found["dashboard"] |= set(map(_label, dashboards(objects)))
    for obj in objects:
        found["declared"].add(_label(obj))
        if obj["kind"] in _OWN_SUBJECT:
            found[_OWN_SUBJECT[obj["kind"]]].add(_label(obj))
        if obj["kind"] in {"Gateway", "ListenerSet"}:
            _add_listeners(found, obj["spec"].get("listeners", []), settings.domain)
    found["tcp_host"] = _tcp_hosts(objects)
    found["store_page"], found["notebook_page"] = _store_pages(objects), _notebook_pages(objects)
    found["host"] |= {
        name for obj in objects if obj["kind"] == "HTTPRoute" for name in obj["spec"].get("hostnames", [])
    }
    found["namespace"] = {name.partition("/")[2] for name in found["namespace"]}
    found["namespace"] |= {name.split("/")[1] for name in found["workload"]}
    found["app_route"] = {_label(route) for route in _app_routes(objects)}
    found["token_host"] = _behind(objects, lambda spec: "jwt" in spec and "oidc" not in spec)
    found["model_host"] = {name for name in found["token_host"] if name.startswith(("embeddings.", "llm."))}
    found["login_host"] = _behind(objects, lambda spec: "oidc" in spec)
    found["account"] = _accounts(objects) | {f"{namespace}/default" for namespace in found["namespace"]}
    found["guarded_host"] = found["host"] - _public(objects)
    found["gateway_address"] = set(settings.gateway_addresses) or {"published"}
    found["weak_suites"] = set(hello.WEAK)
    found["old_version"] = set(hello.VERSIONS)
    found["pod_rule"] = set(RULES)
    return found


def gaps(  # noqa: PLR0913 - what was promised, of what, where, and what came of it
    ran: Ran,
    *,
    promised: Iterable[Promise],
    expected: Mapping[str, set[str]],
    features: Mapping[str, bool],
    env: str,
    exemptions: Exemptions,
) -> list[str]:
    """Return every way in which a full run fell short of what the tree and the files declare; empty is good."""
    promised = list(promised)
    asked = {
        name for each in promised if all(features.get(one, False) for one in each.features) for name in each.arguments
    }
    found = [
        f"nothing in the tree for {name!r}: a loop over nothing proves nothing"
        for name, subjects in expected.items()
        if not subjects and name in asked
    ]
    for promise in promised:
        if promise.id == SELF:
            continue
        absent = [name for name in promise.features if not features.get(name, False)]
        unexpected = [name for name in absent if not exemptions.may_lack(env, name)]
        if unexpected:
            found.append(f"{promise.id}: feature {', '.join(unexpected)} is absent, which {env} may not be")
        if not absent:
            found += _missing(promise, ran.executed.get(promise.id), expected)
    for name, reason in ran.skipped.items():
        promise_of = next((p for p in promised if name.startswith(p.id)), None)
        if promise_of is None or not any(not features.get(feature, False) for feature in promise_of.features):
            found.append(f"{name}: skipped, and not for an absent feature: {reason}")
    if ran.deselected:
        found.append(f"{len(ran.deselected)} checks deselected, e.g. {ran.deselected[0]}")
    return found


def _missing(promise: Promise, seen: Mapping[str, set[str]] | None, expected: Mapping[str, set[str]]) -> list[str]:
    if seen is None:
        return [f"{promise.id}: never executed"]
    found = []
    for argument in sorted(promise.arguments & set(expected)):
        left = sorted(expected[argument] - seen.get(argument, set()))
        if left:
            names = ", ".join(left[:_MANY]) + (" …" if len(left) > _MANY else "")
            found.append(f"{promise.id}: not executed for {len(left)} of {len(expected[argument])} {argument}: {names}")
    return found
