"""Checks of what stands before every host: a login, a token, a password, or the reason why nothing does."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from betelgeuse import secrets
from betelgeuse.errors import UsageError
from betelgeuse.identity import declarations, realm
from betelgeuse.kube import Obj, describe
from betelgeuse.tree import Client, gates
from tests.render.checks.edge import app_routes
from tests.render.trees import Tree

_BEARER: Final = "Bearer "
_CALLBACK: Final = "/oauth2/callback"
_SESSIONS: Final = ("auth", "session-check")
_REQUESTS: Final = ("ai", "api-check")
"""What a login gate may ask instead, where people ask a model: it asks in turn whether the session lives."""
_SAME_SITE: Final = ("Lax", "Strict")
_FORBIDDEN: Final = ("cookieDomain", "disableTokenEncryption", "passThroughAuthHeader")
_IDENTITY_HEADERS: Final = (
    "x-auth-request-user",
    "x-auth-request-email",
    "x-auth-request-groups",
    "x-auth-request-access-token",
    "x-forwarded-user",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-preferred-username",
    "x-forwarded-access-token",
    "x-webauth-user",
    "x-webauth-groups",
    "x-remote-user",
    "remote-user",
    "remote-groups",
    "x-client-id",
)
_ADDRESS_HEADERS: Final = ("x-forwarded-for", "forwarded", "x-real-ip", "true-client-ip", "cf-connecting-ip")


def guarded(tree: Tree, kind: str) -> Iterator[tuple[Obj, Obj]]:
    """Yield (route, policy) of the routes behind gates of a class."""
    for route in app_routes(tree):
        gate = tree.gate(route)
        if gate.kind == kind and gate.policy:
            yield route, tree.find(gate.policy)


def hosts_have_a_gate(tree: Tree) -> Iterator[str]:
    """Each application's route asks who calls in one way, or says why it asks nobody; labels say which way."""
    for route in app_routes(tree):
        gate = tree.gate(route)
        told = (route["metadata"].get("labels") or {}).get(gates.LABEL, "")
        if not gate.kind:
            yield f"{describe(route)}: neither one SecurityPolicy with a gate nor a reason in {gates.REASON}"
        elif gate.kind == gates.PUBLIC:
            if told:
                yield f"{describe(route)}: is open, yet labelled {told}"
        elif {gate.label, told} != {gate.kind}:
            yield f"{describe(route)}: is behind a {gate.kind}; its policy says {gate.label!r}, its own label {told!r}"


def hosts_have_one_class(tree: Tree) -> Iterator[str]:
    """One path of a host does not open what another guards; only who shows a token may meet a gate for tokens."""
    for host in tree.hosts:
        routes = [route for route in tree.routes if route.ref in host.routes]
        classes = sorted({route.gate.kind or "nothing" for route in routes if not route.shows_token})
        if len(classes) > 1:
            yield f"{host}: {' and '.join(classes)} before different routes"
        for route in routes:
            if route.shows_token and route.gate.kind != gates.TOKEN:
                yield f"{route}: is for who shows a token, and behind {route.gate}"


def _issuer(tree: Tree) -> str:
    return f"https://auth.{tree.settings.domain}/realms/{realm.REALM}"


def tokens_are_checked(tree: Tree) -> Iterator[str]:
    """A token counts when our realm issued it for this one app, and only from the Authorization header."""
    owners: dict[str, str] = {}
    for policy in tree.kind("SecurityPolicy"):
        jwt = policy["spec"].get("jwt", {})
        if jwt.get("optional") or jwt.get("failOpen"):
            yield f"{describe(policy)}: lets in who has no valid token"
        for provider in jwt.get("providers", ()):
            if provider.get("issuer") != _issuer(tree):
                yield f"{describe(policy)}: issuer {provider.get('issuer')}, must be {_issuer(tree)}"
            if not provider.get("audiences"):
                yield f"{describe(policy)}: accepts tokens for any audience"
            yield from _places(policy, provider.get("extractFrom") or {})
            for audience in provider.get("audiences", ()):
                if (other := owners.setdefault(audience, describe(policy))) != describe(policy):
                    yield f"{describe(policy)}: audience {audience} is already that of {other}"


def _places(policy: Obj, places: Mapping[str, Any]) -> Iterator[str]:
    """Yield where a policy takes tokens from besides `Authorization: Bearer`, and which spelling of it is not taken."""
    entries = places.get("headers", ())
    taken = {each.get("valuePrefix", "") for each in entries if each.get("name") == "Authorization"}
    bearer = all(each.lower() == _BEARER.lower() for each in taken)
    if set(places) != {"headers"} or not taken or not bearer or any(e["name"] != "Authorization" for e in entries):
        yield f"{describe(policy)}: takes tokens from elsewhere than `Authorization: Bearer`"
    # The gateway itself writes what follows a login.
    elif "oidc" not in policy["spec"] and not {_BEARER, _BEARER.lower(), _BEARER.upper()} <= taken:
        yield f"{describe(policy)}: takes `Bearer` in one spelling only; the case of a scheme does not matter"


def _declared(tree: Tree) -> list[Client]:
    """Return the clients of the realm; none when one is declared wrongly, which is a check of its own."""
    try:
        return declarations.clients(tree.objects, tree.settings.domain)
    except UsageError:
        return []


def logins_are_strict(tree: Tree) -> Iterator[str]:
    """A login is by a client that the tree declares, with cookies of one host, and only for named groups."""
    declared = {client.id: client for client in _declared(tree)}
    for route, policy in guarded(tree, gates.LOGIN):
        oidc, where = policy["spec"]["oidc"], describe(policy)
        client = declared.get(oidc.get("clientID", ""))
        secret = (policy["metadata"]["namespace"], oidc["clientSecret"]["name"])
        if client is None or (client.secret.namespace, client.secret.name) != secret:
            yield f"{where}: client {oidc.get('clientID')} is not what Secret {'/'.join(secret)} declares"
        elif client.host not in route["spec"].get("hostnames", ()):
            yield f"{where}: client {client.id} is for {client.host}"
        yield from (f"{where}: sets {field}" for field in _FORBIDDEN if oidc.get(field))
        if oidc.get("cookieConfig", {}).get("sameSite") not in _SAME_SITE:
            yield f"{where}: cookies are sent along from other sites"
        if not oidc.get("forwardAccessToken"):
            yield f"{where}: the token check sees no token"
        providers = policy["spec"].get("jwt", {}).get("providers", ())
        audiences = [name for each in providers for name in each.get("audiences", ())]
        if audiences != [oidc.get("clientID")]:
            yield f"{where}: accepts tokens for {audiences}, must be for {oidc.get('clientID')}"
        yield from _endpoints(tree, where, oidc["provider"])
        yield from _groups(where, policy["spec"].get("authorization", {}))
        yield from _sessions(tree, policy)
        yield from _own_paths(route, oidc)


def _endpoints(tree: Tree, where: str, provider: Mapping[str, Any]) -> Iterator[str]:
    if provider.get("issuer") != _issuer(tree):
        yield f"{where}: oidc.provider.issuer is {provider.get('issuer')}, must be {_issuer(tree)}"
    for name in ("authorizationEndpoint", "endSessionEndpoint"):
        if not str(provider.get(name)).startswith(f"{_issuer(tree)}/protocol/openid-connect/"):
            yield f"{where}: {name} is {provider.get(name)}, none of {_issuer(tree)}"


def _groups(where: str, authorization: Mapping[str, Any]) -> Iterator[str]:
    if authorization.get("defaultAction") != "Deny":
        yield f"{where}: lets in everybody who has an account"
    for rule in authorization.get("rules", ()):
        claims = rule.get("principal", {}).get("jwt", {}).get("claims", ())
        names = {name for claim in claims if claim["name"] == "groups" for name in claim["values"]}
        if not names or rule["action"] != "Allow":
            yield f"{where}: rule {rule.get('name')} is not about groups that are let in"
        yield from (f"{where}: the realm has no group {name}" for name in sorted(names - set(realm.GROUPS)))


def apis(tree: Tree) -> dict[str, Any]:
    """Return what the check of requests is told of the hosts."""
    maps = [each for each in tree.kind("ConfigMap") if each["metadata"]["name"].startswith(_REQUESTS[1])]
    found = next((each["data"]["apis.json"] for each in maps if "apis.json" in each["data"]), "{}")
    return dict(json.loads(found))


def _sessions(tree: Tree, policy: Obj) -> Iterator[str]:
    """Yield why the gate would not learn that a session has ended: nothing asks, or nobody lets it ask."""
    check, own = policy["spec"].get("extAuth", {}), policy["metadata"]["namespace"]
    asked = [(ref.get("namespace", own), ref["name"]) for ref in check.get("http", {}).get("backendRefs", ())]
    if asked == [_REQUESTS]:
        # Whether it is asked closed, and with the body, is a check of its own (requests_are_checked).
        host, where = policy["spec"]["targetRefs"][0]["name"], f"http://{_SESSIONS[1]}.{_SESSIONS[0]}.svc.cluster.local"
        if (told := apis(tree).get(host, {}).get("sessions")) != where:
            yield f"{describe(policy)}: {'/'.join(_REQUESTS)} asks {told} whether sessions of {host} live, not {where}"
        return
    if asked != [_SESSIONS]:
        yield f"{describe(policy)}: does not ask {'/'.join(_SESSIONS)} whether sessions live"
    elif not check.get("failOpen"):
        yield f"{describe(policy)}: lets nobody in while {'/'.join(_SESSIONS)} is away"
    grants = [grant for grant in tree.kind("ReferenceGrant") if grant["metadata"]["namespace"] == _SESSIONS[0]]
    granted = {
        origin["namespace"]
        for grant in grants
        if any(to["kind"] == "Service" and to.get("name", _SESSIONS[1]) == _SESSIONS[1] for to in grant["spec"]["to"])
        for origin in grant["spec"]["from"]
        if origin["kind"] == "SecurityPolicy"
    }
    if own not in granted:
        yield f"{describe(policy)}: no ReferenceGrant lets {own} ask {'/'.join(_SESSIONS)}"


def _own_paths(route: Obj, oidc: Mapping[str, Any]) -> Iterator[str]:
    """Yield the gate's own paths that the route does not match: the gate would never see them."""
    matches = [each["path"] for rule in route["spec"]["rules"] for each in rule.get("matches", ())]
    for path in (_CALLBACK, oidc.get("logoutPath", "/logout")):
        prefixes = (each["value"] for each in matches if each["type"] == "PathPrefix")
        if {"type": "Exact", "value": path} not in matches and not any(path.startswith(each) for each in prefixes):
            yield f"{describe(route)}: does not match {path}, which its gate answers"


def passwords_are_made(tree: Tree) -> Iterator[str]:
    """A password gate reads a Secret that the deploy fills with a hash of a long random password."""
    found = {(o["metadata"]["namespace"], o["metadata"]["name"]): o for o in tree.kind("Secret")}
    for policy in tree.kind("SecurityPolicy"):
        if basic := policy["spec"].get("basicAuth"):
            secret = found.get((policy["metadata"]["namespace"], basic["users"]["name"]))
            recipe = secrets.recipes(secret).get(".htpasswd") if secret else None
            if recipe is None or recipe.kind != "htpasswd":
                yield f"{describe(policy)}: Secret {basic['users']['name']} has no recipe htpasswd:… for .htpasswd"


def identity_is_asked_inside(tree: Tree) -> Iterator[str]:
    """Keys and tokens come from a Service of the cluster by its name, which stays when no pod of it is ready."""
    services = {
        f"{o['metadata']['name']}.{o['metadata']['namespace']}.svc.cluster.local": {
            p["port"] for p in o["spec"]["ports"]
        }
        for o in tree.kind("Service")
    }
    for policy in tree.kind("SecurityPolicy"):
        spec = policy["spec"]
        asked = [(each.get("remoteJWKS", {}), "uri") for each in spec.get("jwt", {}).get("providers", ())]
        asked += [(spec["oidc"]["provider"], "tokenEndpoint")] if "oidc" in spec else []
        for source, field in asked:
            url = urlsplit(str(source.get(field)))
            if url.scheme != "http" or (url.port or 80) not in services.get(url.hostname or "", ()):
                yield f"{describe(policy)}: {field} {source.get(field)} is not a Service of the tree"
            if "backendRefs" in source:
                yield f"{describe(policy)}: {field} has backendRefs: without a ready pod the route would answer 500"


def _told_by(policy: Obj) -> set[str]:
    """Return the headers in which a policy tells the app who calls, in lower case."""
    spec = policy["spec"]
    claims = [each for one in spec.get("jwt", {}).get("providers", ()) for each in one.get("claimToHeaders", ())]
    names = [each["header"] for each in claims]
    names += filter(None, [spec.get("basicAuth", {}).get("forwardUsernameHeader")])
    names += filter(None, [spec.get("oidc", {}).get("forwardIDToken", {}).get("header")])
    return {name.lower() for name in names}


def callers_are_limited(tree: Tree) -> Iterator[str]:
    """Behind a token each client has a rate of its own, and is told when to come back."""
    policies = list(tree.kind("BackendTrafficPolicy"))
    for route, policy in guarded(tree, gates.TOKEN):
        meta = route["metadata"]
        own = [
            each["spec"]
            for each in policies
            if each["metadata"]["namespace"] == meta["namespace"]
            for ref in each["spec"].get("targetRefs", ())
            if (ref["kind"], ref["name"]) == ("HTTPRoute", meta["name"])
        ]
        rules = [rule for spec in own for rule in spec.get("rateLimit", {}).get("local", {}).get("rules", ())]
        headers = [h for rule in rules for each in rule.get("clientSelectors", ()) for h in each.get("headers", ())]
        distinct = {each["name"].lower() for each in headers if each.get("type") == "Distinct"}
        if not distinct & _told_by(policy):
            yield f"{describe(route)}: no rate limit per client, by a header that its gate fills"
        answers = [each for spec in own for each in spec.get("responseOverride", ()) if _about(each, 429)]
        setting = [h["name"] for each in answers for h in each["response"].get("header", {}).get("set", ())]
        if "Retry-After" not in setting:
            yield f"{describe(route)}: a client that is refused for its rate is not told when to come back"


def _about(override: Mapping[str, Any], status: int) -> bool:
    return any(each.get("value") == status for each in override["match"].get("statusCodes", ()))


def identity_headers_are_dropped(tree: Tree) -> Iterator[str]:
    """Whatever tells an app who calls, or from where, is dropped where a client sends it, also with underscores."""
    told = (name for policy in tree.kind("SecurityPolicy") for name in _told_by(policy))
    names = {*_IDENTITY_HEADERS, *_ADDRESS_HEADERS, *told}
    for policy in tree.kind("ClientTrafficPolicy"):
        headers = policy["spec"].get("headers", {})
        if headers.get("withUnderscoresAction") not in {"DropHeader", "RejectRequest"}:
            yield f"{describe(policy)}: lets headers with underscores pass"
        removed = headers.get("earlyRequestHeaders", {}).get("removeOnMatch", ())
        exact = {each["value"] for each in removed if each["type"] == "Exact"}
        prefixes = tuple(each["value"] for each in removed if each["type"] == "Prefix")
        suffixes = tuple(each["value"] for each in removed if each["type"] == "Suffix")
        for name in sorted(names):
            if name not in exact and not name.startswith(prefixes) and not name.endswith(suffixes):
                yield f"{describe(policy)}: lets a client say {name}"


def clients_are_declared_well(tree: Tree) -> Iterator[str]:
    """Ids, hosts and audiences of the realm's clients exist, and a client of the login gate has such a gate."""
    try:
        declarations.clients(tree.objects, tree.settings.domain)
    except UsageError as error:
        yield str(error)
    used = {policy["spec"]["oidc"]["clientID"] for policy in tree.kind("SecurityPolicy") if "oidc" in policy["spec"]}
    # An application that signs people in itself may have the same path.
    native = {host.name for host in tree.hosts if host.gate.kind == gates.PUBLIC}
    for client in _declared(tree):
        if client.callback == _CALLBACK and client.id not in used and client.host not in native:
            yield f"client {client.id} of {client.secret}: no login gate uses it"


CHECKS: Final = (
    hosts_have_a_gate,
    hosts_have_one_class,
    tokens_are_checked,
    logins_are_strict,
    passwords_are_made,
    identity_is_asked_inside,
    callers_are_limited,
    identity_headers_are_dropped,
    clients_are_declared_well,
)
