"""What a reconcile asks of Keycloak, given what Keycloak says of itself: answers are of the shapes it really gives."""

import copy
from typing import Any

import pytest

from betelgeuse.errors import BetelgeuseError, UsageError
from betelgeuse.identity import people
from betelgeuse.identity.admin import KeycloakError, Problem, user_id
from betelgeuse.identity.compare import merged, told
from betelgeuse.identity.people import Person
from betelgeuse.identity.realm import GROUPS, MASTER, OWNED, SETTINGS, Rep, desired
from betelgeuse.identity.reconcile import Reconcile
from betelgeuse.kube import Key
from betelgeuse.tree import Client

PORTAL = Client("portal", Key("", "Secret", "portal", "portal-oidc"), host="portal.a.test", callback="/oauth2/callback")
API = Client("api", Key("", "Secret", "auth", "api"), audiences=("llm",))
WANTED = desired([API, PORTAL])
SECRETS = {"portal": "canary-1", "api": "canary-2"}
BUILT_IN_SCOPES = ("basic", "email", "profile", "service_account", "roles", "offline_access")
ROLE = {"id": "role-1", "name": "realm-admin", "composite": True, "clientRole": True, "containerId": "id-management"}


class Answers:
    """Answers by path, and a log of what was asked to change."""

    def __init__(self, answers: dict[str, Any]) -> None:
        """Take what each path holds."""
        self.answers = answers
        self.log: list[tuple[str, str, Any]] = []

    def get(self, path: str) -> Any:  # noqa: ANN401 - plain data of any shape
        """Return what a path holds, None for none."""
        return copy.deepcopy(self.answers.get(path))

    def post(self, path: str, body: object) -> str:
        """Note it; the id is new."""
        self.log.append(("POST", path, body))
        if path == "":
            self.answers |= fresh().answers
        return f"new-{len(self.log)}"

    def put(self, path: str, body: object) -> None:
        """Note it."""
        self.log.append(("PUT", path, body))

    def delete(self, path: str, body: object = None) -> None:
        """Note it."""
        self.log.append(("DELETE", path, body))

    @property
    def written(self) -> list[str]:
        """What was written, without bodies."""
        return [f"{verb} {path}" for verb, path, _ in self.log]


def _mappers(rep: Rep) -> list[Rep]:
    return [
        {"id": f"m-{entry['name']}", "consentRequired": False, **copy.deepcopy(entry)}
        for entry in rep["protocolMappers"]
    ]


def _built_in_clients() -> list[Rep]:
    reps: list[Rep] = [
        {"id": "id-management", "clientId": "realm-management", "attributes": {"realm_client": "true"}},
        {"id": "id-cli", "clientId": "admin-cli", "enabled": True, "directAccessGrantsEnabled": True, "attributes": {}},
        {"id": "id-account", "clientId": "account"},
    ]
    return reps


def _role(name: str) -> Rep:
    return {"id": f"r-{name}", "name": name, "composite": False, "attributes": {OWNED: ["true"]}}


def fresh() -> Answers:
    """Return a realm as Keycloak makes it, with its settings already declared."""
    return Answers(
        {
            "/master": {"realm": "master", "id": "m", **MASTER, "smtpServer": {}},
            "/betelgeuse": {"id": "r", **SETTINGS, "smtpServer": {}, "browserFlow": "browser"},
            "/betelgeuse/client-scopes": [{"id": f"s-{name}", "name": name} for name in BUILT_IN_SCOPES],
            "/betelgeuse/clients": _built_in_clients(),
            "/betelgeuse/groups?briefRepresentation=false": [],
            "/betelgeuse/roles?briefRepresentation=false": [{"id": "r-own", "name": "offline_access"}],
            **{f"/betelgeuse/roles/{name}": _role(name) for name in GROUPS},
            "/betelgeuse/clients/id-management/roles/realm-admin": ROLE,
        }
    )


def settled() -> Answers:
    """Return a realm in which everything is as declared, and things of people's own."""
    found = fresh()
    scopes = [{"id": f"s-{name}", **rep, "protocolMappers": _mappers(rep)} for name, rep in WANTED.scopes.items()]
    found.answers["/betelgeuse/client-scopes"] += scopes
    clients = _built_in_clients()
    clients[1] |= {"enabled": False, "directAccessGrantsEnabled": False}
    clients += [
        {"id": f"id-{name}", "secret": SECRETS[name], **copy.deepcopy(rep), "protocolMappers": _mappers(rep)}
        for name, rep in WANTED.clients.items()
    ]
    clients[-1]["attributes"]["realm_client"] = "false"
    found.answers["/betelgeuse/clients"] = [*clients, {"id": "id-own", "clientId": "somebodys", "attributes": {}}]
    groups = [
        {
            "id": f"g-{name}",
            "name": name,
            "attributes": {OWNED: ["true"]},
            "clientRoles": {"realm-management": [*rights]},
            "realmRoles": [name],
        }
        for name, rights in GROUPS.items()
    ]
    found.answers["/betelgeuse/groups?briefRepresentation=false"] = [*groups, {"id": "g-own", "name": "chess club"}]
    roles = [_role(name) for name in GROUPS]
    found.answers["/betelgeuse/roles?briefRepresentation=false"] += roles
    found.answers["/betelgeuse/client-scopes/s-groups/scope-mappings/realm"] = roles
    return found


def reconcile(api: Answers, *, dry_run: bool = False, secrets: dict[str, str] | None = None) -> list[str]:
    """Run over the answers; a secret is never told."""
    changes = Reconcile(api, WANTED, SECRETS if secrets is None else secrets, dry_run=dry_run).run()
    assert "canary" not in "".join(changes)
    return changes


def client(api: Answers, name: str) -> Rep:
    """Return the answer about a client, to be broken."""
    found: Rep = next(rep for rep in api.answers["/betelgeuse/clients"] if rep["clientId"] == name)
    return found


def test_a_settled_realm_is_left_alone() -> None:
    """The second deploy writes nothing, and people's own clients and groups are not looked at."""
    api = settled()

    assert (reconcile(api), api.log) == ([], [])


def test_a_missing_realm_is_made_whole() -> None:
    """Realm, groups with their roles and rights, scopes, clients with their secrets; the password grant is closed."""
    api = fresh()
    missing = Answers({key: value for key, value in api.answers.items() if key == "/master"})

    changes = reconcile(missing)

    assert changes == [
        "realm betelgeuse: created, with groups platform-admins, researchers, annotators and clients api, portal",
        *(f"role {name}: created" for name in GROUPS),
        "group platform-admins: created",
        "group platform-admins: role given",
        "group platform-admins: right realm-admin given",
        "group researchers: created",
        "group researchers: role given",
        "group annotators: created",
        "group annotators: role given",
        "scope groups: created",
        *(f"scope groups: role {name} added" for name in sorted(GROUPS)),
        "scope username: created",
        "scope audience-llm: created",
        "client api: created",
        "client portal: created",
        "client admin-cli: enabled true -> false, directAccessGrantsEnabled true -> false",
    ]
    bodies = {body["clientId"]: body for verb, path, body in missing.log if path == "/betelgeuse/clients"}
    assert {name: body["secret"] for name, body in bodies.items()} == SECRETS
    assert ("POST", "/betelgeuse/groups/new-6/role-mappings/clients/id-management", [ROLE]) in missing.log
    assert ("POST", "/betelgeuse/groups/new-6/role-mappings/realm", [_role("platform-admins")]) in missing.log


def test_a_dry_run_writes_nothing() -> None:
    """It tells the same; of a realm that is not there it tells the outline, and missing keys do not matter."""
    api, nothing = fresh(), Answers({"/master": dict(MASTER)})

    told_dry = reconcile(api, dry_run=True, secrets={})
    told_really = reconcile(fresh())

    given = (" right ", ": role ", "given")
    assert [line for line in told_really if not any(word in line for word in given)] == told_dry
    assert api.log == []
    assert len(reconcile(nothing, dry_run=True)) == 1
    assert nothing.log == []


def test_edits_in_the_console_are_taken_back() -> None:
    """Each edit of something declared is one change; the rest of what is set is sent back as it was."""
    api = settled()
    api.answers["/betelgeuse"]["accessTokenLifespan"] = 86400
    api.answers["/master"]["bruteForceProtected"] = False
    portal, machine = client(api, "portal"), client(api, "api")
    portal["redirectUris"] = ["https://portal.a.test/oauth2/callback", "https://evil.test/*"]
    portal["attributes"]["pkce.code.challenge.method"] = "plain"
    portal["protocolMappers"][0]["config"]["included.custom.audience"] = "llm"
    machine["secret"] = "canary-3"  # noqa: S105 - a test's value
    machine["defaultClientScopes"] = ["basic", "roles", "service_account"]
    machine["optionalClientScopes"] = ["offline_access"]
    machine["protocolMappers"] = [{"id": "m-extra", "name": "extra"}]

    changes = reconcile(api)

    assert changes == [
        "realm master: bruteForceProtected false -> true",
        "realm betelgeuse: accessTokenLifespan 86400 -> 300",
        "client api: secret differs",
        "client api, mapper extra: removed",
        "client api: default scope roles removed",
        "client api: default scope audience-llm added",
        "client api: optional scope offline_access removed",
        (
            'client portal: redirectUris ["https://portal.a.test/oauth2/callback", "https://evil.test/*"] -> '
            '["https://portal.a.test/oauth2/callback"], attributes.pkce.code.challenge.method "plain" -> "S256"'
        ),
        'client portal: mapper audience-portal: config.included.custom.audience "llm" -> "portal"',
    ]
    sent = {path: body for _, path, body in api.log}
    assert sent["/betelgeuse"]["browserFlow"] == "browser"
    assert sent["/betelgeuse/clients/id-portal"]["attributes"]["realm_client"] == "false"
    assert sent["/betelgeuse/clients/id-portal/protocol-mappers/models/m-audience-portal"]["id"] == "m-audience-portal"
    assert "DELETE /betelgeuse/clients/id-api/default-client-scopes/s-roles" in api.written
    assert "PUT /betelgeuse/clients/id-api/default-client-scopes/s-audience-llm" in api.written
    assert "DELETE /betelgeuse/clients/id-api/protocol-mappers/models/m-extra" in api.written


def test_groups_have_exactly_their_rights() -> None:
    """A right given by hand is taken away, a mark that got lost is set again."""
    api = settled()
    groups = api.answers["/betelgeuse/groups?briefRepresentation=false"]
    groups[1]["clientRoles"] = {"realm-management": ["realm-admin"], "account": ["view-profile"]}
    groups[2]["attributes"] = {"color": ["red"]}

    changes = reconcile(api)

    assert changes == ["group researchers: right realm-admin taken away", "group annotators: marked as ours"]
    assert api.log[0] == ("DELETE", "/betelgeuse/groups/g-researchers/role-mappings/clients/id-management", [ROLE])
    assert api.log[1][2]["attributes"] == {"color": ["red"], OWNED: ["true"]}


def test_tokens_tell_our_roles_alone() -> None:
    """A role that a scope may tell besides is taken out, one that is missing is put in; an old mapper goes last."""
    api = settled()
    api.answers["/betelgeuse/client-scopes/s-groups/scope-mappings/realm"] = [_role("researchers"), _role("chess")]
    roles = api.answers["/betelgeuse/roles?briefRepresentation=false"]
    roles[0] |= {"name": "chess", "attributes": {OWNED: ["true"]}}
    roles[1]["attributes"] = {}
    api.answers["/betelgeuse/groups?briefRepresentation=false"][2]["realmRoles"] = []
    scope = next(rep for rep in api.answers["/betelgeuse/client-scopes"] if rep["name"] == "groups")
    scope["protocolMappers"] = [{"id": "m-old", "name": "groups"}]

    assert reconcile(api) == [
        "role platform-admins: marked as ours",
        "role chess: removed",
        "group annotators: role given",
        "scope groups: role annotators added",
        "scope groups: role platform-admins added",
        "scope groups: role chess removed",
        "scope groups: mapper platform-groups added",
        "scope groups, mapper groups: removed",
    ]


def test_only_what_is_ours_is_pruned() -> None:
    """What carries the mark and is declared no more goes; everything else stays."""
    api = settled()
    api.answers["/betelgeuse/clients"] += [{"id": "id-old", "clientId": "old", "attributes": {OWNED: "true"}}]
    api.answers["/betelgeuse/client-scopes"] += [{"id": "s-old", "name": "old", "attributes": {OWNED: "true"}}]
    api.answers["/betelgeuse/groups?briefRepresentation=false"] += [
        {"id": "g-old", "name": "old", "attributes": {OWNED: ["true"]}}
    ]

    assert reconcile(api, dry_run=True) == ["group old: removed", "scope old: removed", "client old: removed"]
    assert reconcile(api) == ["group old: removed", "scope old: removed", "client old: removed"]
    assert api.written == [
        "DELETE /betelgeuse/groups/g-old",
        "DELETE /betelgeuse/client-scopes/s-old",
        "DELETE /betelgeuse/clients/id-old",
    ]


def test_a_missing_mapper_is_added() -> None:
    """Without it tokens would lack the audience."""
    api = settled()
    next(rep for rep in api.answers["/betelgeuse/client-scopes"] if rep["name"] == "audience-llm")[
        "protocolMappers"
    ] = []

    assert reconcile(api) == ["scope audience-llm: mapper audience-llm added"]
    assert api.written == ["POST /betelgeuse/client-scopes/s-audience-llm/protocol-mappers/models"]


def test_a_client_without_its_key_is_an_error() -> None:
    """Keycloak would invent a secret that nobody has."""
    with pytest.raises(
        BetelgeuseError, match=r"client api: its Secret \(Declared by Secret auth/api\) holds no key yet"
    ):
        reconcile(fresh(), secrets={"portal": "x"})


def test_comparison_looks_at_declared_fields_only() -> None:
    """Order in lists and undeclared fields do not matter; long values are cut; a merge keeps what it does not set."""
    live = {"a": ["2", "1"], "b": {"x": 1, "y": 2}, "c": 3, "protocolMappers": []}

    assert told({"a": ["1", "2"], "b": {"x": 1}, "protocolMappers": [1]}, live) == ""
    assert told({"b": {"z": {"q": 1}}, "d": "x" * 200}, live) == f'b.z.q null -> 1, d null -> "{"x" * 98}…'
    assert told({"e": {"f": 1}}, live) == "e.f null -> 1"
    assert merged(live, {"b": {"x": 5}, "c": 4, "n": {"k": 1}, "protocolMappers": [1]}) == {
        "a": ["2", "1"],
        "b": {"x": 5, "y": 2},
        "c": 4,
        "n": {"k": 1},
        "protocolMappers": [],
    }


def accounts(*names: str) -> Answers:
    """Return a realm with groups and some people."""
    groups = [{"id": f"g-{name}", "name": name, "path": f"/{name}", "subGroups": []} for name in GROUPS]
    reps = {name: {"id": f"u-{name}", "username": name, "email": f"{name}@a.test", "enabled": True} for name in names}
    users = {f"/betelgeuse/users?exact=true&username={name}": [rep] for name, rep in reps.items()}
    whole = {f"/betelgeuse/users/u-{name}": rep for name, rep in reps.items()}
    # Keycloak takes an empty name for no filter, and a name in any case for the same.
    filters = {"/betelgeuse/users?exact=true&username=": list(reps.values())}
    filters |= {f"/betelgeuse/users?exact=true&username={name.upper()}": [rep] for name, rep in reps.items()}
    return Answers({"/betelgeuse/groups": groups, **users, **whole, **filters})


def test_an_account_is_made_once() -> None:
    """A new one gets a password for one login; an old one keeps its own and is added to groups."""
    api = accounts("bob")

    assert people.ensure(api, Person("ann", "ann@a.test", "Ann", "O'Neil-Łoś"), ["researchers"], "first") == (True, [])
    assert people.ensure(api, Person("bob"), ["annotators"], "") == (False, [])
    assert [people.exists(api, name) for name in ("ann", "bob")] == [False, True]
    assert api.log == [
        (
            "POST",
            "/betelgeuse/users",
            {
                "username": "ann",
                "enabled": True,
                "email": "ann@a.test",
                "firstName": "Ann",
                "lastName": "O'Neil-Łoś",
                "emailVerified": True,
            },
        ),
        ("PUT", "/betelgeuse/users/new-1/groups/g-researchers", None),
        ("PUT", "/betelgeuse/users/new-1/reset-password", {"type": "password", "value": "first", "temporary": True}),
        ("PUT", "/betelgeuse/users/u-bob/groups/g-annotators", None),
    ]


def test_an_unknown_group_makes_no_account() -> None:
    """The groups are looked up first, so that a typing error leaves nothing behind."""
    api = accounts()

    with pytest.raises(
        UsageError, match=r"no group 'researcher'; did you mean 'researchers'\? \(there are: annotators"
    ):
        people.ensure(api, Person("ann"), ["researcher"], "first")
    assert api.log == []


def test_details_of_an_existing_account_are_set() -> None:
    """What was said and differs is set, the rest of the account stays; what is so already is not written."""
    api = accounts("bob")
    said = Person("BOB", "robert@a.test", last_name="Bauer")

    assert people.ensure(api, said, [], "") == (False, ["email", "lastName"])
    [(verb, path, body)] = api.log
    assert (verb, path) == ("PUT", "/betelgeuse/users/u-bob")
    assert body == {
        "id": "u-bob",
        "username": "bob",
        "enabled": True,
        "email": "robert@a.test",
        "emailVerified": True,
        "lastName": "Bauer",
    }
    api.answers[path] = body
    assert people.ensure(api, said, [], "") == (False, [])
    assert len(api.log) == 1


def test_only_the_account_of_that_name_is_found() -> None:
    """Whatever a server makes of a name, an account of another name is not it."""
    api = accounts("ann", "bob")
    api.answers["/betelgeuse/users?exact=true&username=eve"] = api.answers["/betelgeuse/users?exact=true&username=ann"]

    assert user_id(api, "betelgeuse", "") == ""
    assert user_id(api, "betelgeuse", "eve") == ""
    assert user_id(api, "betelgeuse", "ANN") == "u-ann"


def test_only_the_role_of_that_name_is_given() -> None:
    """Whatever a server answers for a role, another role is not handed out."""
    for wrong in (None, {**ROLE, "name": "manage-users"}):
        api = fresh()
        api.answers["/betelgeuse/clients/id-management/roles/realm-admin"] = wrong
        with pytest.raises(BetelgeuseError, match="Keycloak has no role 'realm-admin' of client realm-management"):
            Reconcile(api, WANTED, SECRETS).run()


NO_PERSON = [
    ({"name": ""}, "--name must be 3 to 255 letters, .* got ''"),
    ({"name": "a b c"}, "--name must be"),
    ({"name": "a\x1b[31m"}, r"--name must be .*got 'a\\x1b\[31m'"),
    ({"name": "a" * 256}, "--name must be"),
    ({"name": "ann", "email": ""}, "--email must be a mail address, got ''"),
    ({"name": "ann", "email": "ann"}, "--email must be"),
    ({"name": "ann", "first_name": " "}, "--first-name must be a name"),
    ({"name": "ann", "last_name": "O (Neil)"}, "--last-name must be"),
]


@pytest.mark.parametrize(("details", "words"), NO_PERSON)
def test_no_person_is_told_before_anybody_is_asked(details: dict[str, str], words: str) -> None:
    """An empty name, signs that Keycloak bars, no mail address: which option, and what is right."""
    with pytest.raises(UsageError, match=words):
        Person(**details)


@pytest.mark.parametrize(
    ("problems", "words"),
    [
        ([Problem("error-username-invalid-character", "username")], "--name must be 3 to 255 letters.*got 'Ωmega'"),
        ([Problem("error-invalid-email", "email")], "--email must be a mail address, got 'a@b.c'"),
        ([Problem("User exists with same email")], "--email: another account has the address 'a@b.c'"),
    ],
)
def test_what_keycloak_refuses_is_wrong_input(problems: list[Problem], words: str) -> None:
    """Its rules may be stricter than ours: the option is named all the same."""

    class Refusing(Answers):
        """Takes no account."""

        def post(self, path: str, body: object) -> str:
            """Refuse it."""
            message = f"refused {path} {body}"
            raise KeycloakError(message, 400, problems)

    api = Refusing(accounts().answers)
    with pytest.raises(UsageError, match=words):
        people.ensure(api, Person("Ωmega", "a@b.c"), [], "first")
    problems.clear()
    with pytest.raises(KeycloakError, match="refused"):
        people.ensure(api, Person("Ωmega"), [], "first")
