"""Small changes to what stands before the hosts, each of which a check must notice."""

import copy
import json
from typing import Any, Final

from tests.render.changes import Change, Mutation, Objects, add, drop_field, remove, set_field

_PROVIDER: Final = "spec/jwt/providers/0"
_WAY: Final = (("HTTPRoute", "portal"), ("SecurityPolicy", "llm"))


def _two_gates(objects: Objects) -> None:
    policy = objects.one("SecurityPolicy", "llm")
    policy["spec"]["basicAuth"] = {"users": {"name": "llm-users"}}


def _second_policy(objects: Objects) -> None:
    policy = objects.one("SecurityPolicy", "llm")
    objects.all.append({**policy, "metadata": {**policy["metadata"], "name": "other"}})


def _dropped_no_more(header: str) -> Change:
    """Let one header of clients pass."""

    def change(objects: Objects) -> None:
        early = objects.one("ClientTrafficPolicy", "gateway")["spec"]["headers"]["earlyRequestHeaders"]
        early["removeOnMatch"] = [each for each in early["removeOnMatch"] if each["value"] not in header]

    return change


def _no_retry_after(objects: Objects) -> None:
    for override in objects.one("BackendTrafficPolicy", "llm")["spec"]["responseOverride"]:
        override["response"].pop("header", None)


def _more_slots(objects: Objects) -> None:
    args = objects.one("Deployment", "llm")["spec"]["template"]["spec"]["containers"][0]["args"]
    args[args.index("--parallel") + 1] = "8"


def _told_of_chat(field: str) -> Change:
    """Keep back a field of what the check of requests is told of the host `chat`."""

    def change(objects: Objects) -> None:
        maps = [each for each in objects.all if each["kind"] == "ConfigMap" and "apis.json" in (each.get("data") or {})]
        (told,) = maps
        known = json.loads(told["data"]["apis.json"])
        del known["chat"][field]
        told["data"]["apis.json"] = json.dumps(known)

    return change


def _unchecked_path(objects: Objects) -> None:
    rules = objects.one("HTTPRoute", "llm")["spec"]["rules"]
    rules[0]["matches"].append({"method": "POST", "path": {"type": "Exact", "value": "/v1/embeddings"}})


def _way_for_tokens(header: str) -> Change:
    """Put a way past the portal's login: for who sends such a header Authorization, behind the gate of an API."""

    def change(objects: Objects) -> None:
        route, policy = (copy.deepcopy(objects.one(*which)) for which in _WAY)
        for each in (route, policy):
            each["metadata"] |= {"name": "portal-api", "namespace": "portal"}
        route["metadata"]["labels"] = {"betelgeuse.io/gate": "token"}
        for match in (match for rule in route["spec"]["rules"] for match in rule["matches"]):
            match["headers"] = [{"name": "Authorization", "type": "RegularExpression", "value": header}]
        policy["spec"]["targetRefs"][0]["name"] = "portal-api"
        policy["spec"]["jwt"]["providers"][0]["audiences"] = ["portal-api"]
        objects.all += [route, policy]

    return change


def _password(**data: Any) -> Change:  # noqa: ANN401 - any JSON value
    """Put the portal behind a password whose Secret has these annotations."""

    def change(objects: Objects) -> None:
        spec = objects.one("SecurityPolicy", "portal")["spec"]
        for name in ("oidc", "jwt", "authorization"):
            del spec[name]
        spec["basicAuth"] = {"users": {"name": "people"}}
        meta = {"name": "people", "namespace": "portal", "annotations": data}
        objects.all.append({"apiVersion": "v1", "kind": "Secret", "metadata": meta})

    return change


GATES: Final = (
    Mutation("token gate removed", "hosts_have_a_gate", remove("SecurityPolicy", "llm")),
    Mutation("login gate removed", "hosts_have_a_gate", remove("SecurityPolicy", "portal")),
    Mutation("policy that asks nothing", "hosts_have_a_gate", drop_field("SecurityPolicy", "llm", "spec/jwt")),
    Mutation("two gates in one", "hosts_have_a_gate", _two_gates),
    Mutation("two policies", "hosts_have_a_gate", _second_policy),
    Mutation("open without a reason", "hosts_have_a_gate", drop_field("HTTPRoute", "auth", "metadata/annotations")),
    Mutation(
        "open for a blank reason",
        "hosts_have_a_gate",
        set_field("HTTPRoute", "auth", "metadata/annotations", {"betelgeuse.io/public": " "}),
    ),
    Mutation(
        "gate for the wrong host",
        "hosts_have_a_gate",
        set_field("SecurityPolicy", "llm", "spec/targetRefs/0/name", "embeddings"),
    ),
    Mutation(
        "label says another gate",
        "hosts_have_a_gate",
        set_field("SecurityPolicy", "llm", "metadata/labels", {"betelgeuse.io/gate": "login"}),
    ),
    Mutation("route without a label", "hosts_have_a_gate", drop_field("HTTPRoute", "portal", "metadata/labels")),
    Mutation("a way past the login", "hosts_have_one_class", _way_for_tokens(".*")),
    Mutation("any audience", "tokens_are_checked", drop_field("SecurityPolicy", "llm", f"{_PROVIDER}/audiences")),
    Mutation(
        "another's audience",
        "tokens_are_checked",
        set_field("SecurityPolicy", "llm", f"{_PROVIDER}/audiences/0", "portal"),
    ),
    Mutation("any issuer", "tokens_are_checked", drop_field("SecurityPolicy", "llm", f"{_PROVIDER}/issuer")),
    Mutation(
        "realm master",
        "tokens_are_checked",
        set_field("SecurityPolicy", "llm", f"{_PROVIDER}/issuer", "https://auth.betelgeuse.test/realms/master"),
    ),
    Mutation(
        "issuer not filled in",
        "tokens_are_checked",
        set_field("SecurityPolicy", "llm", f"{_PROVIDER}/issuer", "https://auth.DOMAIN/realms/betelgeuse"),
    ),
    Mutation(
        "tokens in addresses", "tokens_are_checked", drop_field("SecurityPolicy", "llm", f"{_PROVIDER}/extractFrom")
    ),
    Mutation(
        "no token will do", "tokens_are_checked", set_field("SecurityPolicy", "llm", "spec/jwt/optional", value=True)
    ),
    Mutation(
        "any token will do", "tokens_are_checked", set_field("SecurityPolicy", "llm", "spec/jwt/failOpen", value=True)
    ),
    Mutation(
        "client nobody declares",
        "logins_are_strict",
        set_field("SecurityPolicy", "portal", "spec/oidc/clientID", "portl"),
    ),
    Mutation(
        "another's key",
        "logins_are_strict",
        set_field("SecurityPolicy", "portal", "spec/oidc/clientSecret/name", "other"),
    ),
    Mutation(
        "everybody with an account",
        "logins_are_strict",
        set_field("SecurityPolicy", "portal", "spec/authorization/defaultAction", "Allow"),
    ),
    Mutation("no groups", "logins_are_strict", drop_field("SecurityPolicy", "portal", "spec/authorization")),
    Mutation(
        "group typo",
        "logins_are_strict",
        set_field(
            "SecurityPolicy",
            "portal",
            "spec/authorization/rules/0/principal/jwt/claims/0/values",
            ["platform-admin"],
        ),
    ),
    Mutation("login without a token check", "logins_are_strict", drop_field("SecurityPolicy", "portal", "spec/jwt")),
    Mutation(
        "token not forwarded",
        "logins_are_strict",
        drop_field("SecurityPolicy", "portal", "spec/oidc/forwardAccessToken"),
    ),
    Mutation(
        "cookies from other sites",
        "logins_are_strict",
        drop_field("SecurityPolicy", "portal", "spec/oidc/cookieConfig"),
    ),
    Mutation(
        "cookies for every host",
        "logins_are_strict",
        set_field("SecurityPolicy", "portal", "spec/oidc/cookieDomain", "betelgeuse.test"),
    ),
    Mutation(
        "cookies in plain text",
        "logins_are_strict",
        set_field("SecurityPolicy", "portal", "spec/oidc/disableTokenEncryption", value=True),
    ),
    Mutation(
        "sessions that end unnoticed",
        "logins_are_strict",
        drop_field("SecurityPolicy", "portal", "spec/extAuth"),
    ),
    Mutation(
        "sessions that nobody may ask about",
        "logins_are_strict",
        set_field("ReferenceGrant", "session-check", "spec/from", []),
    ),
    Mutation(
        "sessions that need one more thing to run",
        "logins_are_strict",
        drop_field("SecurityPolicy", "portal", "spec/extAuth/failOpen"),
    ),
    Mutation(
        "sessions that the check of requests does not ask about",
        "logins_are_strict",
        _told_of_chat("sessions"),
    ),
    Mutation(
        "login elsewhere",
        "logins_are_strict",
        set_field("SecurityPolicy", "portal", "spec/oidc/provider/authorizationEndpoint", "https://auth.example.org/"),
    ),
    Mutation("callback not routed", "logins_are_strict", drop_field("HTTPRoute", "portal", "spec/rules/0/matches/3")),
    Mutation("password nobody makes", "passwords_are_made", _password()),
    Mutation(
        "password that is no hash",
        "passwords_are_made",
        _password(**{"betelgeuse.io/generate": ".htpasswd: password:24"}),
    ),
    Mutation("Keycloak gone", "identity_is_asked_inside", remove("Service", "keycloak")),
    Mutation(
        "no keys, no route",
        "identity_is_asked_inside",
        set_field("SecurityPolicy", "llm", f"{_PROVIDER}/remoteJWKS/backendRefs", [{"name": "keycloak", "port": 80}]),
    ),
    Mutation(
        "keys from the Internet",
        "identity_is_asked_inside",
        set_field(
            "SecurityPolicy", "llm", f"{_PROVIDER}/remoteJWKS", {"uri": "https://auth.betelgeuse.test/realms/x/certs"}
        ),
    ),
    Mutation(
        "token endpoint elsewhere",
        "identity_is_asked_inside",
        set_field("SecurityPolicy", "portal", "spec/oidc/provider/tokenEndpoint", "https://auth.betelgeuse.test/token"),
    ),
    Mutation(
        "wrong port of Keycloak", "identity_is_asked_inside", set_field("Service", "keycloak", "spec/ports/0/port", 81)
    ),
    Mutation("no rate limit", "callers_are_limited", drop_field("BackendTrafficPolicy", "llm", "spec/rateLimit")),
    Mutation(
        "one limit for all",
        "callers_are_limited",
        drop_field("BackendTrafficPolicy", "llm", "spec/rateLimit/local/rules/0/clientSelectors"),
    ),
    Mutation(
        "limit by what clients say",
        "callers_are_limited",
        drop_field("SecurityPolicy", "llm", f"{_PROVIDER}/claimToHeaders"),
    ),
    Mutation("no Retry-After", "callers_are_limited", _no_retry_after),
    Mutation("nobody checks requests", "requests_are_checked", drop_field("SecurityPolicy", "llm", "spec/extAuth")),
    Mutation(
        "unchecked requests pass",
        "requests_are_checked",
        set_field("SecurityPolicy", "llm", "spec/extAuth/failOpen", value=True),
    ),
    Mutation(
        "no words for requests that nobody checked",
        "requests_are_checked",
        drop_field("SecurityPolicy", "llm", "spec/extAuth/statusOnError"),
    ),
    Mutation(
        "check without the body",
        "requests_are_checked",
        drop_field("SecurityPolicy", "llm", "spec/extAuth/bodyToExtAuth"),
    ),
    Mutation(
        "check of half the body",
        "requests_are_checked",
        set_field("BackendTrafficPolicy", "llm", "spec/requestBuffer/limit", "8Mi"),
    ),
    Mutation("more slots than are checked", "requests_are_checked", _more_slots),
    Mutation(
        "more places than are shared",
        "requests_are_checked",
        set_field("BackendTrafficPolicy", "llm", "spec/circuitBreaker/maxParallelRequests", 16),
    ),
    Mutation("path that is not checked", "requests_are_checked", _unchecked_path),
    Mutation(
        "people's requests pass unchecked",
        "requests_are_checked",
        set_field("SecurityPolicy", "chat", "spec/extAuth/failOpen", value=True),
    ),
    Mutation(
        "check of half of what people send",
        "requests_are_checked",
        set_field("BackendTrafficPolicy", "chat-model", "spec/requestBuffer/limit", "8Mi"),
    ),
    Mutation(
        "no limit for people",
        "requests_are_checked",
        drop_field("BackendTrafficPolicy", "chat-model", "spec/circuitBreaker"),
    ),
    Mutation("people's path that is not checked", "requests_are_checked", _told_of_chat("paths")),
    Mutation(
        "answers that nobody reads",
        "requests_are_checked",
        set_field(
            "HTTPRoute", "chat", "spec/rules/0/filters/0/requestHeaderModifier/remove", ["Authorization", "Cookie"]
        ),
    ),
    Mutation(
        "answers that no program reads",
        "requests_are_checked",
        set_field("HTTPRoute", "llm", "spec/rules/0/filters/0/requestHeaderModifier/remove", ["Authorization"]),
    ),
    Mutation(
        "one spelling of Bearer",
        "tokens_are_checked",
        set_field(
            "SecurityPolicy",
            "llm",
            f"{_PROVIDER}/extractFrom/headers",
            [{"name": "Authorization", "valuePrefix": "Bearer "}],
        ),
    ),
    Mutation(
        "tokens after another scheme",
        "tokens_are_checked",
        set_field("SecurityPolicy", "llm", f"{_PROVIDER}/extractFrom/headers/1/valuePrefix", "Token "),
    ),
    Mutation(
        "away and full are one",
        "full_is_told_from_away",
        drop_field("ClientTrafficPolicy", "gateway", "spec/headers/enableEnvoyHeaders"),
    ),
    Mutation(
        "the word for full is removed",
        "full_is_told_from_away",
        set_field("ClientTrafficPolicy", "gateway", "spec/headers/lateResponseHeaders/remove", ["X-Envoy-Overloaded"]),
    ),
    Mutation("client says who it is", "identity_headers_are_dropped", _dropped_no_more("x-client-id")),
    Mutation("client says its user", "identity_headers_are_dropped", _dropped_no_more("x-webauth-user")),
    Mutation("client says its user by an old name", "identity_headers_are_dropped", _dropped_no_more("remote-user")),
    Mutation("client says where it is", "identity_headers_are_dropped", _dropped_no_more("x-forwarded-for")),
    Mutation(
        "underscores pass",
        "identity_headers_are_dropped",
        set_field("ClientTrafficPolicy", "gateway", "spec/headers/withUnderscoresAction", "Allow"),
    ),
    Mutation(
        "gate tells by a header nobody drops",
        "identity_headers_are_dropped",
        set_field("SecurityPolicy", "llm", f"{_PROVIDER}/claimToHeaders/0/header", "x-caller"),
    ),
    Mutation(
        "API nobody serves",
        "clients_are_declared_well",
        set_field(
            "Secret",
            "api-client",
            "metadata/annotations",
            {
                "betelgeuse.io/generate": "client-secret: hex:32",
                "betelgeuse.io/oidc-client": "{id: api-client, audiences: [lm]}",
            },
        ),
    ),
    Mutation(
        "client without a gate",
        "clients_are_declared_well",
        add(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {
                    "name": "x-oidc",
                    "namespace": "portal",
                    "annotations": {
                        "betelgeuse.io/generate": "client-secret: hex:32",
                        "betelgeuse.io/oidc-client": "{id: x, login: {host: portal, callback: /oauth2/callback}}",
                    },
                },
            }
        ),
    ),
)
