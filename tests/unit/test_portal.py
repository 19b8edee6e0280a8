"""The portal: what it finds, whom it believes, and that nothing in it becomes markup."""

import base64
import io
import json
from html.parser import HTMLParser
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from portal.app import SECURITY, Portal
from portal.cluster import ROUTES, ClusterError, Discovery
from portal.page import overview
from portal.person import Person, person
from portal.services import Service, services


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


def token(**claims: Any) -> str:  # noqa: ANN401 - any JSON value
    """Return a token as the gateway forwards it: what is not looked at here is nonsense."""
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"Bearer e30.{body}.c2ln"


def test_a_service_is_a_route_with_a_host_and_a_backend() -> None:
    """Redirects and the gateway's own answers are none."""
    redirect = {"metadata": {"name": "r", "namespace": "ai"}, "spec": {"hostnames": ["llm.example.org"], "rules": [{}]}}
    nameless = route()
    del nameless["spec"]["hostnames"]

    found = services([redirect, nameless, route("b.example.org"), route("a.example.org")], [ready("yes")])

    assert [each.host for each in found] == ["a.example.org", "b.example.org"]


def test_health_counts_ready_endpoints() -> None:
    """Over all slices of the Service; one that says nothing about itself counts."""
    (found,) = services([route()], [ready("yes", "no"), ready("nothing"), ready("yes", name="other")])

    assert (found.ready, found.trouble) == (2, "")


def test_no_ready_endpoint_is_trouble() -> None:
    """The Service is named."""
    (found,) = services([route()], [ready("no")])

    assert found.trouble == "nothing ready behind ai/llm"


@pytest.mark.parametrize("kind", ["Accepted", "ResolvedRefs"])
def test_a_refused_route_is_trouble(kind: str) -> None:
    """The gateway's own words are shown."""
    refused = route()
    refused["status"]["parents"][0]["conditions"] = [{"type": kind, "status": "False", "message": "no such service"}]

    (found,) = services([refused], [ready("yes")])

    assert found.trouble == "no such service"


def test_a_route_nobody_took_up_is_trouble() -> None:
    """A status that is not there yet is not health."""
    fresh = route()
    del fresh["status"]

    assert services([fresh], [ready("yes")])[0].trouble == "no gateway has taken it up yet"


def test_trouble_of_one_route_is_the_hosts() -> None:
    """Two routes of one host are one service."""
    found = services([route(name="llm"), route(name="tools")], [ready("yes")])

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
    assert services([route(**meta)], [])[0].gate == gate


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
    assert services([route(annotations={"betelgeuse.io/start": start})], [])[0].address == address


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

    assert '<a href="https://llm.example.org/">llm.example.org</a>' in page
    assert "1 services, all up." not in page
    for word in ("1 service, all up.", "ai", "invoke token", "up, 1 ready", "ada", "researchers", "Sign out"):
        assert word in page
    assert page.startswith("<!doctype html>\n")


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


@pytest.mark.parametrize("path", ["/", "/style.css", "/nothing", "/healthz"])
def test_every_answer_is_guarded(path: str) -> None:
    """Scripts, frames and forms are forbidden on every path, and the page needs none."""
    _, headers, body = ask(Portal(lambda: [LLM]), path)

    assert SECURITY[0] == ("Content-Security-Policy", headers["Content-Security-Policy"])
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert not {"script", "style", "iframe", "form"} & set(Tags(body).seen)


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
        return [route()] if path == ROUTES else [ready("yes")]

    discovery = Discovery(listed, keep=5.0, clock=lambda: now[0])
    first = discovery.services()
    assert discovery.services() == first
    assert len(asked) == 2

    now[0] = 5.0
    assert discovery.services() == first
    assert len(asked) == 4


def test_discovery_asks_again_after_a_failure() -> None:
    """An error is not kept."""
    answers: list[Any] = [ClusterError("away"), [route()], [ready("yes")]]

    def listed(_: str) -> list[dict[str, Any]]:
        answer = answers.pop(0)
        if isinstance(answer, ClusterError):
            raise answer
        return list(answer)

    discovery = Discovery(listed)
    with pytest.raises(ClusterError):
        discovery.services()

    assert [each.host for each in discovery.services()] == ["llm.example.org"]
