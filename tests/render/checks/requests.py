"""Checks of what stands between an API's clients and its model server: the check of every request."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

from betelgeuse.kube import Obj, describe
from betelgeuse.tree import gates
from conformance.workloads.rules import amount
from tests.render.checks.gates import apis, guarded
from tests.render.trees import Tree

_PROTOCOL: Final = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings")
"""Paths at which a model is asked."""
_CHECK: Final = ("ai", "api-check")
_KEEPS_ON: Final = "x-conversation-id"
"""The header that makes llama-server write an answer to its end for a reader who may come back."""
_CLOSED: Final = 500
"""The status that the gate's words for `nobody could be asked` are about."""


def requests_are_checked(tree: Tree) -> Iterator[str]:
    """What asks a model is compared with the protocol first, whole, by a check that knows the host, or refused."""
    for kind in (gates.TOKEN, gates.LOGIN):
        for route, policy in guarded(tree, kind):
            matches = (each for rule in route["spec"]["rules"] for each in rule.get("matches", ()))
            if asked := sorted({each["path"]["value"] for each in matches} & set(_PROTOCOL)):
                yield from _checked(tree, route, policy, asked)


def _checked(tree: Tree, route: Obj, policy: Obj, asked: list[str]) -> Iterator[str]:
    meta, check = route["metadata"], policy["spec"].get("extAuth", {})
    backends = [
        (ref.get("namespace", meta["namespace"]), ref["name"]) for ref in check.get("http", {}).get("backendRefs", ())
    ]
    if backends != [_CHECK] or check["http"].get("path") != "/check":
        yield f"{describe(policy)}: does not ask {'/'.join(_CHECK)} at /check about {', '.join(asked)}"
        return
    if check.get("failOpen") or check.get("statusOnError") != _CLOSED:
        yield f"{describe(policy)}: lets requests pass while nobody checks them, or says so with another status"
    rule = next(each for each in route["spec"]["rules"] if _asks(each, asked))
    traffic = _traffic(tree, meta, rule)
    limit = amount(traffic.get("requestBuffer", {}).get("limit", "0"))
    if check.get("bodyToExtAuth", {}).get("maxRequestBytes") != limit:
        yield f"{describe(policy)}: the check does not see a body of as many bytes as the route takes"
    known = apis(tree).get(meta["name"], {})
    if sorted(known.get("paths", ())) != asked:
        yield f"{describe(policy)}: {'/'.join(_CHECK)} knows {known.get('paths')}, not {asked}"
    places = int(traffic.get("circuitBreaker", {}).get("maxParallelRequests", 0))
    if not places and "slots" in known:
        yield f"{describe(route)}: no limit of requests at a time (circuitBreaker.maxParallelRequests)"
    if known.get("places", places) != places:
        yield f"{describe(route)}: the check shares {known['places']} places, the gateway has {places}"
    server = (meta["namespace"], rule["backendRefs"][0]["name"])
    yield from (f"{describe(route)}: {fault}" for fault in _started(tree, server, known))
    if "slots" in known and _KEEPS_ON not in {each.lower() for each in _removed(rule)}:
        yield f"{describe(route)}: lets {_KEEPS_ON} pass, for which the server goes on when a reader hangs up"


def _asks(rule: Mapping[str, Any], asked: list[str]) -> bool:
    return any(each["path"]["value"] in asked for each in rule.get("matches", ()))


def _removed(rule: Mapping[str, Any]) -> Iterator[str]:
    """Yield the headers of a request that a rule takes away."""
    for each in rule.get("filters", ()):
        yield from each.get("requestHeaderModifier", {}).get("remove", ())


def _traffic(tree: Tree, meta: Mapping[str, Any], rule: Mapping[str, Any]) -> Obj:
    """Return the policy of traffic in force for a rule of a route: one of its own hides the route's."""
    found: dict[str, Obj] = {}
    for each in tree.kind("BackendTrafficPolicy"):
        for ref in each["spec"].get("targetRefs", ()):
            if (each["metadata"]["namespace"], ref["name"]) == (meta["namespace"], meta["name"]):
                found[ref.get("sectionName", "")] = each["spec"]
    return found.get(str(rule.get("name", "-")), found.get("", {}))


def _started(tree: Tree, name: tuple[str, str], known: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the check is told of a model server and its arguments do not say."""
    for server in tree.kind("Deployment"):
        if (server["metadata"]["namespace"], server["metadata"]["name"]) == name:
            said = [str(each) for each in server["spec"]["template"]["spec"]["containers"][0]["args"]]
            options = dict(pairwise(said))
            slots = int(options["--parallel"])
            if "slots" in known and known["slots"] != slots:
                yield f"the check knows {known['slots']} slots, the server has {slots}"
            if "context" in known and known["context"] * slots != int(options["--ctx-size"]):
                yield f"the check knows a context of {known['context']} tokens, the server has another"


def full_is_told_from_away(tree: Tree) -> Iterator[str]:
    """The header by which the gateway says that every place is taken is there when the words are chosen."""
    chosen = [
        header["name"].lower()
        for policy in tree.kind("BackendTrafficPolicy")
        for each in policy["spec"].get("responseOverride", ())
        for header in each["match"].get("responseHeaders", ())
    ]
    for policy in tree.kind("ClientTrafficPolicy"):
        headers = policy["spec"].get("headers", {})
        removed = {name.lower() for name in headers.get("lateResponseHeaders", {}).get("remove", ())}
        if "x-envoy-overloaded" in chosen and not headers.get("enableEnvoyHeaders"):
            yield f"{describe(policy)}: without enableEnvoyHeaders nobody says that every place is taken"
        both = removed & set(chosen)
        yield from (f"{describe(policy)}: removes {name} before words are chosen by it" for name in both)


CHECKS: Final = (requests_are_checked, full_is_told_from_away)
