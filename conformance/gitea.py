"""Gitea as its people see it: pages in a browser, the API by a token, and git itself, all through the gateway."""

import base64
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from uuid import uuid4

from betelgeuse.errors import BetelgeuseError
from betelgeuse.tree import Host, Ref
from conformance.kept import kept
from conformance.probes.http import Answer, Header, Request
from conformance.probes.keycloak import PREFIX, Person
from conformance.probes.oidc import Browser, Hop, told
from conformance.secrecy import MASKER, Secret
from conformance.site import Site
from conformance.timeouts import TIMEOUTS
from conformance.verdict import demand, require, shorten

ADMIN: Final = Ref("Secret", "gitops", "gitea-admin", "v1")
"""The machinery's account: its password is an access token."""
ORGANISATION: Final = "research"
_SETTINGS: Final = "/user/settings/applications"
_SCOPES: Final = ("repository", "user", "organization", "issue")
_TOKEN: Final = re.compile(r"<p>([0-9a-f]{40})</p>")
_STRANGE: Final = ("git_", "http_proxy", "https_proxy", "all_proxy")
_GIT: Final = 120.0
"""Seconds for one git command on a machine that others use."""


def host(site: Site) -> Host:
    """Return Gitea's host."""
    return site.host("git")


def basic(user: str, word: Secret) -> Header:
    """Return what git sends for a user and a token."""
    text = base64.b64encode(f"{user}:{word.reveal()}".encode()).decode()
    MASKER.learn(text)
    return ("Authorization", Secret(f"Basic {text}", f"Basic $(printf {user}:%s {word.shell} | base64)"))


def api(site: Site, word: Secret | None, method: str, path: str, body: object = None) -> Answer:
    """Ask the API; without a token as nobody."""
    headers: tuple[Header, ...] = ()
    if word is not None:
        headers = (("Authorization", Secret(f"token {word.reveal()}", f"token {word.shell}")),)
    return site.send(Request.of_api(host(site).name, f"/api/v1{path}", method, headers, body), TIMEOUTS.login)


def asked(site: Site, word: Secret, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
    """Ask the API for something that must be given; return it."""
    return given(api(site, word, method, path, body), host(site), f"{method} /api/v1{path}")


def given(answer: Answer, host: Host, what: str) -> Any:  # noqa: ANN401 - JSON
    """Return what an answer gives; the check fails where it is a refusal."""
    require(
        HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES,
        where=f"https://{host}, {what}",
        want="a status of 2xx",
        got=answer,
        reproduce=f"{what} with -H 'Authorization: token …'",
    )
    return json.loads(answer.text) if answer.body else None


def admin(site: Site) -> Secret:
    """Return the token of the machinery's account."""
    return kept(site.cluster, ADMIN, "password")


@dataclass(frozen=True)
class Member:
    """Somebody who has signed in, with a token that he made himself."""

    person: Person
    browser: Browser
    token: Secret

    @property
    def name(self) -> str:
        """His name in Gitea."""
        return self.person.name


def sign_in(site: Site, person: Person) -> tuple[Browser, list[Hop]]:
    """Open Gitea in a new browser and sign in as it asks; return the browser and the way."""
    browser = site.identity.browser()
    return browser, browser.login(f"https://{host(site)}/user/login", person.name, person.password)


def _member(site: Site, groups: tuple[str, ...]) -> Member:
    person = site.identity.person(*groups)
    browser, trail = sign_in(site, person)
    last = trail[-1]
    require(
        last.host == host(site).name and last.answer.status == HTTPStatus.OK and person.name in last.answer.text,
        where=f"sign-on at https://{host(site)}",
        want=f"a page that knows {person.name}, a member of {', '.join(groups)}",
        got=f"{told(trail)}: {shorten(last.answer.text, 200)}",
        reproduce=f"a browser at https://{host(site)}/",
    )
    form = {"name": f"conformance-{uuid4().hex[:8]}", **{f"scope-{each}": f"write:{each}" for each in _SCOPES}}
    made = browser.follow(browser.go(f"https://{host(site)}{_SETTINGS}", form))
    found = _TOKEN.search(made[-1].answer.text)
    text = demand(
        found[1] if found else None,
        where=f"https://{host(site)}{_SETTINGS}",
        want="a page that shows the new token once",
        got=told(made),
        reproduce=f"a browser at https://{host(site)}{_SETTINGS}",
    )
    MASKER.learn(text)
    return Member(person, browser, Secret(text, "$TOKEN_OF_" + person.name.upper().replace("-", "_")))


def member(site: Site, *groups: str) -> Member:
    """Return the run's member of some groups, signed in once."""
    return site.once(("gitea", groups), lambda: _member(site, groups))


@contextmanager
def repository(site: Site, owner: Member, name: str = "") -> Iterator[str]:
    """Give the name of a repository that a first push makes; it is deleted at the end."""
    place = f"{owner.name}/{name or f'conformance-{uuid4().hex[:8]}'}"
    try:
        yield place
    finally:
        api(site, owner.token, "DELETE", f"/repos/{place}")


class GitError(BetelgeuseError):
    """Git did not do it."""


class Git:
    """The program git in a folder of its own, as a user (or nobody), through the gateway."""

    def __init__(self, site: Site, folder: Path, user: str = "", word: Secret | None = None) -> None:
        """Prepare what git needs to know; secrets go by the environment, which others do not see."""
        endpoint = site.endpoint()
        self.address = f"https://{host(site)}" + (f":{endpoint.https}" if endpoint.https != 443 else "")  # noqa: PLR2004
        self.folder = folder
        told = {
            "http.curloptResolve": f"{host(site)}:{endpoint.https}:{endpoint.address}",
            "user.name": "Conformance Suite",
            "user.email": "conformance@example.org",
            "init.defaultBranch": "main",
            "credential.helper": "",
        }
        if site.ca is not None:
            told["http.sslCAInfo"] = str(site.ca)
        if word is not None:
            name, value = basic(user, word)
            told["http.extraHeader"] = f"{name}: {value.reveal() if isinstance(value, Secret) else value}"
        self._environment = self._settings(told)

    def _settings(self, told: Mapping[str, str]) -> dict[str, str]:
        # The proxies of the environment do not lead to the platform.
        kept = {key: value for key, value in os.environ.items() if not key.lower().startswith(_STRANGE)}
        listed = {
            f"GIT_CONFIG_{kind}_{at}": text
            for at, pair in enumerate(told.items())
            for kind, text in zip(("KEY", "VALUE"), pair, strict=True)
        }
        own = {"GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}
        return {**kept, **own, **listed, "GIT_CONFIG_COUNT": str(len(told)), "LC_ALL": "C"}

    def __call__(self, *arguments: str) -> str:
        """Run one command and return what it prints; GitError with its last words where it fails."""
        done = subprocess.run(  # noqa: S603 - our own arguments, no shell
            ["git", *arguments],
            check=False,
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=_GIT,
        )
        if done.returncode:
            message = f"git {arguments[0]}: {MASKER.clean(done.stderr.strip())[-300:]}"
            raise GitError(message)
        return done.stdout.strip()

    def url(self, place: str) -> str:
        """Return a repository's address."""
        return f"{self.address}/{place}.git"

    def commit(self, name: str, text: str) -> str:
        """Write a file, commit it, and return the commit's id."""
        (self.folder / name).write_text(text, "utf-8")
        self("add", name)
        self("commit", "--quiet", "--message", f"Write {name}")
        return self("rev-parse", "HEAD")


@contextmanager
def git(site: Site, user: str = "", word: Secret | None = None) -> Iterator[Git]:
    """Give git in an empty folder."""
    with TemporaryDirectory() as folder:
        yield Git(site, Path(folder), user, word)


def pushed(site: Site, owner: Member, place: str, text: str) -> str:
    """Push a first commit to a repository, which makes it; return the commit's id."""
    with git(site, owner.name, owner.token) as run:
        run("init", "--quiet")
        made = run.commit("README.md", text)
        run("push", "--quiet", run.url(place), "main")
        return made


def cloned(site: Site, place: str, owner: Member | None = None) -> str:
    """Clone a repository and return the id of its newest commit."""
    with git(site, owner.name if owner else "", owner.token if owner else None) as run:
        run("clone", "--quiet", run.url(place), "copy")
        return run("-C", "copy", "rev-parse", "HEAD")


def forget(site: Site) -> None:
    """Remove what people of this run left in Gitea, themselves included."""
    found = asked(site, admin(site), "GET", f"/users/search?limit=50&q={PREFIX}{site.identity.run}-")
    for each in found["data"]:
        api(site, admin(site), "DELETE", f"/admin/users/{each['login']}?purge=true")
