"""Checks of the way in: every host complete, standard routes, one implementation that can be replaced."""

from collections.abc import Iterator
from typing import Final

from betelgeuse.kube import Obj, api_group, describe
from tests.render.trees import Tree, strings

_STANDARD: Final = "gateway.networking.k8s.io"
_IMPLEMENTATION: Final = "gateway.envoyproxy.io"
_GATEWAY: Final = "gateway"
_AUTH_POLICIES: Final = ("SecurityPolicy", "BackendTrafficPolicy", "ClientTrafficPolicy")
_FILTER: Final = ".extensionRef.group"
"""Where a route names such a filter."""


def app_routes(tree: Tree) -> Iterator[Obj]:
    """Yield the routes of applications: redirects from plain HTTP and the gateway's own 404 serve no application."""
    for route in tree.kind("HTTPRoute"):
        if route["metadata"]["namespace"] != _GATEWAY and not _hangs_on_plain_http(route):
            yield route


def _hangs_on_plain_http(route: Obj) -> bool:
    return any(ref.get("sectionName") == "http" for ref in route["spec"]["parentRefs"])


def hosts_have_a_redirect_of_their_own(tree: Tree) -> Iterator[str]:
    """Each host is redirected from plain HTTP by name: a challenge at work hides the catch-all."""
    redirected = {
        host
        for route in tree.kind("HTTPRoute")
        if _hangs_on_plain_http(route)
        for host in route["spec"].get("hostnames", ())
    }
    for route in app_routes(tree):
        for host in route["spec"].get("hostnames", ()):
            if host not in redirected:
                yield f"{describe(route)}: no route redirects http://{host}"


def routes_name_their_hosts(tree: Tree) -> Iterator[str]:
    """An application's route names hosts below the domain: without names it would take everybody's."""
    domain = tree.settings.domain
    for route in app_routes(tree):
        hosts = route["spec"].get("hostnames", ())
        if not hosts:
            yield f"{describe(route)}: names no host"
        yield from (
            f"{describe(route)}: {host} is not a name right below {domain}"
            for host in hosts
            if host.partition(".")[2] != domain
        )


def hosts_have_a_listener_and_a_certificate(tree: Tree) -> Iterator[str]:
    """Each host has an HTTPS listener of its own in its namespace, whose certificate is for that name."""
    for route in app_routes(tree):
        namespace = route["metadata"]["namespace"]
        sets = [each for each in tree.owners(route) if (each.kind, each.namespace) == ("ListenerSet", namespace)]
        listeners = [one for one in tree.listeners if any(one.owner.same(each) for each in sets)]
        for host in route["spec"].get("hostnames", ()):
            serving = [one for one in listeners if (one.hostname, one.protocol) == (host, "HTTPS")]
            if not serving:
                yield f"{describe(route)}: no HTTPS listener for {host} in its ListenerSet"
            if any(not listener.certificates for listener in serving):
                yield f"{describe(route)}: the HTTPS listener for {host} has no certificate"
            for secret in (each for listener in serving for each in listener.certificates):
                certificate = tree.certificate_for(secret)
                if certificate is None or host not in tree.find(certificate)["spec"].get("dnsNames", ()):
                    yield f"{describe(route)}: Secret {secret.name} of {host} comes from no Certificate for that name"


def hosts_are_one_routes_only(tree: Tree) -> Iterator[str]:
    """No two namespaces claim the same host."""
    owners: dict[str, str] = {}
    for route in app_routes(tree):
        for host in route["spec"].get("hostnames", ()):
            owner = owners.setdefault(host, route["metadata"]["namespace"])
            if owner != route["metadata"]["namespace"]:
                yield f"{describe(route)}: {host} belongs to namespace {owner}"


def _adds_credentials(tree: Tree, namespace: str, name: str) -> bool:
    """Whether a filter of the implementation's is there, and does nothing but add a credential."""
    return any(
        (obj["metadata"]["namespace"], obj["metadata"]["name"]) == (namespace, name)
        and set(obj["spec"]) == {"credentialInjection"}
        for obj in tree.kind("HTTPRouteFilter")
    )


def _filters_are_for_credentials(tree: Tree, obj: Obj) -> bool:
    """Whether every filter that a route takes from the implementation adds a credential."""
    filters = (each for rule in obj["spec"].get("rules", ()) for each in rule.get("filters", ()))
    names = [each["extensionRef"]["name"] for each in filters if "extensionRef" in each]
    return all(_adds_credentials(tree, obj["metadata"]["namespace"], name) for name in names)


def implementation_is_replaceable(tree: Tree) -> Iterator[str]:
    """Outside its namespace the gateway's implementation is named by auth and traffic policies and grants for them.

    And by filters that add a credential, which the standard has none of.
    """
    for obj in tree.objects:
        if obj["kind"] == "CustomResourceDefinition" or obj["metadata"].get("namespace") == _GATEWAY:
            continue
        own = obj["kind"] in _AUTH_POLICIES or (
            obj["kind"] == "HTTPRouteFilter"
            and _adds_credentials(tree, obj["metadata"]["namespace"], obj["metadata"]["name"])
        )
        if api_group(obj) == _IMPLEMENTATION and not own:
            yield f"{describe(obj)}: is {_IMPLEMENTATION}'s outside the gateway"
        if api_group(obj) == _STANDARD and obj["kind"] not in {"GatewayClass", "ReferenceGrant"}:
            known = obj["kind"] == "HTTPRoute" and _filters_are_for_credentials(tree, obj)
            for at, text in strings(obj):
                if _IMPLEMENTATION in text and not (known and at.endswith(_FILTER)):
                    yield f"{describe(obj)}: {at} names {text}"


def routes_are_standard(tree: Tree) -> Iterator[str]:
    """No Ingress, no route of an implementation: Gateway API only."""
    for obj in tree.kind("Ingress", "IngressClass", "VirtualServer", "IngressRoute"):
        yield f"{describe(obj)}: write a Gateway API route instead"


def plain_http_is_only_redirected(tree: Tree) -> Iterator[str]:
    """No application is served over plain HTTP."""
    for listener in tree.listeners:
        if listener.protocol == "HTTP" and listener.owner.kind == "ListenerSet":
            yield f"{describe(tree.find(listener.owner))}: listener {listener.name} is plain HTTP"
    for route in tree.kind("HTTPRoute"):
        for ref in route["spec"]["parentRefs"]:
            filters = [each["type"] for rule in route["spec"].get("rules", ()) for each in rule.get("filters", ())]
            if ref.get("sectionName") == "http" and filters != ["RequestRedirect"] * len(route["spec"]["rules"]):
                yield f"{describe(route)}: hangs on the plain HTTP listener without redirecting"


CHECKS: Final = (
    routes_name_their_hosts,
    hosts_have_a_listener_and_a_certificate,
    hosts_are_one_routes_only,
    implementation_is_replaceable,
    routes_are_standard,
    plain_http_is_only_redirected,
    hosts_have_a_redirect_of_their_own,
)
