"""Gitea: who comes in by Keycloak may do what his group may; git, reviews and hooks work; nobody else sees anything."""

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterator
from http import HTTPStatus
from typing import Final
from uuid import uuid4

import pytest

from betelgeuse.tree import Ref
from conformance import canary
from conformance.gitea import (
    ORGANISATION,
    GitError,
    Member,
    admin,
    api,
    asked,
    basic,
    cloned,
    forget,
    git,
    given,
    host,
    member,
    pushed,
    repository,
    sign_in,
)
from conformance.inside import Inside
from conformance.probes import mimic
from conformance.probes.http import Header, Request
from conformance.probes.oidc import forms, query, told
from conformance.secrecy import MASKER
from conformance.site import Site
from conformance.timeouts import TIMEOUTS
from conformance.verdict import poll, require, require_none

pytestmark = pytest.mark.feature("git")

_ADMINISTRATION: Final = "/-/admin"
_NO: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)
_TEAMS: Final = {"platform-admins": "Owners", "researchers": "writers", "annotators": "readers"}
_PORT: Final = 8080
_LISTENER: Final = f"""
import http.server, json
kept = []
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        told, signed = self.headers["X-Gitea-Event"], self.headers["X-Gitea-Signature"]
        kept.append({{"event": told, "signed": signed, "body": body}})
        self.send_response(204)
        self.end_headers()
    def do_GET(self):
        text = json.dumps(kept).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("", {_PORT}), Handler).serve_forever()
"""
_HEARD: Final = f"import urllib.request as web; print(web.urlopen('http://127.0.0.1:{_PORT}/').read().decode())"


@pytest.fixture(scope="module", autouse=True)
def _tidy(site: Site) -> Iterator[None]:
    """Leave no person and no repository of the run's behind."""
    yield
    if site.features["git"]:
        forget(site)


@pytest.fixture
def researcher(site: Site) -> Member:
    """Somebody who works with repositories."""
    return member(site, "researchers")


@pytest.mark.parametrize("group", sorted(_TEAMS))
def test_group_has_its_rights(site: Site, group: str) -> None:
    """A member of each group signs in by Keycloak, is in his group's team, and administers Gitea if he may."""
    one = member(site, group)
    who = asked(site, one.token, "GET", "/user")
    teams = {f"{each['organization']['name']}/{each['name']}" for each in asked(site, one.token, "GET", "/user/teams")}
    page = one.browser.go(f"https://{host(site)}{_ADMINISTRATION}")

    administers = group == "platform-admins"
    faults = {
        f"he is called {who['login']}": who["login"] == one.name,
        f"teams {sorted(teams)}": teams == {f"{ORGANISATION}/{_TEAMS[group]}"},
        f"{_ADMINISTRATION} answers {page.answer.status}": (page.answer.status == HTTPStatus.OK) == administers,
    }
    require_none(
        [told for told, right in faults.items() if not right],
        where=f"https://{host(site)}, a member of {group}",
        want=f"the team {_TEAMS[group]}, and {'an' if administers else 'no'} administrator",
        reproduce=f"a browser at https://{host(site)}{_ADMINISTRATION}",
    )


def test_outsider_is_refused(site: Site) -> None:
    """Who is in no group of the platform's may log in at Keycloak, and is nobody in Gitea."""
    person = site.identity.person()
    browser, trail = sign_in(site, person)
    page = browser.go(f"https://{host(site)}/user/settings")
    known = api(site, admin(site), "GET", f"/users/{person.name}")

    require(
        trail[-1].host == host(site).name
        and page.leads_to.startswith(f"https://{host(site)}/user/login")
        and known.status == HTTPStatus.NOT_FOUND,
        where=f"https://{host(site)}, somebody without a group",
        want="back from Keycloak, not signed in, no account made",
        got=f"{told(trail)}; /user/settings: {page.answer.status} to {page.leads_to}; account: {known.status}",
        reproduce=f"a browser at https://{host(site)}/",
    )


@pytest.mark.parametrize("path", ["/", "/explore/repos", "/user/login", "/user/sign_up", f"/{ORGANISATION}"])
def test_page_leads_to_keycloak(site: Site, path: str) -> None:
    """Whoever has not signed in gets to Keycloak's form from every page, and sees no other on the way."""
    trail = site.identity.browser().open(f"https://{host(site)}{path}")

    last = trail[-1]
    require(
        last.url.startswith(site.identity.issuer)
        and any(form.asks_password for form in forms(last.answer))
        and query(last.url).get("client_id") == "git",
        where=f"https://{host(site)}{path}",
        want=f"redirects to the login form at {site.identity.issuer}",
        got=told(trail),
        reproduce=f"a browser at https://{host(site)}{path}",
    )


def test_nobody_is_told_anything(site: Site, researcher: Member) -> None:
    """Without a token the API says nothing, git gets nothing, and metrics are not on this way at all."""
    with repository(site, researcher) as place:
        pushed(site, researcher, place, "private")
        paths = [
            "/api/v1/version",
            "/api/v1/repos/search",
            f"/api/v1/users/{researcher.name}",
            f"/api/v1/repos/{place}",
            f"/{place}.git/info/refs?service=git-upload-pack",
            f"/{place}/raw/branch/main/README.md",
            "/metrics",
            "/metrics/",
            "//metrics",
            "/%6detrics",
        ]
        answers = site.sweep([Request(host(site).name, path) for path in paths])

    refused = {
        *_NO,
        HTTPStatus.SEE_OTHER,
        HTTPStatus.FOUND,
        HTTPStatus.MOVED_PERMANENTLY,
        HTTPStatus.PERMANENT_REDIRECT,
    }
    require_none(
        [
            f"{path}: {answer}"
            for path, answer in zip(paths, answers, strict=True)
            if answer.status not in refused or "gitea_" in answer.text or answer.text == "private"
        ],
        where=f"https://{host(site)}",
        want="a refusal, or the way to the login",
        reproduce=f"curl -i https://{host(site)}/api/v1/version",
    )


def test_no_password_opens_it(site: Site, researcher: Member) -> None:
    """Keycloak's password opens neither API nor git, and Gitea's own form for passwords takes none."""
    person = researcher.person
    password: Header = basic(person.name, person.password)
    form = {"user_name": person.name, "password": person.password.reveal()}
    answers = {
        "API": site.send(Request(host(site).name, "/api/v1/user", headers=(password,))),
        "git": site.send(Request(host(site).name, "/x/y.git/info/refs?service=git-upload-pack", headers=(password,))),
        "form": site.identity.browser().go(f"https://{host(site)}/user/login", form).answer,
    }

    require_none(
        [f"{name}: {answer}" for name, answer in answers.items() if answer.status not in _NO],
        where=f"https://{host(site)}",
        want="401, 403 or 404",
        reproduce=f"curl -u {person.name} https://{host(site)}/api/v1/user",
    )


def test_sign_out_reaches_keycloak(site: Site) -> None:
    """Who signs out is sent to end the session at Keycloak too, which knows the way back."""
    browser, _ = sign_in(site, site.identity.person("annotators"))
    out = browser.go(f"https://{host(site)}/user/logout")
    wanted = query(out.leads_to)
    page = browser.go(out.leads_to) if out.leads_to else out
    again = browser.go(f"https://{host(site)}/user/settings")

    require(
        out.leads_to.startswith(f"{site.identity.issuer}/protocol/openid-connect/logout")
        and (wanted.get("client_id"), wanted.get("post_logout_redirect_uri")) == ("git", f"https://{host(site)}/")
        and page.answer.status < HTTPStatus.BAD_REQUEST
        and again.leads_to.startswith(f"https://{host(site)}/user/login"),
        where=f"https://{host(site)}/user/logout",
        want=f"the way to {site.identity.issuer}, and nobody signed in",
        got=f"{out.answer.status} to {out.leads_to}; there {page.answer.status}; then {again}",
        reproduce=f"a browser at https://{host(site)}/user/logout",
    )


def test_machinery_has_a_token_and_no_password(site: Site) -> None:
    """The declared account administers by its token; its name is no way in for people."""
    who = asked(site, admin(site), "GET", "/user")
    found = asked(site, admin(site), "GET", f"/orgs/{ORGANISATION}/teams")

    require(
        (who["login"], who["is_admin"]) == ("platform", True)
        and set(_TEAMS.values()) <= {each["name"] for each in found},
        where=f"https://{host(site)}/api/v1/user, by the token of Secret gitops/gitea-admin",
        want="the administrator platform, and every declared team",
        got=f"{who['login']}, admin: {who['is_admin']}, teams {[each['name'] for each in found]}",
        reproduce="kubectl -n gitops logs deployment/gitea -c accounts",
    )


def test_git_goes_round(site: Site, researcher: Member) -> None:
    """A push makes a private repository; a clone gets the same commit back, and only who may gets one."""
    other = member(site, "annotators")
    refusals = []
    with repository(site, researcher) as place:
        made = pushed(site, researcher, place, f"Seen by one. {uuid4()}")
        seen = cloned(site, place, researcher)
        private = asked(site, researcher.token, "GET", f"/repos/{place}")["private"]
        for someone in (None, other):
            try:
                refusals.append(f"{someone.name if someone else 'nobody'} got {cloned(site, place, someone)}")
            except GitError:
                continue

    require(
        seen == made and private and not refusals,
        where=f"https://{host(site)}/{place}.git",
        want=f"commit {made[:12]} for its owner, nothing for others",
        got=f"{seen[:12]}; private: {private}; {'; '.join(refusals)}",
        reproduce=f"git clone https://{host(site)}/{place}.git",
    )


def test_team_shares_a_repository(site: Site, researcher: Member) -> None:
    """What a researcher pushes to the organisation an annotator reads, and cannot change."""
    reader = member(site, "annotators")
    place = f"{ORGANISATION}/conformance-{uuid4().hex[:8]}"
    refused = ""
    try:
        made = pushed(site, researcher, place, "shared")
        seen = cloned(site, place, reader)
        with git(site, reader.name, reader.token) as run:
            run("clone", "--quiet", run.url(place), ".")
            run.commit("mine", "not to be taken")
            try:
                run("push", "--quiet", "origin", "main")
            except GitError as error:
                refused = str(error)
    finally:
        api(site, admin(site), "DELETE", f"/repos/{place}")

    require(
        seen == made and refused,
        where=f"https://{host(site)}/{place}.git",
        want="a clone for a reader, and his push refused",
        got=f"{seen[:12]} of {made[:12]}; push: {refused or 'taken'}",
        reproduce=f"git clone https://{host(site)}/{place}.git",
    )


def test_proposal_is_reviewed_and_merged(site: Site, researcher: Member) -> None:
    """A branch is pushed, proposed, merged by the API, and then part of the main branch."""
    with repository(site, researcher) as place, git(site, researcher.name, researcher.token) as run:
        run("init", "--quiet")
        run.commit("README.md", "before")
        run("push", "--quiet", run.url(place), "main")
        run("switch", "--quiet", "--create", "change")
        change = run.commit("README.md", "after")
        run("push", "--quiet", run.url(place), "change")
        wanted = {"title": "A change", "head": "change", "base": "main"}
        # Gitea knows of a push some moments after it took it.
        proposed, _ = poll(
            lambda: api(site, researcher.token, "POST", f"/repos/{place}/pulls", wanted),
            lambda answer: answer.status != HTTPStatus.NOT_FOUND,
            TIMEOUTS.login,
        )
        number = given(proposed, host(site), f"POST /api/v1/repos/{place}/pulls")["number"]
        # It looks whether it can be merged some moments after it was proposed.
        merge = f"/repos/{place}/pulls/{number}/merge"
        last, seconds = poll(
            lambda: api(site, researcher.token, "POST", merge, {"Do": "merge"}),
            lambda answer: answer.status == HTTPStatus.OK,
            TIMEOUTS.login,
        )
        merged = asked(site, researcher.token, "GET", f"/repos/{place}/pulls/{number}")["merged"]
        run("fetch", "--quiet", run.url(place), "main")
        inside = run("merge-base", change, "FETCH_HEAD") == change

    require(
        merged and inside,
        where=f"https://{host(site)}/{place}/pulls/{number}",
        want=f"merged within {TIMEOUTS.login:.0f} s, the change in main",
        got=f"merged: {merged}, in main: {inside}, last answer {last} after {seconds:.0f} s",
        reproduce=f"curl -X POST https://{host(site)}/api/v1{merge}",
    )


def _listening(site: Site, inside: Inside) -> tuple[canary.Pod, str]:
    """Put a pod that hears of events into the run's namespace; return it with its address."""
    name = f"hears-{uuid4().hex[:8]}"
    port = {"name": "http", "port": _PORT, "targetPort": "http"}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": inside.namespace},
        "spec": {"selector": {"conformance": name}, "ports": [port]},
    }
    labels = {"conformance": name, "betelgeuse.io/hears-gitea": "true"}
    obj = canary.pod(inside.namespace, name, mimic.image(site.tree), ["/usr/bin/python3", "-c", _LISTENER], labels)
    obj["spec"]["containers"][0]["ports"] = [{"name": "http", "containerPort": _PORT}]
    for each in (service, obj):
        site.cluster.kube.server_side_apply(each, "betelgeuse-conformance", force=True)
    pod = canary.Pod(site, Ref("Pod", inside.namespace, name, "v1"), "")
    poll(
        lambda: (site.cluster.get(pod.place) or {}).get("status", {}).get("phase"),
        lambda phase: phase == "Running",
        TIMEOUTS.prober,
    )
    return pod, f"http://{name}.{inside.namespace}.svc.cluster.local:{_PORT}/"


def test_push_is_told_to_a_listener(site: Site, inside: Inside, researcher: Member) -> None:
    """A pod that says it hears Gitea is told of a push, signed with the hook's secret."""
    pod, address = _listening(site, inside)
    word = secrets.token_hex(16)
    MASKER.learn(word)
    config = {"url": address, "content_type": "json", "secret": word}
    with repository(site, researcher) as place:
        pushed(site, researcher, place, "before")
        hook = {"type": "gitea", "active": True, "events": ["push"], "config": config}
        asked(site, researcher.token, "POST", f"/repos/{place}/hooks", hook)
        with git(site, researcher.name, researcher.token) as run:
            run("clone", "--quiet", run.url(place), ".")
            made = run.commit("told", "to be told")
            run("push", "--quiet", "origin", "main")
        # It tells of a push once it has taken it in, so of the one before the hook too.
        heard, seconds = poll(
            lambda: [one for one in pod.run(_HEARD) if json.loads(one["body"]).get("after") == made],
            bool,
            TIMEOUTS.prober,
        )

    first = heard[0] if heard else {"event": "", "signed": "", "body": ""}
    signed = hmac.new(word.encode(), first["body"].encode(), hashlib.sha256).hexdigest()
    require(
        first["event"] == "push" and first["signed"] == signed,
        where=f"{address}, a hook of https://{host(site)}/{place}",
        want=f"the push of {made[:12]}, signed, within {TIMEOUTS.prober:.0f} s",
        got=f"{len(heard)} events after {seconds:.0f} s: {first['event']}, signature {first['signed'] == signed}",
        reproduce="kubectl -n gitops logs deployment/gitea | grep -i webhook",
    )


def test_large_files_are_not_taken(site: Site, researcher: Member) -> None:
    """The volume is for repositories: git's extension for large files is told that there is none."""
    with repository(site, researcher) as place:
        pushed(site, researcher, place, "small")
        kind = "application/vnd.git-lfs+json"
        headers = (basic(researcher.name, researcher.token), ("Accept", kind), ("Content-Type", kind))
        wanted = {"operation": "upload", "transfers": ["basic"], "objects": [{"oid": "0" * 64, "size": 1}]}
        path = f"/{place}.git/info/lfs/objects/batch"
        answer = site.send(Request(host(site).name, path, "POST", headers, json.dumps(wanted).encode()))

    require(
        answer.status == HTTPStatus.NOT_FOUND,
        where=f"https://{host(site)}{path}",
        want="404",
        got=answer,
        reproduce=f"git lfs push https://{host(site)}/{place}.git main",
    )
