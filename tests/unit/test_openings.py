"""Hosts that nothing guards where the gateway knows no policies: named and refused; all others pass."""

from typing import Any

import pytest

from betelgeuse import openings, render
from betelgeuse.errors import RefusedError
from betelgeuse.kube import Obj
from betelgeuse.tree import Tree, gates
from tests.unit.fakes import obj

GATEWAY_API = "gateway.networking.k8s.io/v1"
ENVOY = obj(GATEWAY_API, "GatewayClass", "gateway", spec={"controllerName": "gateway.envoyproxy.io/controller"})
FOREIGN = obj(GATEWAY_API, "GatewayClass", "gateway", spec={"controllerName": "gateway.nginx.org/controller"})
BACKEND = [{"name": "app", "port": 80}]


def _gateway(name: str) -> Obj:
    return obj(GATEWAY_API, "Gateway", "gateway", "gateway", spec={"gatewayClassName": name, "listeners": []})


def _password(name: str = "app", namespace: str = "n", kind: str = "Basic") -> Obj:
    spec = {"type": kind, "basic": {"realm": "x", "secretRef": {"name": "users"}}}
    return obj("gateway.nginx.org/v1alpha1", "AuthenticationFilter", name, namespace, spec=spec)


def _asks(name: str = "app", group: str = "gateway.nginx.org") -> dict[str, Any]:
    ref = {"group": group, "kind": "AuthenticationFilter", "name": name}
    return {"type": "ExtensionRef", "extensionRef": ref}


def _route(*rules: dict[str, Any], gate: str = "", reason: str = "", hosts: tuple[str, ...] = ("a.test",)) -> Obj:
    found = obj(GATEWAY_API, "HTTPRoute", "app", "n", spec={"hostnames": list(hosts), "rules": list(rules)})
    found["metadata"]["labels"] = {gates.LABEL: gate} if gate else {}
    found["metadata"]["annotations"] = {gates.REASON: reason} if reason else {}
    return found


OPEN = {"backendRefs": BACKEND}
GUARDED = {"backendRefs": BACKEND, "filters": [_asks()]}
POLICY = obj(
    "gateway.envoyproxy.io/v1alpha1",
    "SecurityPolicy",
    "app",
    "n",
    spec={"targetRefs": [{"kind": "HTTPRoute", "name": "app"}], "jwt": {"providers": [{"audiences": ["app"]}]}},
)
CASES = [
    pytest.param([_route(OPEN, gate="login")], ["a.test (login)"], id="login"),
    pytest.param([_route(OPEN, gate="token")], ["a.test (token)"], id="token"),
    pytest.param([_route(OPEN)], ["a.test (no gate)"], id="nothing"),
    pytest.param([_route(OPEN, gate="token"), POLICY], ["a.test (token)"], id="a policy that nobody reads"),
    pytest.param([_route(GUARDED, gate="password"), _password()], [], id="password"),
    pytest.param([_route(GUARDED, OPEN, gate="password"), _password()], ["a.test (password)"], id="one rule without"),
    pytest.param([_route(GUARDED, gate="password")], ["a.test (password)"], id="no such filter"),
    pytest.param([_route(GUARDED, gate="password"), _password("b")], ["a.test (password)"], id="another's name"),
    pytest.param([_route(GUARDED), _password(namespace="m")], ["a.test (no gate)"], id="another's namespace"),
    pytest.param([_route(GUARDED), _password(kind="OIDC")], ["a.test (no gate)"], id="the paid edition's"),
    pytest.param(
        [_route({"backendRefs": BACKEND, "filters": [_asks(group="else")]}), _password()],
        ["a.test (no gate)"],
        id="another group",
    ),
    pytest.param([_route(OPEN, reason="signs people in itself")], [], id="native"),
    pytest.param([_route({"filters": [{"type": "RequestRedirect"}]})], [], id="redirect"),
    pytest.param([_route(OPEN, hosts=())], ["route n/app (no gate)"], id="without a host"),
    pytest.param(
        [_route(OPEN, gate="login", hosts=("b.test", "a.test"))], ["a.test (login)", "b.test (login)"], id="2"
    ),
]


@pytest.mark.parametrize(("objects", "wanted"), CASES)
def test_open_hosts_are_found(objects: list[Obj], wanted: list[str]) -> None:
    """By what really asks, never by a label; the label says what was meant."""
    assert openings.found([_gateway("nginx"), *objects]) == wanted


@pytest.mark.parametrize(
    ("classes", "name", "judged"),
    [
        ([ENVOY], "gateway", False),
        ([FOREIGN], "gateway", True),
        ([ENVOY], "nginx", True),
        ([], "nginx", True),
        ([], "", False),
    ],
)
def test_only_envoys_gateways_know_policies(classes: list[Obj], name: str, *, judged: bool) -> None:
    """What the class's controller is decides, and a class that the tree has not is nobody's we know."""
    tree = [*classes, _gateway(name), _route(OPEN, gate="token")]

    assert bool(openings.found(tree)) == judged


def test_both_gates_of_a_host_are_named() -> None:
    """A login before its pages, and a token before its API."""
    routes = [_route(OPEN, gate="login"), _route(OPEN, gate="token")]
    routes[1]["metadata"]["name"] = "app-api"

    assert openings.found([_gateway("nginx"), *routes]) == ["a.test (login and token)"]


def test_a_tree_with_open_hosts_is_refused() -> None:
    """Before anything is done with it: one line that says where, which and what to do; no other tree is."""
    namespaces = [obj("v1", "Namespace", name) for name in ("gateway", "n")]
    others = [*namespaces, _gateway("nginx")]
    with pytest.raises(
        RefusedError, match=r"^Gateway gateway/gateway: .*a\.test \(login\).*docs/how-to/nginx\.md"
    ) as it:
        render.check([*others, _route(OPEN, gate="login")])
    render.check([*others, _route(GUARDED), _password()])

    assert "\n" not in str(it.value)
    assert it.value.exit_code != 0


def test_a_password_of_nginx_is_a_gate() -> None:
    """The reader tells it as it tells Envoy's: its class, and where the users are. With a reason beside it: nothing."""
    tree = Tree([_gateway("nginx"), _password(), _route(GUARDED)], "test")
    both = Tree([_gateway("nginx"), _password(), _route(GUARDED, reason="no need")], "test")
    users = tree.hosts[0].gate.users

    assert (tree.hosts[0].gate.kind, users and users.name) == (gates.PASSWORD, "users")
    assert both.hosts[0].gate.kind == ""


def test_envoy_does_not_read_nginxs_filters() -> None:
    """A filter is no gate where Envoy serves."""
    tree = Tree([ENVOY, _gateway("gateway"), _password(), _route(GUARDED)], "test")

    assert tree.hosts[0].gate.kind == ""
