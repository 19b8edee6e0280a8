"""n8n: whoever the gate lets in works as an account of their own, workflows run, and nobody comes in another way."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from itertools import takewhile
from typing import Any, Final

import pytest
import requests

from betelgeuse.kube import Obj
from betelgeuse.tree import Host, Ref
from conformance.codeflow import page_tokens
from conformance.identity import ready
from conformance.kept import kept
from conformance.postgres import outside
from conformance.probes import jwt
from conformance.probes.http import Answer, Header, Request
from conformance.probes.jwt import FORGERIES, TOO_LARGE, Material
from conformance.probes.keycloak import PREFIX
from conformance.probes.oidc import Browser, told
from conformance.secrecy import MASKER, Secret
from conformance.site import Site
from conformance.stores import account
from conformance.timeouts import TIMEOUTS
from conformance.verdict import poll, require, require_none

pytestmark = pytest.mark.feature("n8n")

_SECRETS: Final = Ref("Secret", "automation", "n8n", "v1")
_ALERTS: Final = Ref("Secret", "automation", "n8n-alerts", "v1")
_SERVICE: Final = Ref("Service", "automation", "n8n", "v1")
_PORT: Final = 5678
_PODS: Final = "kubectl -n automation get pods"
_LOG: Final = "kubectl -n automation logs deployment/n8n -c n8n"
_SERVES: Final = "Editor is now accessible"
_BEFORE: Final = "Last session crashed"
"""What it says of a pod before it that was killed."""
_OWNER: Final = "owner@automation.invalid"
_START: Final = 420.0
"""Seconds until n8n serves again: it computes for a quarter of a minute, and a busy machine gives it little of one."""
_PUBLISHED: Final = 30.0
"""Seconds until the webhook of a workflow that was just published answers."""
_WAY: Final = 60.0
"""Seconds that an alert may take from Alertmanager through Kafka to PostgreSQL."""
_CODE: Final = """
let files = 'allowed';
try { require('fs') } catch { files = 'refused' }
return [{json: {answer: $input.first().json.body.n * 2 + 1, process: typeof process, files}}];
"""


@dataclass(frozen=True)
class Caller:
    """Somebody at the door of n8n."""

    site: Site
    host: Host
    headers: tuple[Header, ...]

    def ask(self, method: str, path: str, body: object = None) -> Answer:
        """Send a request as the page's scripts do."""
        return self.site.send(Request.of_api(self.host.name, path, method, self.headers, body))

    def get(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - any JSON value
        """Return what n8n answers; nothing but success will do."""
        answer = self.ask(method, path, body)
        require(
            answer.status == HTTPStatus.OK,
            where=f"{method} https://{self.host}{path}",
            want="200",
            got=answer,
            reproduce=f"a browser at https://{self.host}",
        )
        return json.loads(answer.body)["data"]

    def account(self) -> dict[str, Any]:
        """Return the account that n8n takes the caller for."""
        found: dict[str, Any] = self.get("GET", "/rest/login")
        return found


def _caller(site: Site, browser: Browser) -> Caller:
    host = site.host("n8n")
    return Caller(site, host, browser.header(host.name))


@pytest.fixture(scope="module", autouse=True)
def _tidy(site: Site) -> Iterator[None]:
    """Leave no account of the run's behind."""
    yield
    if site.features["n8n"]:
        _forget(site)


@pytest.fixture
def member(site: Site) -> Caller:
    """Return somebody who is logged in."""
    host = site.host("n8n")
    return Caller(site, host, site.credentials(host))


def _hook(site: Site, path: str, body: object, *headers: Header) -> Answer:
    """Call a webhook as the world does."""
    return site.send(Request.of_api(site.host("hooks").name, f"/webhook/{path}", "POST", headers, body))


def _workflow(path: str) -> dict[str, Any]:
    """Return a workflow: a webhook, a line of JavaScript, an answer."""

    def node(name: str, kind: str, version: float, at: int, **parameters: object) -> dict[str, Any]:
        place = {"id": name.lower(), "name": name, "position": [at, 0], "parameters": parameters}
        return {**place, "type": f"n8n-nodes-base.{kind}", "typeVersion": version}

    hook = node("Webhook", "webhook", 2, 0, httpMethod="POST", path=path, responseMode="responseNode", options={})
    code = node("Code", "code", 2, 200, jsCode=_CODE)
    body = "={{ JSON.stringify($json) }}"
    respond = node("Respond", "respondToWebhook", 1.1, 400, respondWith="json", responseBody=body, options={})

    def leads_to(name: str) -> dict[str, Any]:
        return {"main": [[{"node": name, "type": "main", "index": 0}]]}

    return {
        "name": f"conformance {path}",
        "nodes": [{**hook, "webhookId": path}, code, respond],
        "connections": {"Webhook": leads_to("Code"), "Code": leads_to("Respond")},
        "settings": {"executionOrder": "v1"},
    }


@contextmanager
def _published(member: Caller) -> Iterator[tuple[str, str]]:
    """Draw and publish a workflow; yield its id and the path of its webhook. It goes behind the check."""
    path = f"conformance-{uuid.uuid4().hex[:12]}"
    made = member.get("POST", "/rest/workflows", _workflow(path))
    try:
        member.get("POST", f"/rest/workflows/{made['id']}/activate", {"versionId": made["versionId"]})
        yield made["id"], path
    finally:
        member.ask("POST", f"/rest/workflows/{made['id']}/archive")
        member.ask("DELETE", f"/rest/workflows/{made['id']}")


def _answers(site: Site, path: str, timeout: float) -> None:
    """Call a workflow's webhook until it answers, and see that its code ran where it should."""
    answer, seconds = poll(lambda: _hook(site, path, {"n": 20}), lambda answer: answer.status == HTTPStatus.OK, timeout)
    wanted = {"answer": 41, "process": "undefined", "files": "refused"}
    require(
        answer.status == HTTPStatus.OK and json.loads(answer.body) == wanted,
        where=f"https://{site.host('hooks')}/webhook/{path}",
        want=f"{wanted} within {timeout:.0f} s",
        got=f"{answer} after {seconds:.0f} s",
        reproduce="kubectl -n automation logs deployment/n8n --all-containers",
    )


@pytest.mark.parametrize("group", ["platform-admins", "researchers"])
def test_person_has_an_account_of_their_own(site: Site, group: str) -> None:
    """Somebody who is let in has an account at first sight, the same one at the next login, and owns nothing else."""
    host = site.host("n8n")
    person = site.identity.person(group)

    seen = [_caller(site, site.identity.logged_in(host, person)[0]).account() for _ in range(2)]

    first, second = ({key: each[key] for key in ("id", "email", "role")} for each in seen)
    require(
        first == second and (first["email"], first["role"]) == (f"{person.name}@{host}", "global:member"),
        where=f"https://{host}, as {person.name}",
        want=f"one account, {person.name}@{host}, a member",
        got=f"{first}, then {second}",
        reproduce=f"a browser at https://{host}",
    )


def test_outsider_gets_no_account(site: Site) -> None:
    """Somebody of another group is refused by the gate, before n8n sees them."""
    host = site.host("n8n")
    browser, trail = site.identity.logged_in(host, site.identity.person("annotators"))

    answer = _caller(site, browser).ask("GET", "/rest/login")

    require(
        trail[-1].answer.status == answer.status == HTTPStatus.FORBIDDEN,
        where=f"https://{host}, as a member of annotators",
        want="403",
        got=f"{told(trail)}; {answer}",
        reproduce=f"a browser at https://{host}",
    )


def test_disabled_person_is_out(site: Site) -> None:
    """Whose account in Keycloak is disabled is out of n8n, too, which gave the browser no session of its own."""
    host = site.host("n8n")
    person = site.identity.person("researchers")
    browser, _ = site.identity.logged_in(host, person)
    caller = _caller(site, browser)
    before = caller.ask("GET", "/rest/login")
    own = [*_cookies(before), *(name for name in browser.cookies(host.name) if name == "n8n-auth")]

    site.identity.keycloak.disable(person)
    after, seconds = poll(
        lambda: caller.ask("GET", "/rest/login"), lambda answer: answer.status != HTTPStatus.OK, TIMEOUTS.session_end
    )

    require(
        before.status == HTTPStatus.OK and after.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN} and not own,
        where=f"https://{host}, as {person.name}",
        want=f"200, then 401 or 403 within {TIMEOUTS.session_end:.0f} s, and no cookie n8n-auth",
        got=f"{before.status}, then {after.status} after {seconds:.0f} s; {len(own)} cookies",
        reproduce=f"a browser at https://{host}",
    )


def test_headers_of_a_client_name_nobody(site: Site, member: Caller) -> None:
    """Headers by which others' gates tell who calls change nothing: without a session 401, with one the same person."""
    forged: tuple[Header, ...] = (
        ("X-Auth-Request-Email", _OWNER),
        ("X-Auth-Request-Preferred-Username", "owner"),
        ("X-Forwarded-User", "owner"),
        ("X-Gate-Secret", "0123456789abcdef"),
        ("Authorization", "Bearer 0123456789abcdef"),
    )
    nobody = Caller(site, member.host, forged).ask("GET", "/rest/login")
    same = Caller(site, member.host, (*forged, *member.headers)).account()

    require(
        nobody.status == HTTPStatus.UNAUTHORIZED and same["id"] == member.account()["id"],
        where=f"https://{member.host}/rest/login with forged headers",
        want="401; with a session, its own account",
        got=f"{nobody}; {same['email']}",
        reproduce=f"curl -H 'X-Auth-Request-Email: {_OWNER}' https://{member.host}/rest/login",
    )


def _ready(site: Site) -> list[Obj]:
    """Return n8n's ready pods, of which there is at least one."""
    pods = [pod for pod in site.cluster.behind(site.tree.find(_SERVICE)) if ready(pod)]
    require(pods, where=str(_SERVICE), want="a ready pod", got="none", reproduce=_PODS)
    return pods


@contextmanager
def _inside(site: Site) -> Iterator[str]:
    """Yield the pod's own address, past the gate."""
    with site.forward(_SERVICE.namespace, _ready(site)[0]["metadata"]["name"], _PORT) as base:
        yield base


def _owner(site: Site) -> dict[str, str]:
    """Return what the owner's own sign-in asks for."""
    return {"emailOrLdapLoginId": _OWNER, "password": kept(site.cluster, _SECRETS, "owner-password").reveal()}


def _forget(site: Site) -> None:
    """Remove the accounts of this run's people, as the owner."""
    with _inside(site) as base, requests.Session() as session:
        session.trust_env = False
        granted = session.post(f"{base}/rest/login", json=_owner(site), timeout=TIMEOUTS.answer).cookies["n8n-auth"]
        MASKER.learn(granted)
        # Marked as secure: a session of requests keeps it from http.
        session.headers["Cookie"] = f"n8n-auth={granted}"
        users = f"{base}/rest/users"
        found: list[dict[str, str]] = []

        def page() -> list[dict[str, str]]:
            params = {"take": 50, "skip": len(found)}
            answer: dict[str, Any] = session.get(users, params=params, timeout=TIMEOUTS.answer).json()["data"]
            return list(answer["items"])

        while more := page():
            found += more
        ours = [each for each in found if each["email"].startswith(f"{PREFIX}{site.identity.run}-")]
        answers = [session.delete(f"{users}/{each['id']}", timeout=TIMEOUTS.answer) for each in ours]

    require_none(
        [f"{each['email']}: {answer}" for each, answer in zip(ours, answers, strict=True) if not answer.ok],
        where="accounts of this run in n8n",
        want="each removed by the owner",
        reproduce="docs/how-to/automation.md, The owner",
    )


def test_forged_tokens_name_nobody(site: Site) -> None:
    """Even past the gate n8n believes no token but the realm's own for this host."""
    host, identity = site.host("n8n"), site.identity
    real = page_tokens(identity, host)["access_token"]
    keys = identity.keycloak.ask("GET", f"/realms/{identity.realm}/protocol/openid-connect/certs").json()["keys"]
    jwk = next(key for key in keys if key["kid"] == jwt.decode(real)[0]["kid"])
    other = page_tokens(identity, site.host("portal"))["access_token"]
    material = Material(real, other, jwk)
    tokens = {name: forge(material) for name, forge in FORGERIES.items() if name not in TOO_LARGE}
    tokens["of another host"] = other

    with _inside(site) as base, requests.Session() as session:
        session.trust_env = False

        def status(token: str) -> int:
            headers = {"Authorization": f"Bearer {token}".encode()}
            return session.get(f"{base}/rest/login", headers=headers, timeout=TIMEOUTS.answer).status_code

        genuine = status(real)
        seen = {name: status(token) for name, token in tokens.items()}

    believed = [f"{name}: {code}" for name, code in seen.items() if code < HTTPStatus.BAD_REQUEST]
    require_none(
        [*([] if genuine == HTTPStatus.OK else [f"the genuine one: {genuine}"]), *believed],
        where=f"n8n's pod, {len(tokens)} forged tokens",
        want="a refusal of each, and 200 for the genuine one",
        reproduce="kubectl -n automation port-forward deployment/n8n 5678",
    )


def test_owner_is_nobody_behind_the_gate(site: Site, member: Caller) -> None:
    """Even with the owner's password, or by another address, a person stays who they are."""
    own = member.account()
    browser = site.identity.session(member.host).copy()
    # With the cookies of the gate alone: n8n answers with a session of the owner's.
    cookies = browser.header(member.host.name)
    sent = Request.of_api(member.host.name, "/rest/login", "POST", cookies, _owner(site))
    granted = _cookies(site.send(sent))[-1:]
    header = browser.header(member.host.name)[0][1]
    assert isinstance(header, Secret)  # a browser's cookies always are
    mixed = Secret("; ".join([*_without_own(header.reveal()), *granted]), "$COOKIES_WITH_A_SESSION_OF_THE_OWNER")
    seen = Caller(site, member.host, (("Cookie", mixed),)).account()
    renamed = member.ask("PATCH", "/rest/me", {**_names(own), "email": _OWNER})
    after = member.account()

    require(
        granted and (seen["id"], seen["role"]) == (own["id"], "global:member") and after["email"] == own["email"],
        where=f"https://{member.host}/rest/login with the owner's password",
        want=f"still {own['email']}",
        got=f"{len(granted)} cookies of n8n's, then {seen['email']}; renamed: {renamed.status}, then {after['email']}",
        reproduce=f"a browser at https://{member.host}/signin",
    )


def _cookies(answer: Answer) -> list[str]:
    set_cookies = (value for key, value in answer.headers if key.lower() == "set-cookie")
    return [text.partition(";")[0] for text in set_cookies if text.startswith("n8n-auth=")]


def _without_own(header: str) -> list[str]:
    return [each for each in header.split("; ") if not each.startswith("n8n-auth=")]


def _names(account: dict[str, Any]) -> dict[str, Any]:
    return {"firstName": account["firstName"], "lastName": account["lastName"]}


def test_published_workflow_answers_the_world(site: Site, member: Caller) -> None:
    """A workflow that a person draws and publishes answers its webhook without a login; its code runs shut in."""
    with _published(member) as (_, path):
        _answers(site, path, _PUBLISHED)
        elsewhere = site.send(Request.of_api(member.host.name, f"/webhook/{path}", "POST", member.headers, {}))

    gone, _ = poll(
        lambda: _hook(site, path, {"n": 20}), lambda answer: answer.status == HTTPStatus.NOT_FOUND, _PUBLISHED
    )
    require(
        (gone.status, elsewhere.status) == (HTTPStatus.NOT_FOUND, HTTPStatus.NOT_FOUND),
        where=f"https://{site.host('hooks')}/webhook/{path}",
        want="404 once it is gone, and on the editor's host",
        got=f"{gone}; {elsewhere}",
        reproduce=f"curl -X POST https://{site.host('hooks')}/webhook/{path}",
    )


@pytest.mark.parametrize(
    "path", ["/", "/rest/login", "/rest/settings", "/metrics", "/api/v1/workflows", "/webhook-test/x", "/form/x"]
)
def test_webhooks_host_serves_nothing_else(site: Site, member: Caller, path: str) -> None:
    """The host of webhooks has no page and no interface, not even for somebody who is logged in."""
    host = site.host("hooks")
    request = Request(host.name, path, headers=member.headers)

    answer = site.send(request)

    require(
        answer.status == HTTPStatus.NOT_FOUND,
        where=f"https://{host}{path}",
        want="404",
        got=answer,
        reproduce=site.curl(request),
    )


def _alert(name: str) -> dict[str, Any]:
    """Return what Alertmanager sends, behind something that is no alert."""
    alert = {
        "status": "firing",
        "labels": {"alertname": name, "severity": "warning"},
        "annotations": {"summary": "A check of the platform"},
        "startsAt": "2026-01-01T00:00:00Z",
    }
    return {"version": "4", "receiver": "n8n", "status": "firing", "alerts": [{"conformance": name}, alert]}


@pytest.mark.feature("store-kafka")
@pytest.mark.feature("store-postgres")
def test_alert_goes_through_kafka_to_postgres(site: Site) -> None:
    """What Alertmanager tells the workflow of the tree is in PostgreSQL soon, by way of Kafka; others are refused.

    What is no alert and lies before it does not hold it up.
    """
    name = f"Conformance{uuid.uuid4().hex[:8]}"
    token = kept(site.cluster, _ALERTS, "token")
    stranger = _hook(site, "alertmanager", _alert(name), ("Authorization", "Bearer 0123456789abcdef"))
    bearer = Secret(f"Bearer {token.reveal()}", f"Bearer {token.shell}")
    sent, _ = poll(
        lambda: _hook(site, "alertmanager", _alert(name), ("Authorization", bearer)),
        lambda answer: answer.status == HTTPStatus.OK,
        _PUBLISHED,
    )
    with outside(site, account(site, "postgres", "alerts")) as connection:

        def stored() -> int:
            there = connection.execute("SELECT to_regclass('alerts') IS NOT NULL").fetchone()
            if there is None or not there[0]:
                return 0
            row = connection.execute("SELECT count(*) FROM alerts WHERE name = %s", (name,)).fetchone()
            return int(row[0]) if row else 0

        found, seconds = poll(stored, bool, _WAY)
        if found:
            connection.execute("DELETE FROM alerts WHERE %s IN (name, alert ->> 'conformance')", (name,))

    require(
        (stranger.status, sent.status, found > 0) == (HTTPStatus.FORBIDDEN, HTTPStatus.OK, True),
        where=f"https://{site.host('hooks')}/webhook/alertmanager",
        want=f"403 with another token, 200 with the right one, and the alert in PostgreSQL within {_WAY:.0f} s",
        got=f"{stranger.status}, {sent}, {found} rows after {seconds:.0f} s",
        reproduce="kubectl -n automation logs deployment/n8n",
    )


def _log(site: Site, pod: Obj) -> list[dict[str, Any]]:
    """Return what n8n wrote since it started; each of its own lines is JSON."""
    meta = pod["metadata"]
    path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/log"
    text = site.cluster.ask("GET", path, query={"container": "n8n"}, accept="*/*").text
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_starts_without_an_error(site: Site) -> None:
    """Until its pages are there n8n logs no error: each of its parts has what it needs."""
    lines = _log(site, _ready(site)[0])

    start = list(takewhile(lambda line: _SERVES not in line["message"], lines))
    errors = [line["message"] for line in start if line["level"] == "error" and line["message"] != _BEFORE]
    require(
        len(start) < len(lines),
        where="log of n8n",
        want=f"a line with {_SERVES!r}",
        got=f"{len(lines)} lines",
        reproduce=_LOG,
    )
    require_none(
        [message.partition("\n")[0] for message in errors],
        where="log of n8n",
        want="no error before its pages are there",
        reproduce=_LOG,
    )


def test_workflows_outlive_the_pod(site: Site, member: Caller) -> None:
    """After its pod was killed, n8n has the workflow, and answers its webhook."""
    with _published(member) as (made, path):
        _answers(site, path, _PUBLISHED)
        before = _ready(site)
        for pod in before:
            site.kill(pod)
        old = {pod["metadata"]["uid"] for pod in before}

        def serves() -> bool:
            pods = site.cluster.fresh("v1", "Pod", _SERVICE.namespace, "app.kubernetes.io/name=n8n")
            return any(ready(pod) and pod["metadata"]["uid"] not in old for pod in pods)

        back, seconds = poll(serves, bool, _START)
        require(
            back,
            where="pod of n8n",
            want=f"another one ready within {_START:.0f} s",
            got=f"none after {seconds:.0f} s",
            reproduce="kubectl -n automation describe pods",
        )
        _answers(site, path, _PUBLISHED)
        # The session may have run out meanwhile.
        again = Caller(site, member.host, site.credentials(member.host))
        require(
            again.get("GET", f"/rest/workflows/{made}")["id"] == made,
            where=f"https://{member.host}/workflow/{made}",
            want="the workflow, after the pod was killed",
            got="another one",
            reproduce=f"a browser at https://{member.host}/workflow/{made}",
        )
