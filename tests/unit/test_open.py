"""`invoke open`: the address of an app, and what stands at its door."""

from dataclasses import replace
from typing import Any

import pytest

from betelgeuse import hostfiles, settings
from betelgeuse.errors import UsageError
from betelgeuse.identity.callers import caller
from betelgeuse.kube import Obj
from betelgeuse.workflows.open import lines
from tests.unit.fakes import obj

LOCAL = settings.load("local")
DOMAIN = LOCAL.domain


def app(name: str, spec: dict[str, Any] | None, path: str = "/", **notes: str) -> list[Obj]:
    """Return an app's listener, route and policy."""
    host = f"{name}.{DOMAIN}"
    listener = {"name": "https", "protocol": "HTTPS", "port": 443, "hostname": host}
    match = {"method": "GET", "path": {"type": "Exact", "value": path}}
    rules = [{"matches": [match], "backendRefs": [{"name": name, "port": 80}]}]
    found = [
        obj("gateway.networking.k8s.io/v1", "ListenerSet", name, "n", spec={"listeners": [listener]}),
        # The redirect of the host comes first, and is not the app.
        obj("gateway.networking.k8s.io/v1", "HTTPRoute", f"{name}-redirect", "n", spec={"hostnames": [host]}),
        obj(
            "gateway.networking.k8s.io/v1",
            "HTTPRoute",
            name,
            "n",
            annotations=notes,
            spec={"hostnames": [host], "rules": rules},
        ),
    ]
    if spec is not None:
        target = {"targetRefs": [{"kind": "HTTPRoute", "name": name}]}
        found.append(obj("gateway.envoyproxy.io/v1alpha1", "SecurityPolicy", name, "n", spec=target | spec))
    return found


JWT = {"jwt": {"providers": [{"audiences": ["llm"]}]}}
CLIENT = obj(
    "v1",
    "Secret",
    "api-client",
    "auth",
    annotations={
        "betelgeuse.io/generate": "client-secret: hex:32",
        "betelgeuse.io/oidc-client": "{id: api-client, audiences: [llm]}",
    },
)


def test_an_api_is_explained_with_its_token() -> None:
    """Which clients may ask, and one line that needs no token in an argument."""
    found = list(lines([*app("llm", JWT, "/v1/models"), CLIENT], LOCAL, "llm", "/roots.pem"))

    assert found[0] == f"https://llm.{DOMAIN}/"
    assert found[1] == f"browser: add to the hosts file: 172.30.0.11 llm.{DOMAIN}"
    assert found[2].endswith("clients: api-client")
    assert found[3] == (
        ".venv/bin/invoke token --client=api-client | sed 's/^/Authorization: Bearer /' | "
        f"curl --resolve llm.{DOMAIN}:443:172.30.0.11 --cacert /roots.pem -H @- https://llm.{DOMAIN}/v1/models"
    )


def test_without_an_address_names_are_in_dns() -> None:
    """A server's gateway may have none in its settings: then there is nothing for a hosts file."""
    found = list(lines(app("llm", JWT), replace(LOCAL, gateway_addresses=()), "llm", ""))

    assert not any("hosts file" in line or "--resolve" in line for line in found)
    assert found[-1].endswith(f"| curl -H @- https://llm.{DOMAIN}/")


def test_a_login_names_its_groups() -> None:
    """Who may come in."""
    claims = [{"name": "groups", "values": ["researchers", "annotators"]}]
    rules = [{"action": "Allow", "principal": {"jwt": {"claims": claims}}}]
    spec = {"oidc": {"clientID": "portal"}, **JWT, "authorization": {"rules": rules}}

    found = list(lines(app("portal", spec), LOCAL, "portal", ""))

    assert found[2] == "login: in the browser, as a member of researchers or annotators"
    assert found[3].endswith(f" https://portal.{DOMAIN}/")


def test_a_password_says_where_it_is() -> None:
    """The Secret, never the password."""
    found = list(lines(app("ui", {"basicAuth": {"users": {"name": "ui-users"}}}), LOCAL, "ui", ""))

    assert found[2] == "password: user admin, key `password` of Secret n/ui-users"


def test_a_store_with_a_page_is_explained_as_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one name is a database's and its page's, both are told."""
    objects = [*store("", monkeypatch), *app("data", None, **{"betelgeuse.io/public": "a page"})]

    found = list(lines(objects, LOCAL, "data", ""))

    assert [found[0], f"https://data.{DOMAIN}/" in found] == [f"data.{DOMAIN}:5432", True]


def test_an_open_app_says_why() -> None:
    """The reason stands on the route."""
    notes = {"betelgeuse.io/public": "people log in here", "betelgeuse.io/start": "/account/"}

    found = list(lines(app("auth", None, **notes), LOCAL, "auth", ""))

    assert found[0] == f"https://auth.{DOMAIN}/account/"
    assert found[2] == "open to everybody: people log in here"
    assert found[3].endswith(f" https://auth.{DOMAIN}/account/")


def store(connect: str, monkeypatch: pytest.MonkeyPatch) -> list[Obj]:
    """Return a database's listener, certificate and accounts; its declaration says how to connect."""
    monkeypatch.setattr(hostfiles, "connecting", {"sql": connect}.get)
    listener = {"name": "tcp", "protocol": "TCP", "port": 5432}
    notes = {"betelgeuse.io/generate": "{user: literal:USER, password: password:32}"}
    return [
        obj("gateway.networking.k8s.io/v1", "ListenerSet", "sql", "db", spec={"listeners": [listener]}),
        obj("cert-manager.io/v1", "Certificate", "sql", "db", spec={"dnsNames": [f"data.{DOMAIN}", "sql.db.svc"]}),
        *(
            obj(
                "v1",
                "Secret",
                f"{user}-sql",
                "db",
                labels={"betelgeuse.io/store": "data"},
                annotations={name: text.replace("USER", user) for name, text in notes.items()},
            )
            for user in ("pipelines", "research")
        ),
        obj("v1", "Secret", "research-other", "db", labels={"betelgeuse.io/store": "other"}),
    ]


def test_a_database_is_explained_as_its_declaration_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Address, root, whose password is where, and its own lines with the account of people filled in."""
    objects = store("sql {user}@{host}:{port} {root}\n{password} {other}\n", monkeypatch)

    assert list(lines(objects, LOCAL, "data", "", "/root.pem")) == [
        f"data.{DOMAIN}:5432",
        f"add to the hosts file: 172.30.0.11 data.{DOMAIN}",
        "root to trust: /root.pem",
        "account research: key `password` of Secret db/research-sql",
        "account pipelines: key `password` of Secret db/pipelines-sql",
        f"sql research@data.{DOMAIN}:5432 /root.pem",
        "kubectl -n db get secret research-sql -o 'jsonpath={.data.password}' | base64 -d {other}",
    ]


def test_databases_are_among_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt one is suggested."""
    with pytest.raises(UsageError, match=r"no app 'dat' in local; did you mean 'data'\?; there are data"):
        list(lines(store("", monkeypatch), LOCAL, "dat", ""))


def test_an_unknown_app_is_refused_with_a_suggestion() -> None:
    """And with what there is."""
    with pytest.raises(UsageError, match=r"no app 'lm' in local; did you mean 'llm'\?; there are llm"):
        list(lines(app("llm", JWT), LOCAL, "lm", ""))


def test_a_program_learns_whose_token_to_send() -> None:
    """One that the gate lets in; none where it asks for none."""
    assert caller([*app("llm", JWT), CLIENT], LOCAL, f"llm.{DOMAIN}") == "api-client"
    assert caller(app("auth", None), LOCAL, f"auth.{DOMAIN}") == ""


def test_a_gate_that_no_client_passes_is_told() -> None:
    """Rather than a run of refusals."""
    stranger = {"jwt": {"providers": [{"name": "x", "audiences": ["nobody"]}]}}

    with pytest.raises(UsageError, match=f"llm.{DOMAIN} asks for a token, and no client of local may have one"):
        caller(app("llm", stranger), LOCAL, f"llm.{DOMAIN}")
