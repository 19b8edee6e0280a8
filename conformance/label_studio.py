"""Label Studio as its people and their programs see it: pages behind the gate, and the API by a token."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Final

from conformance.probes.http import Answer, Header, Request
from conformance.probes.keycloak import Person
from conformance.probes.oidc import Browser, told
from conformance.secrecy import MASKER, Secret
from conformance.site import Site
from conformance.timeouts import TIMEOUTS
from conformance.verdict import require

TEXTS: Final = """<View><Text name="text" value="$text"/>
<Choices name="kind" toName="text"><Choice value="star"/><Choice value="planet"/></Choices></View>"""
"""What is said of a text: that it speaks of a star or of a planet."""


@dataclass(frozen=True)
class Caller:
    """Somebody who asks Label Studio: a person's browser at one host, or a program with a token at the other."""

    site: Site
    host: str
    credentials: tuple[Header, ...]

    def ask(
        self, method: str, path: str, body: object = None, headers: tuple[Header, ...] = (), raw: bytes = b""
    ) -> Answer:
        """Send one request; `body` as JSON, or `raw` as it is."""
        request = Request.of_api(self.host, path, method, (*self.credentials, *headers), body)
        return self.site.send(replace(request, body=raw or request.body), TIMEOUTS.label_studio_answer)

    def get(self, path: str) -> Any:  # noqa: ANN401 - what the API says
        """Return what the API says of something that is there."""
        return said(self.ask("GET", path), self.host, f"GET {path}")

    def post(self, path: str, body: object) -> Any:  # noqa: ANN401 - what the API says
        """Make something, and return what the API says of it."""
        return said(self.ask("POST", path, body), self.host, f"POST {path}")


def said(answer: Answer, host: str, asked: str) -> Any:  # noqa: ANN401 - what the API says
    """Return what an answer says; the check fails where it is a refusal."""
    require(
        answer.status in {HTTPStatus.OK, HTTPStatus.CREATED},
        where=f"https://{host}, {asked}",
        want="200 or 201",
        got=answer,
        reproduce=f"a browser at https://{host}/",
    )
    return json.loads(answer.body)


def visit(site: Site, person: Person) -> Browser:
    """Have a person come by the login page, and see Label Studio's own page."""
    host = site.host("label")
    browser, trail = site.identity.logged_in(host, person)
    require(
        trail[-1].answer.status == HTTPStatus.OK
        and trail[-1].host == host.name
        and "Label Studio" in trail[-1].answer.text,
        where=f"login at https://{host}",
        want=f"Label Studio's page, for a member of {', '.join(person.groups)}",
        got=f"{told(trail)}: {trail[-1].answer}",
        reproduce=f"a browser at https://{host}/",
    )
    return browser


def person(site: Site, person: Person) -> Caller:
    """Return a person who is signed in."""
    host = site.host("label").name
    return Caller(site, host, visit(site, person).header(host))


def program(site: Site, person: Person, caller: Caller) -> Caller:
    """Return a program with a token that the person has made."""
    token = caller.post("/api/token/", {})["token"]
    MASKER.learn(token)
    host = site.host("label-api").name
    stranger = Caller(site, host, ())
    access = stranger.post("/api/token/refresh", {"refresh": token})["access"]
    MASKER.learn(access)
    shown = f"Bearer $(a token of {person.name})"
    return Caller(site, host, (("Authorization", Secret(f"Bearer {access}", shown)),))


def tasks(caller: Caller, project: int) -> list[dict[str, Any]]:
    """Return the tasks of a project, with all that is said of them."""
    return list(caller.get(f"/api/tasks?project={project}&fields=all")["tasks"])


@contextmanager
def project(caller: Caller) -> Iterator[int]:
    """Give the number of a project of texts, for a while."""
    title = f"conformance {uuid.uuid4().hex[:8]}"
    made = caller.post("/api/projects/", {"title": title, "label_config": TEXTS})
    try:
        yield int(made["id"])
    finally:
        caller.ask("DELETE", f"/api/projects/{made['id']}/")


def choice(kind: str) -> dict[str, Any]:
    """Return what an annotator says of a text: that it is of a kind."""
    return {"from_name": "kind", "to_name": "text", "type": "choices", "value": {"choices": [kind]}}
