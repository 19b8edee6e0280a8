"""The branch that Argo CD follows, in a repository of git's own."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from betelgeuse.errors import RefusedError
from betelgeuse.gitea import Gitea
from betelgeuse.gitops import keyring, project
from betelgeuse.kube import Obj
from betelgeuse.shell import run
from betelgeuse.signing import Signer
from betelgeuse.workflows import gitops as subject
from tests.unit.fakes import FakeKube, obj

FIRST = [obj("v1", "ConfigMap", "c", "a", data={"say": "one"}), obj("v1", "ConfigMap", "gone", "a")]
SECOND: list[Obj] = [obj("v1", "ConfigMap", "c", "a", data={"say": "two"}), obj("v1", "Secret", "s", "a")]
FILE = "a/configmap-c.yaml"


@pytest.fixture
def gitea(tmp_path: Path) -> Iterator[Gitea]:
    """A repository without a commit, and a key that signs."""
    where = tmp_path / "ann" / "platform.git"
    run(["git", "init", "--quiet", "--bare", str(where)])
    # A socket's path has 107 bytes at most.
    with TemporaryDirectory() as state, closing(Signer("local", Path(state))) as signer:
        signer.ensure()
        yield Gitea(f"file://{tmp_path}", "http://gitea", "ann", "X-Nobody: reads this", signer)


def shown(gitea: Gitea, *words: str) -> str:
    """Return what git says of the repository."""
    return gitea.git(Path(gitea.remote.removeprefix("file://")), *words)


def test_a_tree_becomes_a_commit(gitea: Gitea) -> None:
    """The branch holds exactly what the tree renders to: new, changed and without what left; Secrets never."""
    first, none = subject._push(gitea, "local", FIRST)
    second, before = subject._push(gitea, "local", SECOND)

    assert (none, before) == ("", first)
    assert shown(gitea, "rev-parse", "env/local") == second
    assert shown(gitea, "rev-parse", "env/local^") == first
    assert shown(gitea, "ls-tree", "-r", "--name-only", second).split() == [FILE, "applications/a.yaml"]
    assert "say: two" in shown(gitea, "show", f"{second}:{FILE}")


def test_the_same_tree_is_no_commit(gitea: Gitea) -> None:
    """Nothing is brought about anew where nothing changed."""
    first, _ = subject._push(gitea, "local", FIRST)

    assert subject._push(gitea, "local", FIRST) == (first, first)


def test_commits_are_signed_by_the_key_that_argo_cd_is_told(gitea: Gitea) -> None:
    """Every commit, one that takes another back too; the keyring has the public half alone."""
    subject._push(gitea, "local", FIRST)
    bad, _ = subject._push(gitea, "local", SECOND)
    subject._take_back(gitea, "local", bad)
    key = gitea.signer.key()
    data = keyring(key, gitea.signer.public())["data"]

    assert shown(gitea, "log", "--format=%G? %GK", "env/local").splitlines() == [f"G {key}"] * 3
    assert project("http://git", key)["spec"]["sourceIntegrity"]["git"]["policies"][0]["gpg"]["keys"] == [key]
    assert data.keys() == {key}
    assert data[key].startswith("-----BEGIN PGP PUBLIC KEY BLOCK-----")


def test_a_commit_of_another_key_is_followed_by_one_of_ours(gitea: Gitea) -> None:
    """A branch whose last commit Argo CD does not take gets one that it takes, with the same content."""
    with TemporaryDirectory() as state, closing(Signer("local", Path(state))) as stranger:
        stranger.ensure()
        foreign, _ = subject._push(replace(gitea, signer=stranger), "local", FIRST)
    ours, before = subject._push(gitea, "local", FIRST)

    assert before == foreign
    assert shown(gitea, "log", "-1", "--format=%G?", ours) == "G"
    assert shown(gitea, "diff", "--name-only", foreign, ours) == ""


def test_a_key_is_made_once_and_missed_by_name(tmp_path: Path, gitea: Gitea) -> None:
    """A second run finds the first one's key; a machine without it is told where it is."""
    assert gitea.signer.ensure() == gitea.signer.key()
    assert gitea.signer.home.stat().st_mode & 0o077 == 0
    with pytest.raises(RefusedError, match=r"no key that signs commits in .*--enable"):
        Signer("local", tmp_path).key()


def test_a_bad_commit_is_taken_back_by_another(gitea: Gitea) -> None:
    """The branch says again what it said before, and still tells what happened."""
    first, _ = subject._push(gitea, "local", FIRST)
    bad, _ = subject._push(gitea, "local", SECOND)
    back = subject._take_back(gitea, "local", bad)

    assert shown(gitea, "rev-parse", "env/local") == back
    assert shown(gitea, "rev-parse", "env/local^") == bad
    assert shown(gitea, "diff", "--name-only", first, back) == ""


def test_environments_have_branches_of_their_own(gitea: Gitea) -> None:
    """What one environment is told, another does not hear."""
    subject._push(gitea, "local", FIRST)
    subject._push(gitea, "kind", SECOND)

    assert shown(gitea, "for-each-ref", "--format=%(refname:short)").split() == ["env/kind", "env/local"]
    assert "say: one" in shown(gitea, "show", f"env/local:{FILE}")


@pytest.mark.parametrize("health", ["Degraded", "Progressing"])
def test_what_is_degraded_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, health: str) -> None:
    """Whoever progresses has all the time there is; a degraded application a part of it."""
    monkeypatch.setattr(subject, "_PAUSE", 0.01)
    monkeypatch.setattr(subject, "_DEGRADED_SECONDS", 0.05)
    status = {"sync": {"revision": "abc", "status": "Synced"}, "health": {"status": health}}
    fake = FakeKube({**obj("argoproj.io/v1alpha1", "Application", "platform", "gitops"), "status": status})
    begin = time.monotonic()

    assert subject._settle(fake.kube, [], "abc", seconds=0.5) == f"platform: {health}"
    assert (time.monotonic() - begin < 0.5) is (health == "Degraded")


@pytest.mark.parametrize(("said", "again"), [("signed with key not in keyring", True), ("unsigned", False)])
def test_argo_cd_looks_again_when_it_has_the_key(monkeypatch: pytest.MonkeyPatch, said: str, *, again: bool) -> None:
    """What it found out before the key reached it is asked for anew; a commit that it will never take is not."""
    monkeypatch.setattr(subject, "_PAUSE", 0.01)
    monkeypatch.setattr(subject, "_AGAIN", 0.02)
    asked: list[str] = []
    monkeypatch.setattr(subject, "_refresh", lambda _: asked.append("hard"))
    status = {"sync": {"revision": "abc", "status": "Unknown"}, "conditions": [{"message": said}]}
    fake = FakeKube({**obj("argoproj.io/v1alpha1", "Application", "platform", "gitops"), "status": status})

    assert subject._settle(fake.kube, [], "abc", seconds=0.2) == f"platform: {said}"
    assert (len(asked) > 1) is again
