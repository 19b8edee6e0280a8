"""Argo CD as its people see it: logins of its groups, the API, and a repository that it brings into the cluster."""

import base64
import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from betelgeuse.errors import BetelgeuseError
from betelgeuse.kube import Obj, UnknownKindError
from betelgeuse.tree import Ref
from conformance.inside import is_left_over
from conformance.kept import kept
from conformance.probes.http import Answer, Header, Request
from conformance.probes.oidc import Browser, told
from conformance.secrecy import Secret
from conformance.site import Site
from conformance.timeouts import TIMEOUTS
from conformance.verdict import poll, require

HOST: Final = "cd"
API: Final = "argoproj.io/v1alpha1"
PLATFORM: Final = "platform"
"""The application, the project and the repository of the platform itself."""
AREA: Final = "gitops"
LIST: Final = "/api/v1/applications"
_MANAGER: Final = "betelgeuse-conformance"
_CONTROLLER: Final = "argocd-application-controller"
_GITEA: Final = Ref("Secret", AREA, "gitea-admin", "v1")
_GONE: Final = 20.0
"""Seconds for Argo CD to take away an application of a check."""
_SYNCED: Final = 120.0
"""From an application's creation, or a commit, to its objects: one reconciliation a minute, and a busy machine."""
_FRESH: Final = 200.0
"""Seconds that a login is used for."""


@dataclass(frozen=True)
class Caller:
    """Somebody at the door of Argo CD."""

    site: Site
    headers: tuple[Header, ...] = ()

    def ask(self, method: str, path: str, body: object = None) -> Answer:
        """Send a request to the API."""
        host = self.site.host(HOST)
        return self.site.send(Request.of_api(host.name, path, method, self.headers, body), TIMEOUTS.login)

    def told(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - whatever the API answers
        """Send a request that is granted; return the answer."""
        answer = self.ask(method, path, body)
        require(
            answer.status == HTTPStatus.OK,
            where=f"{method} https://{self.site.host(HOST)}{path}",
            want="200",
            got=answer,
            reproduce="the same as a member of platform-admins",
        )
        return json.loads(answer.text or "{}")


def signed_in(site: Site, group: str) -> Browser:
    """Log somebody of a group in by Argo CD's own sign-on; return the browser."""
    host = site.host(HOST)
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


def caller(site: Site, group: str) -> Caller:
    """Return somebody of a group who has just logged in; the empty name is somebody in none."""
    browser = signed_in(site, group)
    return Caller(site, browser.header(site.host(HOST).name))


def application(name: str, namespace: str, repository: str, project: str = "default") -> Obj:
    """Return an application that follows a repository's folder `app` into a namespace."""
    source = {"repoURL": repository, "path": "app", "targetRevision": "main"}
    spec = {
        "project": project,
        "source": source,
        "destination": {"server": "https://kubernetes.default.svc", "namespace": namespace},
        "syncPolicy": {"automated": {"prune": True, "selfHeal": True}},
    }
    return {"metadata": {"name": name, "namespace": AREA}, "spec": spec}


def signed_project(name: str, repository: str, key: str) -> Obj:
    """Return a project that takes commits of one key alone."""
    everything = [{"group": "*", "kind": "*"}]
    policy = {"repos": [{"url": "*"}], "gpg": {"mode": "head", "keys": [key]}}
    spec = {
        "sourceRepos": [repository],
        "destinations": [{"server": "https://kubernetes.default.svc", "namespace": name}],
        "namespaceResourceWhitelist": everything,
        "sourceIntegrity": {"git": {"policies": [policy]}},
    }
    return {"apiVersion": API, "kind": "AppProject", "metadata": {"name": name, "namespace": AREA}, "spec": spec}


def handed_over(site: Site) -> list[Obj]:
    """Return what gives Argo CD the platform, for as long as it owns it: its account's binding."""
    try:
        app = site.cluster.kube.get(API, "Application", PLATFORM, AREA) or {}
    except UnknownKindError:
        return []
    if not ((app.get("spec") or {}).get("syncPolicy") or {}).get("automated"):
        return []
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    account = {"kind": "ServiceAccount", "name": _CONTROLLER, "namespace": AREA}
    meta = {"name": f"{_CONTROLLER}-{PLATFORM}"}
    kind = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding"}
    return [{**kind, "metadata": meta, "roleRef": role, "subjects": [account]}]


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
            self._kept = (time.monotonic() + _FRESH, caller(self.site, "platform-admins"))
        return self._kept[1]

    def git(self, method: str, path: str, body: object = None) -> Answer:
        """Ask Gitea's API as its administrator."""
        host = self.site.host("git").name
        return self.site.send(Request.of_api(host, f"/api/v1{path}", method, self.gitea, body), TIMEOUTS.login)

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
        answer = self.admin.ask("GET", f"{LIST}/{self.name}{query}")
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
            where=f"Application {AREA}/{self.name}",
            want=f"{want}, within {_SYNCED:.0f} s",
            got=f"{seen!r} after {seconds:.0f} s; {json.dumps(last)}",
            reproduce=f"kubectl -n {AREA} describe application {self.name}",
        )

    @property
    def synced(self) -> tuple[str, str]:
        """Whether it is what the repository says, and how that does."""
        status = self.state().get("status") or {}
        return (status.get("sync") or {}).get("status", ""), (status.get("health") or {}).get("status", "")


def _remove(site: Site, name: str) -> None:
    application = Ref("Application", AREA, name, API)
    obj = {"apiVersion": API, "kind": application.kind, "metadata": {"name": name, "namespace": AREA}}
    with suppress(BetelgeuseError):
        site.cluster.kube.delete(obj)
    # Argo CD takes away what it brought, and needs the project and the rights for that: they go behind it.
    seen, _ = poll(lambda: site.cluster.get(application), lambda seen: not seen, _GONE)
    if seen:
        # A sync that is tried again and again holds it for minutes, a project that is gone for ever: the area could not
        # be deleted then. What it brought goes with its namespace.
        with suppress(BetelgeuseError):
            site.cluster.merge(application, {"metadata": {"finalizers": []}})
    for kind, version, namespace, what in (
        ("AppProject", API, AREA, name),
        ("Secret", "v1", AREA, name),
        ("Namespace", "v1", "", name),
    ):
        meta = {"name": what} | ({"namespace": namespace} if namespace else {})
        with suppress(BetelgeuseError):
            site.cluster.kube.delete({"apiVersion": version, "kind": kind, "metadata": meta})


def _sweep(site: Site) -> None:
    """Remove what an interrupted run left."""
    for left in site.cluster.fresh(API, "Application", AREA):
        if left["metadata"]["name"].startswith("conformance-") and is_left_over(left):
            _remove(site, left["metadata"]["name"])


def _objects(name: str, repository: str, user: str, token: str) -> list[Obj]:
    levels = {"pod-security.kubernetes.io/enforce": "restricted"}
    account = {"kind": "ServiceAccount", "name": _CONTROLLER, "namespace": AREA}
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
                "namespace": AREA,
                "labels": {"argocd.argoproj.io/secret-type": "repository"},
            },
            "stringData": {"type": "git", "url": repository, "username": user, "password": token},
        },
    ]


@contextmanager
def delivered(site: Site) -> Iterator[Delivery]:
    """Give a repository and a namespace that lets Argo CD in; both go at the end, and the application of their name."""
    _sweep(site)
    keys = {key: kept(site.cluster, _GITEA, key) for key in ("url", "username", "password")}
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
            made.admin.ask("DELETE", f"{LIST}/{name}?cascade=true")
        made.git("DELETE", f"/repos/{owner}/{name}")
        _remove(site, name)
