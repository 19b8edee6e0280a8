"""The reader of rendered trees, on the tree of the conformance suite's model platform."""

import copy

import pytest

from betelgeuse.kube import Obj
from betelgeuse.tree import Match, Ref, Tree, gates, ref
from betelgeuse.tree.clients import ANNOTATION, clients
from betelgeuse.tree.workloads import containers, labels, pod_spec, ports
from tests.conformance_suite.cluster import tree_objects
from tests.conformance_suite.idp import DOMAIN, ISSUER
from tests.unit.fakes import obj

POD: Obj = {"metadata": {"labels": {"a": "b"}}, "spec": {"initContainers": [{"name": "c"}]}}


@pytest.fixture
def tree() -> Tree:
    """Return the model platform's tree."""
    return Tree(tree_objects(443, 80), DOMAIN)


def test_tree_reads_hosts_with_routes_and_gates(tree: Tree) -> None:
    """Tree reads hosts with routes and gates."""
    auth, embeddings, llm, portal, vault = tree.hosts

    assert (embeddings.name, llm.name, llm.label, llm.namespace) == (
        "embeddings.model.test",
        "llm.model.test",
        "llm",
        "ai",
    )
    assert [host.gate.kind for host in (auth, embeddings, llm, portal, vault)] == [
        "public",
        "token",
        "token",
        "login",
        "password",
    ]
    assert [str(route) for route in llm.routes] == ["HTTPRoute/ai/llm", "HTTPRoute/ai/llm-redirect"]
    assert llm.door == Match("/v1/models", "GET", exact=True)
    assert (llm.gate.issuer, llm.gate.audiences, llm.gate.realm) == (ISSUER, ("llm",), "betelgeuse")
    assert (portal.gate.client, portal.gate.logout, len(portal.gate.groups)) == ("portal", "/oauth2/logout", 3)
    assert portal.gate.quiet[0] == ("X-Requested-With", "XMLHttpRequest")
    assert auth.door == Match("/realms/betelgeuse/account/", "GET", exact=True)
    assert [(client.id, client.audiences, client.host) for client in tree.clients] == [
        ("api-client", ("embeddings", "llm"), ""),
        ("embeddings-client", ("embeddings",), ""),
        ("portal", (), "portal.model.test"),
    ]
    assert {str(name) for name in tree.tls_names} == {*(host.name for host in tree.hosts), "model.test"}
    assert tree.ports == (80, 443)


def test_route_without_hostnames_takes_its_listeners(tree: Tree) -> None:
    """Route without hostnames takes its listeners."""
    for route in tree.kind("HTTPRoute"):
        del route["spec"]["hostnames"]

    assert all(host.routes and host.gate.kind for host in tree.hosts)


def test_a_name_that_tls_passes_on_is_no_web_host(tree: Tree) -> None:
    """A database's or broker's listener has a port and a name, and neither a page nor a certificate of the gateway."""
    listener = {
        "name": "tls",
        "protocol": "TLS",
        "port": 7687,
        "hostname": f"bolt.{DOMAIN}",
        "tls": {"mode": "Passthrough"},
    }
    spec = {"parentRef": {"name": "gateway", "namespace": "gateway"}, "listeners": [listener]}
    found = Tree(
        [*tree.objects, obj("gateway.networking.k8s.io/v1", "ListenerSet", "bolt", "graph", spec=spec)], DOMAIN
    )

    assert found.hosts == tree.hosts
    assert found.tls_names == tree.tls_names
    assert set(found.ports) - set(tree.ports) == {7687}


def _with_way_for_tokens(tree: Tree, header: str) -> Tree:
    """Return the tree in which whoever sends such a header comes to the portal by a gate for tokens."""
    route, policy = (
        copy.deepcopy(next(o for o in tree.objects if (o["kind"], o["metadata"]["name"]) == which))
        for which in (("HTTPRoute", "portal"), ("SecurityPolicy", "llm"))
    )
    for each in (route, policy):
        each["metadata"] |= {"name": "portal-api", "namespace": "portal"}
    for rule in route["spec"]["rules"]:
        rule["matches"] = [
            {**match, "headers": [{"name": "Authorization", "type": "RegularExpression", "value": header}]}
            for match in rule.get("matches", [{}])
        ]
    policy["spec"]["targetRefs"][0]["name"] = "portal-api"
    policy["spec"]["jwt"]["providers"][0]["audiences"] = ["portal-api"]
    return Tree([*tree.objects, route, policy], DOMAIN)


def test_who_shows_a_token_may_meet_a_gate_of_his_own(tree: Tree) -> None:
    """The host is behind its login as before, and once more among those behind tokens, as programs meet it."""
    changed = _with_way_for_tokens(tree, gates.BEARER)
    portal = next(host for host in changed.hosts if host.label == "portal")
    (people, programs) = portal.doors

    assert people == portal
    assert (portal.gate.kind, programs.gate.audiences, programs.otherwise) == ("login", ("portal-api",), portal.gate)
    assert programs in changed.behind("token")
    assert portal in changed.behind("login")
    assert len(changed.hosts) == len(tree.hosts)
    assert all(len(host.doors) == 1 for host in tree.hosts)


def test_another_header_makes_no_gate_of_its_own(tree: Tree) -> None:
    """A way that others find too leads past the login: then nothing can be relied on."""
    changed = _with_way_for_tokens(tree, ".*")
    portal = next(host for host in changed.hosts if host.label == "portal")

    assert (portal.gate.kind, len(portal.doors)) == ("", 1)


def test_what_a_route_hides_is_no_page_and_no_door() -> None:
    """A path that a rule rewrites to a page that is not there stays inside; one that it moves is a page."""
    to = [{"name": "app", "port": 80}]

    def rule(path: str, rewritten: str) -> Obj:
        to_page = {"type": "ReplaceFullPath", "replaceFullPath": rewritten}
        moved = {"type": "URLRewrite", "urlRewrite": {"path": to_page}}
        return {"matches": [{"path": {"type": "Exact", "value": path}}], "filters": [moved], "backendRefs": to}

    rules = [{"backendRefs": to}, rule("/metrics", "/hub/no-such-page"), rule("/old", "/new")]
    route = obj("gateway.networking.k8s.io/v1", "HTTPRoute", "app", "a", spec={"hostnames": ["app.x"], "rules": rules})
    host = Tree([route], "x").host("app.x")

    assert [match.path for match in host.matches] == ["/", "/old"]
    assert host.door.path == "/old"


def test_host_without_a_route_is_still_a_host(tree: Tree) -> None:
    """Host without a route is still a host."""
    bare = Tree([obj for obj in tree.objects if obj["kind"] != "HTTPRoute"], DOMAIN)

    assert [host.name for host in bare.hosts] == [host.name for host in tree.hosts]
    assert not any(host.routes or host.gate.kind for host in bare.hosts)


def _without(tree: Tree, kind: str, name: str) -> Tree:
    kept = [obj for obj in tree.objects if (obj["kind"], obj["metadata"]["name"]) != (kind, name)]
    return Tree(kept, DOMAIN)


def _kind(tree: Tree, label: str) -> str:
    return next(host.gate.kind for host in tree.hosts if host.label == label)


def test_gate_is_what_asks_not_what_a_label_says(tree: Tree) -> None:
    """Gate is what asks, not what a label says."""
    policy = next(obj for obj in tree.kind("SecurityPolicy") if obj["metadata"]["name"] == "llm")

    policy["spec"].pop("jwt")
    assert _kind(Tree(tree.objects, DOMAIN), "llm") == ""
    policy["spec"]["basicAuth"] = {"users": {"name": "x"}}
    assert _kind(Tree(tree.objects, DOMAIN), "llm") == "password"
    policy["spec"]["jwt"] = {"providers": [{"name": "a"}]}
    assert _kind(Tree(tree.objects, DOMAIN), "llm") == "", "two at once are none"
    assert _kind(_without(tree, "SecurityPolicy", "portal"), "portal") == ""


def test_public_route_says_why(tree: Tree) -> None:
    """Public route says why."""
    route = next(obj for obj in tree.kind("HTTPRoute") if obj["metadata"]["name"] == "auth")

    route["metadata"]["annotations"]["betelgeuse.io/public"] = "  "
    assert _kind(Tree(tree.objects, DOMAIN), "auth") == ""
    guarded = next(obj for obj in tree.kind("HTTPRoute") if obj["metadata"]["name"] == "llm")
    guarded["metadata"]["annotations"]["betelgeuse.io/public"] = "for everybody"
    assert _kind(Tree(tree.objects, DOMAIN), "llm") == "", "a gate, and a reason for none"


def test_policy_of_a_listener_guards_its_routes(tree: Tree) -> None:
    """Policy of a listener guards its routes."""
    policy = next(obj for obj in tree.kind("SecurityPolicy") if obj["metadata"]["name"] == "llm")

    policy["spec"]["targetRefs"] = [{"kind": "ListenerSet", "name": "llm"}]
    assert _kind(Tree(tree.objects, DOMAIN), "llm") == "token"
    policy["spec"]["targetRefs"] = [{"kind": "ListenerSet", "name": "other"}]
    assert _kind(Tree(tree.objects, DOMAIN), "llm") == ""


def test_host_behind_two_classes_is_behind_none(tree: Tree) -> None:
    """Host behind two classes is behind none."""
    route = copy.deepcopy(next(obj for obj in tree.kind("HTTPRoute") if obj["metadata"]["name"] == "llm"))
    route["metadata"]["name"] = "llm-more"

    assert _kind(Tree([*tree.objects, route], DOMAIN), "llm") == ""


def test_what_runs_and_where(tree: Tree) -> None:
    """Workloads that last, their namespaces, the gateways, and everything by its name."""
    names = ("ai/embeddings", "ai/llm", "auth/keycloak")
    assert [str(each) for each in tree.workloads] == [f"Deployment/{name}" for name in names]
    assert tree.namespaces == ("ai", "auth", "gateway")
    assert [str(each) for each in tree.gateways] == ["Gateway/gateway/gateway"]
    assert len(tree.declared) == len(tree.objects)
    assert all(ref(tree.find(each)) == each for each in tree.declared)


def test_names_have_their_certificates(tree: Tree) -> None:
    """By the Secret that a listener shows; one that no Certificate fills has none."""
    found = {str(name): tree.certificate_for(name.listener.certificates[0]) for name in tree.tls_names}

    assert str(found["llm.model.test"]) == "Certificate/ai/llm"
    assert set(found.values()) == set(tree.certificates)
    assert tree.certificate_for(Ref("Secret", "ai", "elsewhere")) is None


def test_issuers_name_their_acme_servers() -> None:
    """Those that have one."""
    issuers = [
        obj("cert-manager.io/v1", "ClusterIssuer", "platform", spec={"acme": {"server": "https://acme.test/dir"}}),
        obj("cert-manager.io/v1", "Issuer", "own", "ai", spec={"ca": {"secretName": "ca"}}),
    ]

    assert Tree(issuers, DOMAIN).acme_servers == ("https://acme.test/dir",)


def test_a_name_can_be_asked_for() -> None:
    """With the group of a kind that others may have too; a reference without the version is the same object."""
    gateway = Ref("Gateway", "gateway", "gateway", "gateway.networking.k8s.io/v1")

    assert gateway.kubectl("describe") == "kubectl -n gateway describe gateway.gateway.networking.k8s.io gateway"
    assert Ref("Namespace", "", "ai", "v1").kubectl("get") == "kubectl get namespace ai"
    assert gateway.same(Ref("Gateway", "gateway", "gateway"))
    assert not gateway.same(Ref("ListenerSet", "gateway", "gateway"))


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("Deployment", {"template": POD}),
        ("CronJob", {"jobTemplate": {"spec": {"template": POD}}}),
    ],
)
def test_pods_are_read_from_their_workload(kind: str, spec: Obj) -> None:
    """However deep their template is."""
    workload = obj("apps/v1", kind, "w", "n", spec=spec)

    assert labels(workload) == {"a": "b"}
    assert [each["name"] for each in containers(pod_spec(workload))] == ["c"]


def test_a_pod_is_its_own_template() -> None:
    """And its ports have names, numbers and protocols."""
    port = {"name": "dns", "containerPort": 53, "protocol": "UDP"}
    container = {"name": "c", "ports": [port, {"containerPort": 80}]}
    pod = obj("v1", "Pod", "p", "n", labels={"a": "b"}, spec={"containers": [container]})

    assert labels(pod) == {"a": "b"}
    assert ports(pod_spec(pod)) == (("dns", 53, "UDP"), ("", 80, "TCP"))


def test_a_secret_without_a_declaration_is_no_client() -> None:
    """Nor is one whose declaration is no map: what is wrong with that is said where clients are made."""
    declared, wrong = ({"annotations": {ANNOTATION: text}} for text in ("{id: api, audiences: [llm]}", "- a"))
    objects = [obj("v1", "Secret", name, "n", **rest) for name, rest in (("a", {}), ("b", declared), ("c", wrong))]

    assert [str(client) for client in clients(objects, DOMAIN)] == ["api"]


def test_every_kind_of_workload_has_a_pod() -> None:
    """Wherever its template stands; a pod is its own."""
    pod: Obj = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "one"}]}}
    workloads: list[Obj] = [
        {"kind": "Pod", **pod},
        {"kind": "PodTemplate", "template": pod},
        {"kind": "Deployment", "spec": {"template": pod}},
        {"kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": pod}}}},
    ]

    assert all(labels(each) == {"a": "b"} and pod_spec(each) == pod["spec"] for each in workloads)
    assert pod_spec({"kind": "PodTemplate"}) == {}
