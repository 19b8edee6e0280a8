"""NGINX in place of Envoy: docs/how-to/nginx.md followed on a copy of the tree, and what it refuses."""

import re
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from betelgeuse import openings, paths, render
from betelgeuse.errors import RefusedError
from betelgeuse.kube import Obj, api_group, describe
from betelgeuse.tree import gates
from tests.render.checks import CHECKS
from tests.render.conftest import Slim
from tests.render.trees import Tree

PAGE = paths.ROOT / "docs" / "how-to" / "nginx.md"
COMPONENT = "../../components/gateway-nginx"
_FILE = re.compile(r"(?ms)^ *<!-- file: (\S+) -->\n( *)```\w+\n(.*?)^ *```$")
OWN, ENVOY = "gateway.nginx.org", "gateway.envoyproxy.io"
BROUGHT = {
    "objects_are_valid": {
        f"{name}: neither Kubernetes nor a CRD of the tree has a kind {kind!r} in '{OWN}/{version}'"
        for name, kind, version in (
            ("AuthenticationFilter portal/portal", "AuthenticationFilter", "v1alpha1"),
            ("NginxProxy gateway/gateway", "NginxProxy", "v1alpha2"),
        )
    },
    "names_lead_to_objects": {"Gateway gateway/gateway: GatewayClass nginx does not exist"},
}
"""What each check misses: upstream's chart brings it, and nothing else is missing."""


def _variant(slim: Slim, profile: str) -> list[Obj]:
    """Return the objects of `single-node` with a profile and the component."""
    for place, _, text in _FILE.findall(PAGE.read_text("utf-8")):
        (slim.root / place).parent.mkdir(parents=True, exist_ok=True)
        (slim.root / place).write_text(textwrap.dedent(text), "utf-8")

    def change(content: dict[str, Any]) -> None:
        content["resources"] = [f"../../profiles/{profile}"]
        content["components"] = [each for each in content["components"] if "/base/" not in each]
        content["components"].insert(-2, COMPONENT)

    return slim.objects(slim.variant("single-node", change))


@pytest.fixture(scope="module")
def nginx(slim: Slim, trees: Callable[[str], Tree]) -> Tree:
    """The tree of the page's profile, with the CRDs of the environment."""
    whole = trees("single-node")
    definitions = [obj for obj in whole.objects if obj["kind"] == "CustomResourceDefinition"]
    return Tree(whole.settings, [*definitions, *_variant(slim, "doors")])


@pytest.mark.parametrize("check", CHECKS)
def test_every_check_holds_with_nginx(nginx: Tree, check: str) -> None:
    """Nothing is wrong but what the chart of NGINX Gateway Fabric brings."""
    assert set(CHECKS[check](nginx)) == BROUGHT.get(check, set())


def test_what_nginx_can_guard_is_not_refused(nginx: Tree) -> None:
    """A sign-in of the application's own and a password; the tree is one that may be deployed."""
    render.check(nginx.objects)

    assert {host.label: host.gate.kind for host in nginx.hosts} == {"auth": gates.PUBLIC, "portal": gates.PASSWORD}


def _envoys(obj: Obj) -> bool:
    if obj["kind"] == "CustomResourceDefinition":
        return False
    labels, spec = obj["metadata"].get("labels") or {}, obj.get("spec") or {}
    own = api_group(obj) == ENVOY or labels.get("betelgeuse.io/edge") == "envoy"
    return own or spec.get("controllerName", "").startswith(ENVOY)


def test_nothing_of_envoys_is_left(slim: Slim, nginx: Tree) -> None:
    """Neither its objects nor its controller; before, there was each."""
    before = slim.objects("overlays/single-node")

    def envoys(objects: list[Obj]) -> set[str]:
        return {describe(obj) for obj in objects if _envoys(obj)}

    names = {"Deployment gateway/envoy-gateway", "SecurityPolicy portal/portal", "GatewayClass gateway"}
    assert names <= envoys(before)
    assert envoys(nginx.objects) == set()


def test_the_portal_is_told_who_calls_by_the_gateway_alone(nginx: Tree) -> None:
    """What a client says of itself never reaches it: neither a name nor a token that nobody verified."""
    route = next(obj for obj in nginx.kind("HTTPRoute") if obj["metadata"]["name"] == "portal")
    for rule in route["spec"]["rules"]:
        heads = next(each["requestHeaderModifier"] for each in rule["filters"] if "requestHeaderModifier" in each)

        assert {"name": "X-Forwarded-User", "value": "admin"} in heads["set"]
        assert "Authorization" in heads["remove"]


def test_the_password_is_made_as_nginx_reads_it(nginx: Tree) -> None:
    """A Secret of NGINX's type, whose one key it reads is the hash of a generated password."""
    secret = next(obj for obj in nginx.kind("Secret") if obj["metadata"]["name"] == "portal-htpasswd")
    guard = next(nginx.kind("AuthenticationFilter"))

    assert guard["spec"]["basic"]["secretRef"] == {"name": "portal-htpasswd"}
    assert secret["type"] == "nginx.org/htpasswd"
    assert "auth: htpasswd:admin/password" in secret["metadata"]["annotations"]["betelgeuse.io/generate"]


def test_hosts_that_would_stand_open_are_refused(slim: Slim, nginx: Tree) -> None:
    """Profile core: a login and two tokens, each named in one line; the portal and the sign-in are not."""
    objects = [*nginx.kind("CustomResourceDefinition"), *_variant(slim, "core")]
    with pytest.raises(RefusedError) as caught:
        render.check(objects)
    words = str(caught.value)

    assert re.findall(r"(\w+)\.betelgeuse\.example\.org \((\w+)\)", words) == [
        ("chat", "login"),
        ("embeddings", "token"),
        ("llm", "token"),
    ]
    assert "\n" not in words
    assert "docs/how-to/nginx.md" in words
    assert caught.value.exit_code != 0


def test_every_host_of_every_area_is_judged(slim: Slim, trees: Callable[[str], Tree]) -> None:
    """Profile full: refused is exactly what Envoy asks for a login or a token, but for the portal."""
    envoys = trees("local:full")
    doors = {door.name for kind in (gates.LOGIN, gates.TOKEN) for door in envoys.behind(kind)}
    labels = {name.partition(".")[0] for name in doors} - {"portal"}

    assert {each.partition(".")[0] for each in openings.found(_variant(slim, "full"))} == labels
