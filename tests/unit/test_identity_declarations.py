"""What the tree asks of Keycloak, read from its objects."""

from typing import Any

import pytest

from betelgeuse.errors import UsageError
from betelgeuse.identity.compare import fields
from betelgeuse.identity.declarations import clients, known_audiences
from betelgeuse.identity.realm import GROUPS, OWNED, desired
from betelgeuse.kube import Key, Obj
from betelgeuse.secrets import ANNOTATION as GENERATE
from betelgeuse.tree.clients import ANNOTATION, Client
from tests.unit.fakes import obj

DOMAIN = "a.test"


def policy(*audiences: str) -> Obj:
    """Return a policy that accepts tokens for some audiences."""
    providers = [{"name": "realm", "audiences": list(audiences)}]
    return obj("gateway.envoyproxy.io/v1alpha1", "SecurityPolicy", "llm", "ai", spec={"jwt": {"providers": providers}})


def listeners(*names: str) -> Obj:
    """Return listeners of some hosts, and one without."""
    entries = [{"name": name, "hostname": f"{name}.{DOMAIN}", "port": 443, "protocol": "HTTPS"} for name in names]
    spec = {"listeners": [*entries, {"name": "http", "port": 80, "protocol": "HTTP"}]}
    return obj("gateway.networking.k8s.io/v1", "ListenerSet", "hosts", "ai", spec=spec)


def secret(text: str, name: str = "s", generate: str | None = "client-secret: hex:32", kind: str = "Secret") -> Obj:
    """Return an object with a declaration."""
    annotations = {ANNOTATION: text} | ({GENERATE: generate} if generate else {})
    return obj("v1", kind, name, "n", annotations=annotations)


TREE: list[Obj] = [
    policy("llm", "embeddings"),
    listeners("portal", "auth"),
    obj("gateway.envoyproxy.io/v1alpha1", "SecurityPolicy", "basic", "n", spec={}),
    obj("v1", "ConfigMap", "plain", "n"),
]
PORTAL = "id: portal\nlogin: {host: portal, callback: /oauth2/callback}"
API = "id: api\naudiences: [llm, embeddings, llm]"


def test_both_sorts_are_read() -> None:
    """A client for people has its host, one for programs its audiences; both say where the key is."""
    found = clients([*TREE, secret(PORTAL, "p"), secret(API, "a")], DOMAIN)

    assert found == [
        Client("api", Key("", "Secret", "n", "a"), audiences=("embeddings", "llm")),
        Client("portal", Key("", "Secret", "n", "p"), host="portal.a.test", callback="/oauth2/callback"),
    ]
    assert known_audiences(TREE) == {"llm", "embeddings"}


LOGIN = "id: x\nlogin: {host: portal, callback: "
WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("- a", {}, "must be a map with `id` and either `login` or `audiences`"),
    ("a: [", {}, "not valid YAML"),
    ("audiences: [llm]", {}, "id must be lower-case letters, digits and dashes, got 'None'"),
    ("id: Portal\naudiences: [llm]", {}, "id must be lower-case letters, digits and dashes, got 'Portal'"),
    ("id: account\naudiences: [llm]", {}, "'account' is a client of Keycloak's own"),
    ("id: x", {}, "x needs `login` (people) or `audiences` (programs)"),
    (f"{PORTAL}\naudiences: [llm]", {}, "behind the gateway's login (/oauth2/callback) tokens are for portal alone"),
    (f"{PORTAL}\naudiences: [lm]", {}, "nothing accepts the audience 'lm'; did you mean 'llm'?"),
    ("id: x\naudience: [llm]", {}, "unknown key 'audience'; did you mean 'audiences'? (known: id, login, audiences)"),
    ("id: x\naudiences: llm", {}, "audiences must be a list of APIs"),
    ("id: x\naudiences: []", {}, "audiences must be a list of APIs"),
    (
        "id: x\naudiences: [embedings]",
        {},
        "nothing accepts the audience 'embedings'; did you mean 'embeddings'? (accepted: embeddings, llm)",
    ),
    (PORTAL.replace("}", ", pkce: maybe}"), {}, "login: pkce must be true or false, got 'maybe'"),
    ("id: x\nlogin: portal", {}, "login must be {host: <name below a.test>, callback: <path>}"),
    ("id: x\nlogin: {host: portal, callback: /c, pkce: 1}", {}, "login: pkce must be true or false, got '1'"),
    ("id: x\nlogin: {hosts: portal}", {}, "login: unknown key 'hosts'; did you mean 'host'?"),
    (
        "id: x\nlogin: {host: portl, callback: /c}",
        {},
        "serves portl.a.test; did you mean 'portal'? (hosts: auth, portal)",
    ),
    (f"{LOGIN}'/*'}}", {}, "callback must be one exact path"),
    (f"{LOGIN}oauth2}}", {}, "callback must be one exact path"),
    (f"{LOGIN}//evil.test/}}", {}, "callback must be one exact path"),
    (f"{LOGIN}/a/../b}}", {}, "callback must be one exact path"),
    (f"{LOGIN}/a/..}}", {}, "callback must be one exact path"),
    (API, {"generate": None}, "has no recipe for client-secret, e.g. hex:32"),
    (API, {"generate": "key: hex:32"}, "has no recipe for client-secret, e.g. hex:32"),
    (API, {"kind": "ConfigMap"}, "belongs on the Secret that holds the client's key"),
]


@pytest.mark.parametrize(("text", "rest", "message"), WRONG)
def test_wrong_declarations_are_named(text: str, rest: dict[str, Any], message: str) -> None:
    """One line: which object, which annotation, what was expected, what may have been meant."""
    with pytest.raises(UsageError) as caught:
        clients([*TREE, secret(text, **rest)], DOMAIN)

    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{rest.get('kind', 'Secret')} n/s: annotation {ANNOTATION}")
    assert "\n" not in str(caught.value)


def test_an_id_is_declared_once() -> None:
    """Two Secrets cannot both hold the key of one client."""
    with pytest.raises(UsageError, match="client 'api' is declared twice: by Secret n/a and by Secret n/b"):
        clients([*TREE, secret(API, "a"), secret(API, "b")], DOMAIN)


def test_nothing_to_accept_is_said() -> None:
    """A tree whose policies accept no token says so instead of suggesting."""
    with pytest.raises(UsageError, match=r"the audience 'llm' \(accepted: none\)"):
        clients([secret("id: x\naudiences: [llm]")], DOMAIN)
    with pytest.raises(UsageError, match=r"serves portal\.a\.test \(hosts: none\)"):
        clients([secret(PORTAL)], DOMAIN)


def test_a_browser_client_is_exact() -> None:
    """One redirect address, PKCE, the code flow alone, and tokens that are for this client."""
    found = desired(clients([*TREE, secret(PORTAL)], DOMAIN))
    rep = found.clients["portal"]
    flows = ("standardFlowEnabled", "implicitFlowEnabled", "directAccessGrantsEnabled", "serviceAccountsEnabled")

    assert [rep[flow] for flow in flows] == [True, False, False, False]
    assert (rep["redirectUris"], rep["webOrigins"]) == (["https://portal.a.test/oauth2/callback"], [])
    assert rep["attributes"] == {
        OWNED: "true",
        "pkce.code.challenge.method": "S256",
        "post.logout.redirect.uris": "https://portal.a.test/",
    }
    assert rep["defaultClientScopes"] == ["basic", "email", "groups", "username"]
    assert [mapper["config"]["included.custom.audience"] for mapper in rep["protocolMappers"]] == ["portal"]
    assert not rep["publicClient"]
    assert "secret" not in rep
    assert list(found.scopes) == ["groups", "username"]
    assert found.roles == {"groups": tuple(GROUPS)}


def test_an_application_may_know_no_proof_key() -> None:
    """It says so: then a login without one is taken, and nothing else changes."""
    said = secret(PORTAL.replace("callback}", "callback, pkce: false}"))
    plain, other = (desired(clients([*TREE, each], DOMAIN)).clients["portal"] for each in (secret(PORTAL), said))

    assert plain["attributes"]["pkce.code.challenge.method"] == "S256"
    assert other == plain | {"attributes": plain["attributes"] | {"pkce.code.challenge.method": ""}}
    # Keycloak does not keep what is empty.
    live = {"attributes": {key: value for key, value in other["attributes"].items() if value}}
    assert fields({"attributes": other["attributes"]}, live) == []
    assert fields({"attributes": other["attributes"]}, plain) == ["attributes"]


def test_an_application_of_its_own_sign_in_learns_names() -> None:
    """Only what the gateway keeps in cookies is without them."""
    text = PORTAL.replace("/oauth2/callback", "/login/generic_oauth")

    (found,) = desired(clients([*TREE, secret(text)], DOMAIN)).clients.values()

    assert found["defaultClientScopes"] == ["basic", "email", "groups", "profile"]


def test_an_application_may_ask_apis_in_a_persons_name() -> None:
    """Its own sign-in may bring tokens for the APIs that it names; it gets none by its own key."""
    text = PORTAL.replace("/oauth2/callback", "/login/generic_oauth") + "\naudiences: [llm]"

    listed = clients([*TREE, secret(text)], DOMAIN)
    found = desired(listed)

    assert [client.is_program for client in listed] == [False]
    assert found.clients["portal"]["defaultClientScopes"] == ["basic", "email", "groups", "profile", "audience-llm"]
    assert not found.clients["portal"]["serviceAccountsEnabled"]
    assert found.scopes["audience-llm"]["protocolMappers"][0]["config"]["included.custom.audience"] == "llm"


def test_a_machine_client_gets_its_audiences_and_nothing_else() -> None:
    """No flow but its own key; an audience is a scope; no groups, no roles."""
    found = desired(clients([*TREE, secret(API)], DOMAIN))
    rep = found.clients["api"]
    flows = ("standardFlowEnabled", "implicitFlowEnabled", "directAccessGrantsEnabled", "serviceAccountsEnabled")

    assert [rep[flow] for flow in flows] == [False, False, False, True]
    assert rep["redirectUris"] == []
    assert rep["defaultClientScopes"] == ["basic", "service_account", "audience-embeddings", "audience-llm"]
    assert (rep["optionalClientScopes"], rep["fullScopeAllowed"]) == ([], False)
    assert list(found.scopes) == ["groups", "username", "audience-embeddings", "audience-llm"]
    assert found.scopes["audience-llm"]["protocolMappers"][0]["config"]["included.custom.audience"] == "llm"


def test_the_realm_is_strict() -> None:
    """The promises about the realm: nobody registers, guesses or stays for days; only administrators administer."""
    settings = desired([]).settings

    assert settings["bruteForceProtected"]
    assert not any(settings[name] for name in ("registrationAllowed", "resetPasswordAllowed", "permanentLockout"))
    assert (settings["accessTokenLifespan"], settings["ssoSessionIdleTimeout"]) == (300, 1800)
    assert settings["ssoSessionMaxLifespan"] == 36000
    assert [name for name, rights in GROUPS.items() if rights] == ["platform-admins"]
