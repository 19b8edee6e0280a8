"""Gitea killed: it is back by itself, with every commit that a push was confirmed for."""

import time
from collections.abc import Iterator
from http import HTTPStatus
from typing import Final

import pytest

from betelgeuse.tree import Ref
from conformance.drills.pods import strike
from conformance.gitea import GitError, api, forget, git, member, pushed, repository
from conformance.site import Site
from conformance.verdict import poll, require

_BACK: Final = 180.0
"""A pod made anew: the database's tables looked at, the server started, on a busy machine."""
_SERVICE: Final = ("gitops", "app.kubernetes.io/name=gitea")


@pytest.fixture(autouse=True)
def _tidy(site: Site) -> Iterator[None]:
    """Leave nothing of the run's behind."""
    yield
    if site.features["git"]:
        forget(site)


@pytest.mark.feature("git")
def test_pushed_commits_survive_the_pod(site: Site) -> None:
    """A pod killed without notice is replaced; whoever had signed in still has, and every pushed commit is there."""
    owner = member(site, "researchers")
    with repository(site, owner) as place, git(site, owner.name, owner.token) as run:
        pushed(site, owner, place, "before")
        run("clone", "--quiet", run.url(place), ".")
        (old,) = site.cluster.fresh("v1", "Pod", _SERVICE[0], labels=_SERVICE[1])
        last, lost = "", 0
        for number in range(10):
            made = run.commit(f"file-{number}", str(number))
            if number == 5:  # noqa: PLR2004 - half way
                site.killed.add(old["metadata"]["uid"])
                strike(site, Ref("Pod", _SERVICE[0], old["metadata"]["name"], "v1"))
            try:
                run("push", "--quiet", "origin", "main")
            except GitError:
                lost += 1
                continue
            last = made
        begin = time.monotonic()
        poll(
            lambda: api(site, owner.token, "GET", "/user").status,
            lambda status: status == HTTPStatus.OK,
            _BACK,
        )
        seconds = time.monotonic() - begin
        run("fetch", "--quiet", "origin", "main")
        # A push that was cut off may have done its work, too.
        seen = run("merge-base", last, "FETCH_HEAD")
        page = owner.browser.go(f"https://{site.host('git')}/user/settings")

    site.facts["Gitea killed"] = f"{10 - lost} of 10 pushes confirmed, back after {seconds:.0f} s"
    require(
        seen == last and page.answer.status == HTTPStatus.OK,
        where=f"https://{site.host('git')}/{place}.git, its pod killed between pushes",
        want=f"within {_BACK:.0f} s the commit {last[:12]} that was confirmed last, and a session that goes on",
        got=f"{seen[:12]} after {seconds:.0f} s, /user/settings: {page.answer.status}",
        reproduce="kubectl -n gitops get pods,events",
    )
