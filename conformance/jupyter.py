"""A person's notebook server, used as a browser uses it: pages, the hub's API, cells over a web socket."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import websocket

from betelgeuse.kube import Obj
from betelgeuse.tree import Host
from conformance.probes.http import Answer, Header, Request
from conformance.probes.keycloak import Person
from conformance.probes.oidc import Browser, Hop, told
from conformance.secrecy import Secret
from conformance.site import Site
from conformance.timeouts import TIMEOUTS
from conformance.verdict import poll, require

NAMESPACE: Final = "notebooks"
_POD: Final = "hub.jupyter.org/username"
Cell = Callable[[str, float], str]
"""(code, seconds it may take) -> what it prints."""


class CellError(AssertionError):
    """A cell ended with an exception."""


@dataclass(frozen=True)
class Workplace:
    """Somebody who is signed on to the hub, with a server that may run."""

    site: Site
    host: Host
    person: Person
    browser: Browser
    trail: list[Hop]

    def url(self, path: str) -> str:
        """Return the address of a path."""
        return f"https://{self.host}{path}"

    def own(self, path: str = "") -> str:
        """Return a path of the person's own server."""
        return f"/user/{self.person.name}/{path}"

    def _headers(self, path: str) -> tuple[Header, ...]:
        token = self.browser.cookies(self.host.name, path).get("_xsrf", "")
        cookies = self.browser.header(self.host.name, path)
        return (*cookies, ("X-XSRFToken", Secret(token, "$XSRF")), ("Accept", "application/json"))

    def ask(self, path: str, method: str = "GET", body: object = None) -> Answer:
        """Send a request of a page's script."""
        text = b"" if body is None else json.dumps(body).encode()
        kind: tuple[Header, ...] = (("Content-Type", "application/json"),) if text else ()
        headers = (*self._headers(path), *kind)
        return self.site.send(Request(self.host.name, path, method, headers, text), TIMEOUTS.login)

    def server(self) -> dict[str, Any]:
        """Return what the hub says of the person's server; nothing where there is none."""
        answer = self.ask(f"/hub/api/users/{self.person.name}")
        require(
            answer.status == HTTPStatus.OK,
            where=self.url("/hub/api/users/…"),
            want="what the hub knows of the person",
            got=answer,
            reproduce=f"a browser at {self.url('/hub/home')}",
        )
        found: dict[str, Any] = (json.loads(answer.body).get("servers") or {}).get("") or {}
        return found

    def start(self) -> None:
        """Start the server by the hub's page, wait until it is ready, and open it."""
        begun = self.browser.open(self.url("/hub/spawn"))
        seen, seconds = poll(self.server, lambda server: bool(server.get("ready")), TIMEOUTS.server)
        require(
            seen.get("ready"),
            where=self.url("/hub/spawn"),
            want=f"a server that is ready within {TIMEOUTS.server:.0f} s",
            got=f"{seen or 'none'} after {seconds:.0f} s; {told(begun)}",
            reproduce=f"kubectl -n {NAMESPACE} get pods,events",
        )
        opened = self.browser.open(self.url(self.own("lab")))
        require(
            opened[-1].answer.status == HTTPStatus.OK and opened[-1].url.endswith("/lab"),
            where=self.url(self.own("lab")),
            want="JupyterLab",
            got=told(opened),
            reproduce=f"a browser at {self.url(self.own('lab'))}",
        )

    def stop(self) -> None:
        """Stop the server by the hub's API, and wait until its pod is gone."""
        self.ask(f"/hub/api/users/{self.person.name}/server", "DELETE")
        seen, seconds = poll(lambda: (self.server(), self.pods()), lambda seen: not any(seen), TIMEOUTS.server)
        require(
            not any(seen),
            where=self.url("/hub/api/users/…/server"),
            want="no server and no pod of it",
            got=f"{len(seen[1])} pods, {seen[0] or 'no server'} after {seconds:.0f} s",
            reproduce=f"kubectl -n {NAMESPACE} get pods",
        )

    def pods(self) -> list[Obj]:
        """Return the pods of the person's server."""
        found = self.site.cluster.fresh("v1", "Pod", NAMESPACE)
        return [pod for pod in found if (pod["metadata"].get("labels") or {}).get(_POD) == self.person.name]

    def run(self, code: str, timeout: float = TIMEOUTS.notebook) -> str:
        """Run a cell in a kernel of its own and return what it prints; CellError where it raises."""
        with self.kernel() as cell:
            return cell(code, timeout)

    @contextmanager
    def kernel(self) -> Iterator[Cell]:
        """Yield what runs a cell within some seconds, each in the kernel of the one before, as a notebook does."""
        answer = self.ask(self.own("api/kernels"), "POST", {"name": "python3"})
        require(
            answer.status == HTTPStatus.CREATED,
            where=self.url(self.own("api/kernels")),
            want="a kernel",
            got=answer,
            reproduce=f"a browser at {self.url(self.own('lab'))}",
        )
        kernel = str(json.loads(answer.body)["id"])
        try:
            yield partial(self._execute, kernel)
        finally:
            self.ask(self.own(f"api/kernels/{kernel}"), "DELETE")

    def upload(self, path: str, text: str) -> None:
        """Save a file in the person's home, and the folder that it is in, as the file browser does."""
        folder = path.rpartition("/")[0]
        made = [(folder, {"type": "directory"})] if folder else []
        for place, what in [*made, (path, {"type": "file", "format": "text", "content": text})]:
            answer = self.ask(self.own(f"api/contents/{quote(place)}"), "PUT", what)
            require(
                answer.status in {HTTPStatus.OK, HTTPStatus.CREATED},
                where=self.url(self.own(f"api/contents/{place}")),
                want="saved",
                got=answer,
                reproduce=f"a browser at {self.url(self.own('lab'))}, Upload Files",
            )

    def _execute(self, kernel: str, code: str, timeout: float) -> str:
        path = self.own(f"api/kernels/{kernel}/channels")
        (cookie,) = (value for name, value in self.browser.header(self.host.name, path) if name == "Cookie")
        assert isinstance(cookie, Secret)  # noqa: S101 - as Browser.header makes it
        # The endpoint looks at the certificate before a cookie is sent.
        request = Request(self.host.name, path, headers=(("Cookie", cookie),))
        plain = self.site.endpoint().connect(request, TIMEOUTS.connect)
        url = f"wss://{self.host}{path}"
        with closing(
            websocket.create_connection(
                url, timeout=timeout, socket=plain, cookie=cookie.reveal(), origin=f"https://{self.host}"
            )
        ) as channels:
            # A socket that was there before keeps the time of its connecting.
            channels.settimeout(timeout)
            asked = _execute_request(code)
            channels.send(json.dumps(asked))
            return _printed(channels, asked["header"]["msg_id"], time.monotonic() + timeout)


def _execute_request(code: str) -> dict[str, Any]:
    header = {
        "msg_id": uuid.uuid4().hex,
        "msg_type": "execute_request",
        "session": uuid.uuid4().hex,
        "username": "",
        "version": "5.3",
        "date": "",
    }
    content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
    return {
        "header": header,
        "parent_header": {},
        "metadata": {},
        "content": content,
        "buffers": [],
        "channel": "shell",
    }


def _printed(channels: Any, asked: str, until: float) -> str:  # noqa: ANN401 - of a library without types
    """Return what a request's cell prints until its kernel rests."""
    text: list[str] = []
    while time.monotonic() < until:
        message = json.loads(channels.recv())
        if (message.get("parent_header") or {}).get("msg_id") != asked:
            continue
        kind, content = message["msg_type"], message["content"]
        if kind == "stream":
            text.append(content["text"])
        elif kind == "error":
            said = f"{content['ename']}: {content['evalue']}\n{''.join(text)[-1500:]}"
            raise CellError(said)
        elif kind == "status" and content["execution_state"] == "idle":
            return "".join(text)
    said = f"the cell did not end in time; it printed {''.join(text)[-500:]!r}"
    raise CellError(said)


def sign_on(site: Site, *groups: str, person: Person | None = None, browser: Browser | None = None) -> Workplace:
    """Sign somebody on at the hub, as a browser does; whether that worked is in the trail.

    It is a new person in these groups where no other is named; a browser that is signed on to the platform needs no
    password.
    """
    host, somebody = site.host("jupyter"), person or site.identity.person(*groups)
    used = browser or site.identity.browser()
    trail = used.login(f"https://{host}/hub/home", somebody.name, somebody.password)
    return Workplace(site, host, somebody, used, trail)


@contextmanager
def working(
    site: Site, *groups: str, person: Person | None = None, browser: Browser | None = None
) -> Iterator[Workplace]:
    """Give somebody a server for a while; server and home go with the run."""
    workplace = sign_on(site, *groups, person=person, browser=browser)
    last = workplace.trail[-1]
    require(
        last.answer.status == HTTPStatus.OK and last.host == workplace.host.name,
        where=workplace.url("/hub/home"),
        want=f"the hub's page for a member of {', '.join(groups)}",
        got=told(workplace.trail),
        reproduce=f"a browser at {workplace.url('/')}",
    )
    try:
        workplace.start()
        yield workplace
    finally:
        workplace.stop()
        for claim in site.cluster.fresh("v1", "PersistentVolumeClaim", NAMESPACE):
            if (claim["metadata"].get("labels") or {}).get(_POD) == workplace.person.name:
                site.cluster.kube.delete(claim)
