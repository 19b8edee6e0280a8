"""Argo CD: groups have their rights, a commit reaches the cluster, a hand's change is healed, a commit is undone."""

import base64
import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import pytest

from betelgeuse.errors import BetelgeuseError
from betelgeuse.kube import Obj
from betelgeuse.tree import Ref
from conformance.codeflow import page_tokens
from conformance.inside import is_left_over
from conformance.probes.http import Answer, Header, Request
from conformance.probes.oidc import Browser, told
from conformance.secrecy import Secret
from conformance.site import Site
from conformance.timeouts import TIMEOUTS
from conformance.verdict import demand, poll, require, require_none

pytestmark = pytest.mark.feature("argocd")

_HOST: Final = "cd"
_AREA: Final = "gitops"
_MANAGER: Final = "betelgeuse-conformance"
_CONTROLLER: Final = "argocd-application-controller"
_GITEA: Final = Ref("Secret", _AREA, "gitea-admin", "v1")
_ROLLED: Final = "/api/v1/applications/{}/rollback"
_SYNCED: Final = 120.0
"""From an application's creation, or a commit, to its objects: one reconciliation a minute, and a busy machine."""
_FRESH: Final = 200.0
"""Seconds that a login is used for."""
_JSON: Final = (("Content-Type", "application/json"), ("Accept", "application/json"))
_PAGE: Final = (("Accept", "text/html"),)
_LIST: Final = "/api/v1/applications"

MAY: Final[Mapping[str, Mapping[str, str]]] = {
    "platform-admins": {"applications/get": "yes", "applications/create": "yes", "projects/update": "yes"},
    "researchers": {"applications/get": "yes", "applications/create": "no", "projects/update": "no"},
    "annotators": {"applications/get": "no", "applications/create": "no", "projects/update": "no"},
    "": {"applications/get": "no", "applications/create": "no", "projects/update": "no"},
}
"""Group -> what its members are told that they may; the empty name is somebody in none."""


@dataclass(frozen=True)
class Caller:
    """Somebody at the door of Argo CD."""

    site: Site
    headers: tuple[Header, ...] = ()

    def ask(self, method: str, path: str, body: object = None) -> Answer:
        """Send a request to the API."""
        data = b"" if body is None else json.dumps(body).encode()
        host = self.site.host(_HOST)
        return self.site.send(Request(host.name, path, method, (*_JSON, *self.headers), data), TIMEOUTS.login)

    def told(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - whatever the API answers
        """Send a request that is granted; return the answer."""
        answer = self.ask(method, path, body)
        require(
            answer.status == HTTPStatus.OK,
            where=f"{method} https://{self.site.host(_HOST)}{path}",
            want="200",
            got=answer,
            reproduce="the same as a member of platform-admins",
        )
        return json.loads(answer.text or "{}")


def _browser(site: Site, group: str) -> Browser:
    """Log somebody of a group in by Argo CD's own sign-on; return the browser."""
    host = site.host(_HOST)
    person = site.identity.shared_person(*([group] if group else []))
    browser = site.identity.browser()
    trail = browser.login(f"https://{host}/auth/login", person.name, person.password)
    require(
        trail[-1].host == host.name and trail[-1].answer.status == HTTPStatus.OK,
        where=f"https://{host}/auth/login",
        want=f"Argo CD's page for somebody of {group or 'no group'}, after Keycloak's login",
        got=told(trail),
        reproduce=f"a browser at https://{host}/auth/login",
    )
    return browser


def _caller(site: Site, group: str) -> Caller:
    """Return somebody of a group who has just logged in; the empty name is somebody in none."""
    browser = _browser(site, group)
    return Caller(site, browser.header(site.host(_HOST).name))


def test_page_is_there(site: Site) -> None:
    """Whoever opens the address in a browser gets a page: never the server's error about pages that were not built."""
    host = site.host(_HOST)
    answers = {path: site.send(Request(host.name, path, headers=_PAGE)) for path in ("/", "/applications", "/login")}
    require_none(
        [f"{path}: {a}" for path, a in answers.items() if a.status != HTTPStatus.OK or "Argo CD" not in a.text],
        where=f"https://{host}/",
        want="200 and a page that says Argo CD",
        reproduce=f"curl -H 'Accept: text/html' https://{host}/",
    )


def test_nobody_is_refused(site: Site) -> None:
    """Without a login, and with tokens that are not for it, Argo CD answers 401 and tells nothing."""
    host = site.host(_HOST)
    others = [each for each in site.tree.hosts if each.gate.client]
    foreign = page_tokens(site.identity, others[0])["id_token"] if others else ""
    unsigned = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (b'{"alg":"none"}', b"{}", b""))
    tokens = {"no token": "", "an unsigned token": unsigned, "a token of another client": foreign}
    faults = []
    for what, token in tokens.items():
        headers: tuple[Header, ...] = (("Authorization", Secret(f"Bearer {token}", what)),) if token else ()
        caller = Caller(site, headers)
        for method, path in (("GET", _LIST), ("POST", _LIST), ("GET", "/api/v1/projects"), ("GET", "/api/v1/clusters")):
            answer = caller.ask(method, path, {} if method == "POST" else None)
            if answer.status != HTTPStatus.UNAUTHORIZED:
                faults.append(f"{method} {path} with {what}: {answer}")
    require_none(faults, where=f"https://{host}/api/", want="401", reproduce=f"curl https://{host}{_LIST}")


def test_no_password_opens_it(site: Site) -> None:
    """There is no account of Argo CD's own: its `admin` cannot log in, whatever the password."""
    host = site.host(_HOST)
    answer = Caller(site).ask("POST", "/api/v1/session", {"username": "admin", "password": "admin"})
    require(
        answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN},
        where=f"https://{host}/api/v1/session",
        want="401 or 403",
        got=answer,
        reproduce=f"argocd login {host} --username admin",
    )


@pytest.mark.parametrize("group", MAY, ids=lambda group: group or "outsider")
def test_groups_have_their_rights(site: Site, group: str) -> None:
    """Administrators change everything, researchers look, and whoever is in neither group may nothing."""
    host, caller = site.host(_HOST), _caller(site, group)
    said = caller.told("GET", "/api/v1/session/userinfo")
    faults = [] if said.get("loggedIn") else [f"not logged in: {said}"]
    for right, wanted in MAY[group].items():
        got = caller.told("GET", f"/api/v1/account/can-i/{right}/default/*").get("value")
        faults += [] if got == wanted else [f"{right}: {got}, want {wanted}"]
    if MAY[group]["applications/create"] == "no":
        # Not what it says that they may: what it does.
        body = _application("conformance-refused", "default", "http://nowhere.invalid/x.git")
        answer = caller.ask("POST", f"{_LIST}?validate=false", body)
        faults += [] if answer.status == HTTPStatus.FORBIDDEN else [f"creates an application: {answer}"]
    if MAY[group]["applications/get"] == "no":
        listed = caller.told("GET", _LIST).get("items") or []
        faults += [f"sees {len(listed)} applications"] if listed else []
    require_none(
        faults,
        where=f"https://{host}/, as somebody of {group or 'no group'}",
        want="the rights of base/gitops/argocd/settings/configmap-rbac.yaml",
        reproduce=f"a browser at https://{host}/auth/login",
    )


def test_token_of_its_client_is_taken(site: Site) -> None:
    """The identity token of a login opens the API as a bearer too: programs need no browser."""
    host, browser = site.host(_HOST), _browser(site, "researchers")
    cookies = browser.cookies(host.name)
    token = cookies.get("argocd.token", "")
    answer = Caller(site, (("Authorization", Secret(f"Bearer {token}", "$ID_TOKEN")),)).ask("GET", _LIST)
    require(
        token.count(".") == 2 and answer.status == HTTPStatus.OK,
        where=f"https://{host}{_LIST}",
        want="200 for a bearer token of Argo CD's client",
        got=f"{answer}, cookies {sorted(cookies)}",
        reproduce=f"argocd --server {host} --grpc-web --auth-token … app list",
    )


def _application(name: str, namespace: str, repository: str) -> Obj:
    source = {"repoURL": repository, "path": "app", "targetRevision": "main"}
    spec = {
        "project": "default",
        "source": source,
        "destination": {"server": "https://kubernetes.default.svc", "namespace": namespace},
        "syncPolicy": {"automated": {"prune": True, "selfHeal": True}},
    }
    return {"metadata": {"name": name, "namespace": _AREA}, "spec": spec}


def _config_map(word: str) -> str:
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "greeting"}, "data": {"say": word}}
    return json.dumps(made)


@dataclass
class Delivery:
    """A repository of the run's, a namespace that lets Argo CD in, and the application between them."""

    site: Site
    name: str
    repository: str
    gitea: tuple[Header, ...]
    owner: str
    _kept: tuple[float, Caller] | None = None

    @property
    def admin(self) -> Caller:
        """Somebody of platform-admins; a token lives for five minutes, and a test may take longer."""
        if self._kept is None or time.monotonic() > self._kept[0]:
            self._kept = (time.monotonic() + _FRESH, _caller(self.site, "platform-admins"))
        return self._kept[1]

    def git(self, method: str, path: str, body: object = None) -> Answer:
        """Ask Gitea's API as its administrator."""
        data = b"" if body is None else json.dumps(body).encode()
        host = self.site.host("git").name
        return self.site.send(Request(host, f"/api/v1{path}", method, (*_JSON, *self.gitea), data), TIMEOUTS.login)

    def commit(self, word: str) -> str:
        """Write the manifest with a word in it to the repository; return the commit's id."""
        path = f"/repos/{self.owner}/{self.name}/contents/app/greeting.json"
        known = self.git("GET", path)
        body = {"content": base64.b64encode(_config_map(word).encode()).decode(), "message": word, "branch": "main"}
        if known.status == HTTPStatus.OK:
            answer = self.git("PUT", path, {**body, "sha": json.loads(known.text)["sha"]})
        else:
            answer = self.git("POST", path, body)
        require(
            answer.status in {HTTPStatus.OK, HTTPStatus.CREATED},
            where=f"Gitea, {path}",
            want="a commit",
            got=answer,
            reproduce="the same by Gitea's page",
        )
        return str(json.loads(answer.text)["commit"]["sha"])

    @property
    def word(self) -> str:
        """The word in the cluster now; empty without one."""
        found = self.site.cluster.get(Ref("ConfigMap", self.name, "greeting", "v1")) or {}
        return str((found.get("data") or {}).get("say", ""))

    def state(self, query: str = "") -> Obj:
        """Return the application as Argo CD tells it."""
        answer = self.admin.ask("GET", f"{_LIST}/{self.name}{query}")
        return dict(json.loads(answer.text)) if answer.status == HTTPStatus.OK else {}

    def becomes(self, wanted: str, why: str) -> None:
        """Wait until the cluster says a word."""
        self.until(lambda: self.word, lambda seen: seen == wanted, f"{wanted!r} in {self.name}/greeting, {why}")

    def until(self, look: Callable[[], Any], enough: Callable[[Any], bool], want: str) -> None:
        """Wait for something that Argo CD brings about; its own words are in the verdict."""
        seen, seconds = poll(look, enough, _SYNCED)
        status = self.state().get("status") or {}
        last = {key: status.get(key) for key in ("sync", "health", "conditions")}
        last["operation"] = (status.get("operationState") or {}).get("message")
        require(
            enough(seen),
            where=f"Application {_AREA}/{self.name}",
            want=f"{want}, within {_SYNCED:.0f} s",
            got=f"{seen!r} after {seconds:.0f} s; {json.dumps(last)}",
            reproduce=f"kubectl -n {_AREA} describe application {self.name}",
        )

    @property
    def synced(self) -> tuple[str, str]:
        """Whether it is what the repository says, and how that does."""
        status = self.state().get("status") or {}
        return (status.get("sync") or {}).get("status", ""), (status.get("health") or {}).get("status", "")


def _remove(site: Site, name: str) -> None:
    for kind, version, namespace, what in (
        ("Application", "argoproj.io/v1alpha1", _AREA, name),
        ("Secret", "v1", _AREA, name),
        ("Namespace", "v1", "", name),
    ):
        meta = {"name": what} | ({"namespace": namespace} if namespace else {})
        with suppress(BetelgeuseError):
            site.cluster.kube.delete({"apiVersion": version, "kind": kind, "metadata": meta})


def _sweep(site: Site) -> None:
    """Remove what an interrupted run left."""
    for left in site.cluster.fresh("argoproj.io/v1alpha1", "Application", _AREA):
        if left["metadata"]["name"].startswith("conformance-") and is_left_over(left):
            _remove(site, left["metadata"]["name"])


def _objects(name: str, repository: str, user: str, token: str) -> list[Obj]:
    levels = {"pod-security.kubernetes.io/enforce": "restricted"}
    account = {"kind": "ServiceAccount", "name": _CONTROLLER, "namespace": _AREA}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": levels}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "argocd", "namespace": name},
            "roleRef": role,
            "subjects": [account],
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": name,
                "namespace": _AREA,
                "labels": {"argocd.argoproj.io/secret-type": "repository"},
            },
            "stringData": {"type": "git", "url": repository, "username": user, "password": token},
        },
    ]


@contextmanager
def _delivered(site: Site) -> Iterator[Delivery]:
    _sweep(site)
    keys = {
        key: demand(
            site.cluster.secret(_GITEA, key),
            where=str(_GITEA),
            want=f"the key {key} of Gitea's administrator",
            got="no such key",
            reproduce=_GITEA.kubectl("describe"),
        )
        for key in ("url", "username", "password")
    }
    owner, name = keys["username"].reveal(), f"conformance-{uuid.uuid4().hex[:8]}"
    pair = base64.b64encode(f"{owner}:{keys['password'].reveal()}".encode()).decode()
    basic: tuple[Header, ...] = (("Authorization", Secret(f"Basic {pair}", "$GITEA_ADMIN")),)
    repository = f"{keys['url'].reveal()}/{owner}/{name}.git"
    made = Delivery(site, name, repository, basic, owner)
    try:
        answer = made.git("POST", "/user/repos", {"name": name, "private": True, "default_branch": "main"})
        require(
            answer.status == HTTPStatus.CREATED,
            where="Gitea, POST /api/v1/user/repos",
            want="a repository",
            got=answer,
            reproduce="the same by Gitea's page",
        )
        for obj in _objects(name, repository, owner, keys["password"].reveal()):
            site.cluster.kube.server_side_apply(obj, _MANAGER, force=True)
        yield made
    finally:
        with suppress(BetelgeuseError):
            made.admin.ask("DELETE", f"{_LIST}/{name}?cascade=true")
        made.git("DELETE", f"/repos/{owner}/{name}")
        _remove(site, name)


def test_delivery(site: Site) -> None:
    """A repository's manifest is applied; a hand's change is healed, a commit arrives, and is taken back by a rollback.

    Researchers may look at it and not touch it, outsiders do not see it; with the application its objects go.
    """
    with _delivered(site) as delivery:
        delivery.commit("one")
        delivery.admin.told("POST", _LIST, _application(delivery.name, delivery.name, delivery.repository))
        delivery.becomes("one", "as committed")
        delivery.until(lambda: delivery.synced, lambda seen: seen == ("Synced", "Healthy"), "Synced and Healthy")
        _strangers(site, delivery)

        meta = {"name": "greeting", "namespace": delivery.name}
        by_hand = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"say": "by hand"}}
        site.cluster.kube.server_side_apply(by_hand, "kubectl-edit", force=True)
        delivery.becomes("one", "after a hand changed it")

        delivery.commit("two")
        delivery.state("?refresh=normal")
        delivery.becomes("two", "after the next commit")
        delivery.until(lambda: delivery.synced, lambda seen: seen == ("Synced", "Healthy"), "Synced and Healthy")
        _roll_back(delivery)

        delivery.admin.told("DELETE", f"{_LIST}/{delivery.name}?cascade=true")
        delivery.until(lambda: delivery.word, lambda seen: not seen, "no object left, after the application went")


def _strangers(site: Site, delivery: Delivery) -> None:
    """Those who may not: look, or touch."""
    place = f"{_LIST}/{delivery.name}"
    tried = {
        "researchers look": (_caller(site, "researchers").ask("GET", place), HTTPStatus.OK),
        "researchers sync": (_caller(site, "researchers").ask("POST", f"{place}/sync", {}), HTTPStatus.FORBIDDEN),
        "researchers delete": (_caller(site, "researchers").ask("DELETE", place), HTTPStatus.FORBIDDEN),
        "an outsider looks": (_caller(site, "").ask("GET", place), HTTPStatus.FORBIDDEN),
        "nobody looks": (Caller(site).ask("GET", place), HTTPStatus.UNAUTHORIZED),
    }
    require_none(
        [
            f"{what}: {answer}, want {wanted.value}"
            for what, (answer, wanted) in tried.items()
            if answer.status != wanted
        ],
        where=f"https://{site.host(_HOST)}{place}",
        want="each group's rights",
        reproduce=f"a browser at https://{site.host(_HOST)}/auth/login",
    )


def _roll_back(delivery: Delivery) -> None:
    """Go back to the first state that was brought about; for that, it stops to follow the branch."""
    app = delivery.state()
    app["spec"]["syncPolicy"] = {}
    delivery.admin.told("PUT", f"{_LIST}/{delivery.name}/spec", app["spec"])
    first = min(delivery.state()["status"]["history"], key=lambda entry: int(entry.get("id", 0)))
    delivery.admin.told("POST", _ROLLED.format(delivery.name), {"id": first.get("id", 0), "prune": True})
    delivery.becomes("one", "after the rollback")


def test_namespaces_that_did_not_let_it_in_are_safe(site: Site) -> None:
    """What an application says of another area is refused by the API server: Argo CD has no rights there."""
    with _delivered(site) as delivery:
        delivery.commit("one")
        body = _application(delivery.name, "portal", delivery.repository)
        body["spec"]["syncPolicy"] = {}
        delivery.admin.told("POST", _LIST, body)
        delivery.admin.told("POST", f"{_LIST}/{delivery.name}/sync", {})
        delivery.until(
            lambda: (delivery.state().get("status") or {}).get("operationState") or {},
            lambda seen: seen.get("phase") in {"Failed", "Error"} and "forbidden" in json.dumps(seen),
            "a sync that the API server forbade",
        )
        there = site.cluster.get(Ref("ConfigMap", "portal", "greeting", "v1"))
        require(
            there is None,
            where="ConfigMap portal/greeting",
            want="none",
            got="it is there",
            reproduce="kubectl -n portal get configmap greeting",
        )
