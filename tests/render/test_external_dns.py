"""Records at Hetzner's DNS, made by the cluster: `single-node` with components/external-dns."""

from collections.abc import Callable

import pytest

from betelgeuse import dns, render
from betelgeuse.kube import Obj, describe
from betelgeuse.policy.access import Access, Account
from betelgeuse.tree.workloads import pod_spec
from conformance import exemptions
from conformance.workloads.rules import RULES, faults
from tests.render.checks import CHECKS
from tests.render.trees import Tree

NEW = {
    "Namespace external-dns",
    "ServiceAccount external-dns/external-dns",
    "Role gateway/external-dns",
    "RoleBinding gateway/external-dns",
    "ClusterRole external-dns",
    "ClusterRoleBinding external-dns",
    "NetworkPolicy external-dns/default-deny",
    "NetworkPolicy external-dns/external-dns",
    "CiliumNetworkPolicy external-dns/external-dns",
    "Deployment external-dns/external-dns",
    "PodMonitor external-dns/external-dns",
}
BROUGHT = {
    "pods_find_what_they_mount": {"Deployment external-dns/external-dns: Secret external-dns/hetzner does not exist"},
}
"""What each check misses: a person brings it, and nothing else is missing."""
HOSTNAME = "external-dns.kubernetes.io/hostname"
READ = {"get", "list", "watch"}


@pytest.fixture(scope="module")
def made(with_component: Callable[[str], Tree]) -> Tree:
    """The tree with the component."""
    return with_component("external-dns")


def _pod(tree: Tree) -> Obj:
    return pod_spec(next(obj for obj in tree.objects if describe(obj) == "Deployment external-dns/external-dns"))


def _arguments(tree: Tree) -> list[str]:
    """Return what external-dns is started with, its variables filled in as the kubelet does."""
    container = _pod(tree)["containers"][0]
    texts = list(map(str, container["args"]))
    for variable in container["env"]:
        texts = [text.replace(f"$({variable['name']})", variable["value"]) for text in texts]
    return texts


@pytest.mark.parametrize("check", CHECKS)
def test_every_check_holds_with_external_dns(made: Tree, check: str) -> None:
    """Valid, restricted, pinned, watched, denied by default; the token alone is not in the tree."""
    assert set(CHECKS[check](made)) == BROUGHT.get(check, set())


def test_nothing_but_the_names_of_the_redirect_changes(made: Tree, plain: list[Obj]) -> None:
    """The platform is the same; the tree is one that may be deployed."""
    changed = {describe(obj) for obj in made.objects if obj["kind"] != "CustomResourceDefinition" and obj not in plain}
    render.check(made.objects)

    assert changed == {"HTTPRoute gateway/redirect", *NEW}


def test_it_makes_the_names_that_the_verb_prints(made: Tree) -> None:
    """Those of routes that it reads and those of the annotation, and no other: as `invoke dns`."""
    routes = list(made.kind("HTTPRoute", "TLSRoute"))
    said = [(route["metadata"].get("annotations") or {}).get(HOSTNAME, "") for route in routes]
    names = {name for route in routes for name in route["spec"].get("hostnames", [])}

    assert names | {name for text in said for name in text.split(",") if name} == set(dns.hosts(made))


def test_the_annotation_says_what_no_route_can(made: Tree) -> None:
    """The bare domain, and each host that a port alone tells."""
    route = next(obj for obj in made.objects if describe(obj) == "HTTPRoute gateway/redirect")
    by_port = {host.name for host in made.tcp_hosts if not host.by_sni}

    assert by_port
    assert set(route["metadata"]["annotations"][HOSTNAME].split(",")) == {made.domain, *by_port}


def test_each_route_that_it_reads_hangs_on_what_it_looks_at(made: Tree) -> None:
    """The platform's Gateway, or a ListenerSet of it, which it is told to follow."""
    parents = {
        (each.get("kind", "Gateway"), each.get("namespace", route["metadata"]["namespace"]), each["name"])
        for route in made.kind("HTTPRoute", "TLSRoute")
        for each in route["spec"]["parentRefs"]
    }
    gateways = {(space, name) for kind, space, name in parents if kind == "Gateway"}

    assert {kind for kind, _, _ in parents} == {"Gateway", "ListenerSet"}
    assert gateways == {("gateway", "gateway")}
    assert {"--gateway-listener-sets", "--gateway-namespace=gateway", "--gateway-name=gateway"} <= set(_arguments(made))


def test_it_reads_no_version_that_the_api_server_lacks(made: Tree) -> None:
    """external-dns 0.23 ends where it cannot list a source: it asks for TCPRoute in v1alpha2, for all others in v1."""
    served = {
        crd["spec"]["names"]["kind"]: {each["name"] for each in crd["spec"]["versions"] if each["served"]}
        for crd in made.kind("CustomResourceDefinition")
        if crd["spec"]["group"] == "gateway.networking.k8s.io"
    }
    sources = {text for text in _arguments(made) if text.startswith("--source=")}

    assert all("v1" in served[kind] for kind in ("Gateway", "ListenerSet", "HTTPRoute", "TLSRoute"))
    assert sources == {"--source=gateway-httproute", "--source=gateway-tlsroute"}
    # Once it is served, the source may take the annotation's place.
    assert "v1alpha2" not in served["TCPRoute"]


def test_it_is_bound_to_the_domain_and_deletes_nothing(made: Tree) -> None:
    """Records of others are left alone: by the domain, by an owner of each environment, by the policy."""
    container = _pod(made)["containers"][1]
    env = {each["name"]: each.get("value") for each in container["env"]}

    assert {
        f"--domain-filter={made.domain}",
        f"--txt-owner-id={made.domain}",
        "--registry=txt",
        "--policy=upsert-only",
        f"--min-ttl={dns.TTL}s",
    } <= set(_arguments(made))
    assert env["INCLUDE_DOMAIN_FILTER"] == made.domain


def test_the_mark_of_every_record_is_below_the_domain(made: Tree) -> None:
    """A prefix without a dot at its end would put the bare domain's mark beside the domain."""
    prefix = next(text.partition("=")[2] for text in _arguments(made) if text.startswith("--txt-prefix="))

    assert prefix.endswith(".")
    assert "%{record_type}" in prefix


def test_the_token_is_in_no_file(made: Tree) -> None:
    """The tree names its Secret, and has none there that a deploy would fill or set back."""
    variable = next(each for each in _pod(made)["containers"][1]["env"] if each["name"] == "HETZNER_TOKEN")

    assert variable == {"name": "HETZNER_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hetzner", "key": "token"}}}
    assert [obj for obj in made.kind("Secret") if obj["metadata"]["namespace"] == "external-dns"] == []


def test_its_account_reads_what_it_must_and_no_more(made: Tree) -> None:
    """Routes, listeners and namespaces anywhere, Gateways in one namespace; it writes nothing in the cluster."""
    account = Account("external-dns", "external-dns")
    rules = {
        (obj["kind"], resource): set(rule["verbs"])
        for obj in made.kind("Role", "ClusterRole")
        if obj["metadata"]["name"] == "external-dns"
        for rule in obj["rules"]
        for resource in rule["resources"]
    }

    assert account in Access.read(made.objects).bound()
    assert rules == {
        ("Role", "gateways"): READ,
        ("ClusterRole", "httproutes"): READ,
        ("ClusterRole", "tlsroutes"): READ,
        ("ClusterRole", "listenersets"): READ,
        ("ClusterRole", "namespaces"): READ,
    }


def test_its_pod_breaks_no_rule(made: Tree) -> None:
    """Non-root, read-only, without a capability, with limits; no exception is listed for it."""
    pod = {"metadata": {"namespace": "external-dns", "name": "external-dns-0"}, "spec": _pod(made)}
    listed = {rule for rule in RULES if exemptions.load().allows("external-dns", "external-dns-0", rule)}

    assert {rule for rule in RULES if faults(pod, rule)} == listed == set()
