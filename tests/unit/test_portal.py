"""The portal: what it finds, whom it believes, and that nothing in it becomes markup."""

import base64
import io
import json
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from portal.app import SECURITY, Portal
from portal.cluster import LISTENERS, NAMESPACES, POLICIES, ROUTES, SLICES, TCP, ClusterError, Discovery
from portal.page import overview
from portal.person import Person, person
from portal.services import Line, Service, World, services


def route(host: str = "llm.example.org", name: str = "llm", **meta: Any) -> dict[str, Any]:  # noqa: ANN401 - free form
    """Return a route that a gateway serves."""
    fine = [{"type": kind, "status": "True"} for kind in ("Accepted", "ResolvedRefs")]
    return {
        "metadata": {"name": name, "namespace": "ai", **meta},
        "spec": {"hostnames": [host], "rules": [{"backendRefs": [{"name": name, "port": 80}]}]},
        "status": {"parents": [{"conditions": fine}]},
    }


def ready(*said: str, name: str = "llm") -> dict[str, Any]:
    """Return endpoints that say this about themselves: yes, no or nothing."""
    known: dict[str, dict[str, bool]] = {"yes": {"ready": True}, "no": {"ready": False}, "nothing": {}}
    endpoints = [{"conditions": known[each]} for each in said]
    return {"metadata": {"namespace": "ai", "labels": {"kubernetes.io/service-name": name}}, "endpoints": endpoints}


def listed(routes: list[dict[str, Any]], slices: list[dict[str, Any]], **more: Any) -> list[Service]:  # noqa: ANN401
    """Return the services of a world with these routes and endpoints."""
    return services(World(routes, slices, **more))


def token(**claims: Any) -> str:  # noqa: ANN401 - any JSON value
    """Return a token as the gateway forwards it: what is not looked at here is nonsense."""
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"Bearer e30.{body}.c2ln"


def test_a_service_is_a_route_with_a_host_and_a_backend() -> None:
    """Redirects and the gateway's own answers are none."""
    redirect = {"metadata": {"name": "r", "namespace": "ai"}, "spec": {"hostnames": ["llm.example.org"], "rules": [{}]}}
    nameless = route()
    del nameless["spec"]["hostnames"]

    found = listed([redirect, nameless, route("b.example.org"), route("a.example.org")], [ready("yes")])

    assert [each.host for each in found] == ["a.example.org", "b.example.org"]


def test_health_counts_ready_endpoints() -> None:
    """Over all slices of the Service; one that says nothing about itself counts."""
    (found,) = listed([route()], [ready("yes", "no"), ready("nothing"), ready("yes", name="other")])

    assert (found.ready, found.trouble) == (2, "")


def test_no_ready_endpoint_is_trouble() -> None:
    """The Service is named."""
    (found,) = listed([route()], [ready("no")])

    assert found.trouble == "nothing ready behind ai/llm"


@pytest.mark.parametrize("kind", ["Accepted", "ResolvedRefs"])
def test_a_refused_route_is_trouble(kind: str) -> None:
    """The gateway's own words are shown."""
    refused = route()
    refused["status"]["parents"][0]["conditions"] = [{"type": kind, "status": "False", "message": "no such service"}]

    (found,) = listed([refused], [ready("yes")])

    assert found.trouble == "no such service"


def test_a_route_nobody_took_up_is_trouble() -> None:
    """A status that is not there yet is not health."""
    fresh = route()
    del fresh["status"]

    assert listed([fresh], [ready("yes")])[0].trouble == "no gateway has taken it up yet"


def test_trouble_of_one_route_is_the_hosts() -> None:
    """Two routes of one host are one service."""
    found = listed([route(name="llm"), route(name="tools")], [ready("yes")])

    assert [each.trouble for each in found] == ["nothing ready behind ai/tools"]


@pytest.mark.parametrize(
    ("meta", "gate"),
    [
        ({"labels": {"betelgeuse.io/gate": "login"}}, "login"),
        ({"labels": {"betelgeuse.io/gate": "door"}}, "unknown"),
        ({"annotations": {"betelgeuse.io/public": "login page"}}, "public"),
        ({}, "unknown"),
    ],
)
def test_gate_is_what_the_route_says(meta: dict[str, Any], gate: str) -> None:
    """A class nobody knows is not repeated."""
    assert listed([route(**meta)], [])[0].gate == gate


@pytest.mark.parametrize(
    ("start", "address"),
    [
        ("/console/", "https://llm.example.org/console/"),
        ("//evil.example", "https://llm.example.org/"),
        ("javascript:alert(1)", "https://llm.example.org/"),
        ("/\\evil.example", "https://llm.example.org/"),
    ],
)
def test_links_stay_on_their_host(start: str, address: str) -> None:
    """A start page is a path and nothing else."""
    assert listed([route(annotations={"betelgeuse.io/start": start})], [])[0].address == address


def database(kind: str, **listener: Any) -> dict[str, Any]:  # noqa: ANN401 - free form
    """Return the routes and listeners of a database that says how to connect."""
    said = 'psql: PGPASSWORD="$({password})" psql host={host} port={port} user={user} {root}\nno line\n'
    server = route(name="llm", annotations={"betelgeuse.io/connect": said})
    del server["spec"]["hostnames"]
    meta = {"name": "llm", "namespace": "ai"}
    return {"tcp": [server | {"kind": kind}], "listeners": [{"metadata": meta, "spec": {"listeners": [listener]}}]}


def test_a_database_is_a_service_with_its_line() -> None:
    """By a port alone it is called as its route, in the domain of the others; nothing in it leads to a page."""
    found = listed([route("a.example.org", "a")], [ready("yes")], **database("TCPRoute", port=5432))

    assert [each.host for each in found] == ["a.example.org", "llm.example.org"]
    assert (found[1].gate, found[1].start, found[1].trouble) == ("account", "", "")
    asked = 'read -rs word; echo "$word"'
    text = f'PGPASSWORD="$({asked})" psql host=llm.example.org port=5432 user=USER stores-ca.pem'
    assert found[1].lines == (Line("psql", text),)


def test_a_database_with_a_page_is_one_service() -> None:
    """The line stands on the page's card."""
    more = database("TLSRoute", port=7687, hostname="llm.example.org")
    (found,) = listed([route(labels={"betelgeuse.io/gate": "login"})], [ready("yes")], **more)

    assert (found.gate, [line.name for line in found.lines]) == ("login", ["psql"])


def test_a_database_that_is_away_is_trouble() -> None:
    """As for every other service."""
    (found,) = listed([], [ready("no")], **database("TCPRoute", port=5432))

    assert found.trouble == "nothing ready behind ai/llm"


def gate(*groups: str) -> dict[str, Any]:
    """Return a login gate that lets these groups in."""
    claims = [{"name": "groups", "values": list(groups)}]
    rules = [{"principal": {"jwt": {"claims": claims}}}]
    meta = {"name": "llm", "namespace": "ai"}
    return {"metadata": meta, "spec": {"targetRefs": [{"name": "llm"}], "authorization": {"rules": rules}}}


def test_a_gate_says_who_may_come_in() -> None:
    """The groups of its rule; a gate without one says nothing."""
    assert listed([route()], [], policies=[gate("researchers")])[0].groups == ("researchers",)
    meta = {"name": "llm", "namespace": "ai"}
    assert (
        listed([route()], [], policies=[{"metadata": meta, "spec": {"targetRefs": [{"name": "llm"}]}}])[0].groups == ()
    )


def test_services_are_in_order_of_their_areas() -> None:
    """By the title that a namespace gives itself, else by its name."""
    other = route("a.example.org", "a", annotations={})
    other["metadata"]["namespace"] = "zoo"
    namespaces = [
        {"metadata": {"name": "ai", "annotations": {"betelgeuse.io/title": "Models"}}},
        {"metadata": {"name": "zoo"}},
    ]

    found = listed([other, route()], [], namespaces=namespaces)

    assert [(each.area, each.name) for each in found] == [("Models", "llm"), ("zoo", "a")]


def test_person_is_the_tokens() -> None:
    """Name and groups of the token that the gateway verified."""
    found = person({"HTTP_AUTHORIZATION": token(preferred_username="ada", groups=["researchers", "annotators"])})

    assert found == Person("ada", ("researchers", "annotators"))


def test_person_of_the_password_gate_has_no_session() -> None:
    """There is nothing to sign out of."""
    assert person({"HTTP_X_FORWARDED_USER": "admin"}) == Person("admin", (), may_log_out=False)


@pytest.mark.parametrize(
    "value",
    ["", "Bearer", "Bearer x", "Bearer a.b.c", "Bearer a.%%%.c", "Basic YTpi", token(), token(preferred_username=7)],
)
def test_unreadable_tokens_name_nobody(value: str) -> None:
    """Never an error page."""
    assert person({"HTTP_AUTHORIZATION": value}) is None


@given(st.text())
def test_any_authorization_header_is_survived(value: str) -> None:
    """Whatever it holds."""
    person({"HTTP_AUTHORIZATION": f"Bearer {value}"})


class Tags(HTMLParser):
    """What a browser would see: elements, attributes, text."""

    def __init__(self, page: bytes) -> None:
        """Read a page."""
        super().__init__()
        self.seen: list[str] = []
        self.attributes: set[str] = set()
        self.words = ""
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.seen.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.words += data


LLM = Service("llm.example.org", "ai", "token", "Language model", "/", 1, "")
_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]))


@given(_TEXT, _TEXT, _TEXT)
def test_no_text_becomes_markup(name: str, group: str, trouble: str) -> None:
    """Elements and attributes are the same whatever people, groups and the API server are called."""
    plain = Tags(overview([Service("h", "n", "login", "d", "/", 0, "t")], Person("p", ("g",))))
    service = Service("h", trouble, "login", group, "/", 0, f"t{trouble}")
    found = Tags(overview([service], Person(f"p{name}", (group,))))

    assert (found.seen, found.attributes) == (plain.seen, plain.attributes)
    assert f"p{name}" in found.words


def test_page_shows_services_and_person() -> None:
    """Address, namespace, gate and health of each; name, groups and the way out."""
    page = overview([LLM], Person("ada", ("researchers",))).decode()

    assert '<a href="https://llm.example.org/">llm</a>' in page
    assert "llm.example.org</code>" in page
    assert "1 services, all up." not in page
    for word in ("1 service, all up.", "ai", "invoke token", "up, 1 ready", "ada", "researchers", "Sign out"):
        assert word in page
    assert page.startswith("<!doctype html>\n")


def test_page_tells_who_may_open_what() -> None:
    """A page that the person's groups do not open says for whom it is; of others nothing is said."""
    service = replace(LLM, groups=("platform-admins",))

    assert "for platform-admins" in overview([service], Person("ada", ("researchers",))).decode()
    assert "for platform-admins" not in overview([service], Person("ada", ("platform-admins",))).decode()


def test_page_shows_lines_to_copy() -> None:
    """With what they are for."""
    page = overview([replace(LLM, lines=(Line("psql", "psql host=<x>"),))], None).decode()

    assert "<dt>psql</dt>" in page
    assert "psql host=&lt;x&gt;</code>" in page


def test_page_says_what_is_down() -> None:
    """In words, not by a colour alone."""
    page = overview([LLM, Service("x", "n", "unknown", "", "/", 0, "nothing ready")], None).decode()

    assert "2 services, 1 down." in page
    assert "down: nothing ready" in page
    assert "the gateway sent none" in page


def test_page_of_the_password_gate_offers_no_way_out() -> None:
    """Neither a group nor a session to end."""
    page = overview([LLM], Person("admin", may_log_out=False)).decode()

    assert "by a password." in page
    assert "group" not in page
    assert "Sign out" not in page


def ask(app: Portal, path: str = "/", method: str = "GET", **headers: str) -> tuple[str, dict[str, str], bytes]:
    """Send one request through the specification's own checker."""
    environ: dict[str, Any] = {"REQUEST_METHOD": method, "SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": ""}
    environ |= {"wsgi.input": io.BytesIO(), **headers}
    setup_testing_defaults(environ)
    answer: list[Any] = []

    def start(status: str, lines: list[tuple[str, str]], *_: object) -> Any:  # noqa: ANN401 - the checker's own type
        answer[:] = [status, dict(lines)]
        return lambda _: None

    parts: Any = validator(app)(environ, start)
    body = b"".join(parts)
    parts.close()
    return answer[0], answer[1], body


def broken() -> list[Service]:
    """Answer as a cluster that is away."""
    message = "the API server does not answer (TimeoutError)"
    raise ClusterError(message)


def test_page_is_served() -> None:
    """With what it says in its headers."""
    status, headers, body = ask(Portal(lambda: [LLM]), HTTP_AUTHORIZATION=token(preferred_username="ada"))

    assert (status, headers["Content-Length"]) == ("200 OK", str(len(body)))
    assert headers["Cache-Control"] == "no-store"
    assert b"ada" in body


@pytest.mark.parametrize("path", ["/", "/style.css", "/script.js", "/nothing", "/healthz"])
def test_every_answer_is_guarded(path: str) -> None:
    """Scripts in the page, frames and forms are forbidden on every path, and the page needs none."""
    _, headers, body = ask(Portal(lambda: [LLM]), path)

    assert SECURITY[0] == ("Content-Security-Policy", headers["Content-Security-Policy"])
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert not {"style", "iframe", "form"} & set(Tags(body).seen)
    assert body.count(b"<script") == body.count(b'<script src="/script.js" defer="defer"></script>')


def test_a_cluster_that_is_away_is_said() -> None:
    """With who you are, and without a traceback."""
    status, headers, body = ask(Portal(broken), HTTP_AUTHORIZATION=token(preferred_username="ada"))

    assert (status, headers["Retry-After"]) == ("503 Service Unavailable", "5")
    assert b"the API server does not answer (TimeoutError)" in body
    assert b"ada" in body


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/x", "GET", "404"), ("/", "POST", "405"), ("/healthz", "GET", "200"), ("/", "HEAD", "200")],
)
def test_other_requests(path: str, method: str, status: str) -> None:
    """Nothing can be changed here, and nothing else is here."""
    assert ask(Portal(lambda: [LLM]), path, method)[0].startswith(status)


def test_health_does_not_ask_the_cluster() -> None:
    """A pod is not killed because the API server is away."""
    assert ask(Portal(broken), "/healthz")[0] == "200 OK"


def test_discovery_asks_at_most_once_in_a_while() -> None:
    """However often the page is loaded."""
    asked: list[str] = []
    now = [0.0]

    def listed(path: str) -> list[dict[str, Any]]:
        asked.append(path)
        return {ROUTES: [route()], SLICES: [ready("yes")]}.get(path, [])

    discovery = Discovery(listed, keep=5.0, clock=lambda: now[0])
    first = discovery.services()
    assert discovery.services() == first
    assert sorted(asked) == sorted([ROUTES, SLICES, *TCP, LISTENERS, POLICIES, NAMESPACES])

    now[0] = 5.0
    assert discovery.services() == first
    assert len(asked) == 14


def test_discovery_asks_again_after_a_failure() -> None:
    """An error is not kept."""
    answers: list[Any] = [ClusterError("away"), [route()], [ready("yes")], [], [], [], [], []]

    def listed(_: str) -> list[dict[str, Any]]:
        answer = answers.pop(0)
        if isinstance(answer, ClusterError):
            raise answer
        return list(answer)

    discovery = Discovery(listed)
    with pytest.raises(ClusterError):
        discovery.services()

    assert [each.host for each in discovery.services()] == ["llm.example.org"]
