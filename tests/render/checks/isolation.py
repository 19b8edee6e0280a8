"""Checks of what keeps pods apart: namespaces, pod security, network policies."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from betelgeuse.kube import describe
from betelgeuse.policy.selectors import POD_NAMESPACE
from conformance import exemptions
from tests.render.exemptions import NO_DEFAULT_DENY, NO_PODS
from tests.render.trees import POLICIES, Pods, Tree

_MODES: Final = ("enforce", "audit", "warn")


def namespaces_state_their_level(tree: Tree) -> Iterator[str]:
    """Every namespace carries Pod Security labels: restricted, or what an exemption with a reason says."""
    allowed = exemptions.load()
    for obj in tree.kind("Namespace"):
        name, labels = obj["metadata"]["name"], obj["metadata"].get("labels", {})
        for mode in _MODES:
            level = labels.get(f"pod-security.kubernetes.io/{mode}")
            if level != allowed.level(name):
                yield f"Namespace {name}: pod-security.kubernetes.io/{mode} is {level}, must be {allowed.level(name)}"


def namespaces_are_declared(tree: Tree) -> Iterator[str]:
    """No object lives in a namespace the tree does not make."""
    declared = {obj["metadata"]["name"] for obj in tree.kind("Namespace")}
    for obj in tree.objects:
        namespace = obj["metadata"].get("namespace", "")
        if namespace and namespace not in declared:
            yield f"{describe(obj)}: the tree makes no namespace {namespace}"


def namespaces_deny_by_default(tree: Tree) -> Iterator[str]:
    """Every namespace has a policy that selects all pods and allows nothing, both ways."""
    denied: dict[str, set[str]] = {}
    for policy in tree.kind("NetworkPolicy"):
        spec = policy["spec"]
        if not spec.get("podSelector") and not spec.get("ingress") and not spec.get("egress"):
            denied.setdefault(policy["metadata"]["namespace"], set()).update(spec.get("policyTypes", ()))
    for obj in tree.kind("Namespace"):
        name = obj["metadata"]["name"]
        if name not in NO_DEFAULT_DENY and (missing := {"Ingress", "Egress"} - denied.get(name, set())):
            yield f"Namespace {name}: no default-deny policy for {' and '.join(sorted(missing))}"


def _cilium(labels: Mapping[str, str]) -> tuple[str | dict[str, Any], dict[str, Any]]:
    """Return (namespaces, selector) of a Cilium selector, where the namespace is a label among others."""
    plain = {key.removeprefix("k8s:"): value for key, value in labels.items()}
    namespace = plain.pop(POD_NAMESPACE, None)
    return ({} if namespace is None else namespace), {"matchLabels": plain}


def _subjects(tree: Tree, policy: Mapping[str, Any]) -> list[Pods]:
    """Return the pods a policy is for."""
    spec = policy["spec"]
    if policy["kind"] == "NetworkPolicy":
        return tree.selected(policy["metadata"]["namespace"], spec.get("podSelector", {}))
    namespace, selector = _cilium(spec.get("endpointSelector", {}).get("matchLabels", {}))
    return tree.selected(policy["metadata"].get("namespace", namespace), selector)


def _peers(policy: Mapping[str, Any]) -> Iterator[tuple[str, Any, dict[str, Any], list[Any]]]:
    """Yield (what, namespaces, selector, ports) of the pods a policy names as peers."""
    own, spec = policy["metadata"].get("namespace", ""), policy["spec"]
    for direction, side in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(direction, ())):
            ports = [each["port"] for each in rule.get("ports", ()) if "port" in each]
            for peer in rule.get(side, ()):
                if "ipBlock" not in peer:
                    where = f"{direction}[{index}]"
                    yield where, peer.get("namespaceSelector", own), peer.get("podSelector", {}), ports
            for peer in rule.get(f"{side}Endpoints", ()):
                namespaces, selector = _cilium(peer.get("matchLabels", {}))
                cilium_ports = [each["port"] for block in rule.get("toPorts", ()) for each in block.get("ports", ())]
                same = own if namespaces == {} and own else namespaces
                yield f"{direction}[{index}]", same, selector, [int(p) if p.isdigit() else p for p in cilium_ports]


def policies_select_pods(tree: Tree) -> Iterator[str]:
    """Every policy is for pods that will run, and every peer it names is one: a typo would be silence."""
    for policy in tree.kind(*POLICIES):
        if describe(policy) in NO_PODS:
            continue
        if not _subjects(tree, policy):
            yield f"{describe(policy)}: is for no pod"
        for where, namespaces, selector, _ in _peers(policy):
            if not tree.selected(namespaces, selector):
                yield f"{describe(policy)}: {where} names no pod ({selector})"


def policies_name_real_ports(tree: Tree) -> Iterator[str]:
    """Ports in policies are ports of the pods that listen."""
    for policy in tree.kind(*POLICIES):
        subjects = _subjects(tree, policy)
        listening = {port for pods in subjects for port in pods.ports}
        # Pods that the tree does not have may listen where they like.
        unknown = not subjects and describe(policy) in NO_PODS
        for index, rule in enumerate(policy["spec"].get("ingress", ())):
            inner = [each for block in rule.get("toPorts", ()) for each in block.get("ports", ())]
            for port in [*rule.get("ports", ()), *inner]:
                number = port.get("port")
                wanted = int(number) if isinstance(number, str) and number.isdigit() else number
                if "endPort" in port:
                    # A range is for whoever listens somewhere in it.
                    span = range(int(number), int(port["endPort"]) + 1)
                    wanted = next((each for each in listening if isinstance(each, int) and each in span), wanted)
                if wanted is not None and not unknown and wanted not in listening:
                    yield f"{describe(policy)}: ingress[{index}]: nothing it is for listens on {wanted!r}"
        for where, namespaces, selector, ports in _peers(policy):
            known = {port for pods in tree.selected(namespaces, selector) for port in pods.ports}
            if where.startswith("egress") and known:
                yield from (
                    f"{describe(policy)}: {where}: no peer listens on {port!r}" for port in ports if port not in known
                )


CHECKS: Final = (
    namespaces_state_their_level,
    namespaces_are_declared,
    namespaces_deny_by_default,
    policies_select_pods,
    policies_name_real_ports,
)
