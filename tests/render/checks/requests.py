"""Checks of what stands between an API's clients and its model server: the check of every request."""

import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

from betelgeuse.kube import describe
from betelgeuse.tree import gates
from conformance.workloads.rules import amount
from tests.render.checks.gates import guarded
from tests.render.trees import Tree

_PROTOCOL: Final = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings")
"""Paths at which a model is asked."""
_CHECK: Final = ("ai", "api-check")
_CLOSED: Final = 500
"""The status that the gate's words for `nobody could be asked` are about."""


def requests_are_checked(tree: Tree) -> Iterator[str]:
    """What asks a model is compared with the protocol first, whole, by a check that knows the host, or refused."""
    limits = {
        (each["metadata"]["namespace"], ref["name"]): each["spec"].get("requestBuffer", {}).get("limit", "0")
        for each in tree.kind("BackendTrafficPolicy")
        for ref in each["spec"].get("targetRefs", ())
    }
    for route, policy in guarded(tree, gates.TOKEN):
        meta, check = route["metadata"], policy["spec"].get("extAuth", {})
        matches = (each for rule in route["spec"]["rules"] for each in rule.get("matches", ()))
        asked = sorted({each["path"]["value"] for each in matches} & set(_PROTOCOL))
        if not asked:
            continue
        backends = [
            (ref.get("namespace", meta["namespace"]), ref["name"])
            for ref in check.get("http", {}).get("backendRefs", ())
        ]
        if backends != [_CHECK] or check["http"].get("path") != "/check":
            yield f"{describe(policy)}: does not ask {'/'.join(_CHECK)} at /check about {', '.join(asked)}"
            continue
        if check.get("failOpen") or check.get("statusOnError") != _CLOSED:
            yield f"{describe(policy)}: lets requests pass while nobody checks them, or says so with another status"
        if check.get("bodyToExtAuth", {}).get("maxRequestBytes") != amount(limits[meta["namespace"], meta["name"]]):
            yield f"{describe(policy)}: the check does not see a body of as many bytes as the route takes"
        known = _apis(tree).get(meta["name"], {})
        if sorted(known.get("paths", ())) != asked:
            yield f"{describe(policy)}: {'/'.join(_CHECK)} knows {known.get('paths')}, not {asked}"
        yield from (f"{describe(route)}: {fault}" for fault in _started(tree, meta, known))


def _apis(tree: Tree) -> dict[str, Any]:
    """Return what the check is told of the hosts."""
    maps = [each for each in tree.kind("ConfigMap") if each["metadata"]["name"].startswith(_CHECK[1])]
    return dict(json.loads(maps[0]["data"]["apis.json"])) if maps else {}


def _started(tree: Tree, meta: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the check is told of a model server and its arguments do not say."""
    for server in tree.kind("Deployment"):
        if (server["metadata"]["namespace"], server["metadata"]["name"]) == (meta["namespace"], meta["name"]):
            said = [str(each) for each in server["spec"]["template"]["spec"]["containers"][0]["args"]]
            options = dict(pairwise(said))
            slots = int(options["--parallel"])
            places = tree_places(tree, meta)
            if known.get("places", places) != places:
                yield f"the check shares {known['places']} places, the gateway has {places}"
            if "slots" in known and known["slots"] != slots:
                yield f"the check knows {known['slots']} slots, the server has {slots}"
            if "context" in known and known["context"] * slots != int(options["--ctx-size"]):
                yield f"the check knows a context of {known['context']} tokens, the server has another"


def tree_places(tree: Tree, meta: Mapping[str, Any]) -> int:
    """Return how many requests at a time the gateway lets through to a route's servers; 0: any number."""
    for each in tree.kind("BackendTrafficPolicy"):
        names = [ref["name"] for ref in each["spec"].get("targetRefs", ())]
        if each["metadata"]["namespace"] == meta["namespace"] and meta["name"] in names:
            return int(each["spec"].get("circuitBreaker", {}).get("maxParallelRequests", 0))
    return 0


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
