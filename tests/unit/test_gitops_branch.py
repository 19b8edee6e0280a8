"""The branch that Argo CD follows, in a repository of git's own."""

from pathlib import Path

import pytest

from betelgeuse.kube import Obj
from betelgeuse.shell import run
from betelgeuse.workflows import gitops as subject
from tests.unit.fakes import obj

FIRST = [obj("v1", "ConfigMap", "c", "a", data={"say": "one"}), obj("v1", "ConfigMap", "gone", "a")]
SECOND: list[Obj] = [obj("v1", "ConfigMap", "c", "a", data={"say": "two"}), obj("v1", "Secret", "s", "a")]
FILE = "a/configmap-c.yaml"


@pytest.fixture
def gitea(tmp_path: Path) -> subject.Gitea:
    """A repository without a commit."""
    where = tmp_path / "ann" / "platform.git"
    run(["git", "init", "--quiet", "--bare", str(where)])
    return subject.Gitea(f"file://{tmp_path}", "http://gitea", "ann", "X-Nobody: reads this")


def shown(gitea: subject.Gitea, *words: str) -> str:
    """Return what git says of the repository."""
    return gitea.git(Path(gitea.remote.removeprefix("file://")), *words)


def test_a_tree_becomes_a_commit(gitea: subject.Gitea) -> None:
    """The branch holds exactly what the tree renders to: new, changed and without what left; Secrets never."""
    first, none = subject._push(gitea, "local", FIRST)
    second, before = subject._push(gitea, "local", SECOND)

    assert (none, before) == ("", first)
    assert shown(gitea, "rev-parse", "env/local") == second
    assert shown(gitea, "rev-parse", "env/local^") == first
    assert shown(gitea, "ls-tree", "-r", "--name-only", second).split() == [FILE, "applications/a.yaml"]
    assert "say: two" in shown(gitea, "show", f"{second}:{FILE}")


def test_the_same_tree_is_no_commit(gitea: subject.Gitea) -> None:
    """Nothing is brought about anew where nothing changed."""
    first, _ = subject._push(gitea, "local", FIRST)

    assert subject._push(gitea, "local", FIRST) == (first, first)


def test_a_bad_commit_is_taken_back_by_another(gitea: subject.Gitea) -> None:
    """The branch says again what it said before, and still tells what happened."""
    first, _ = subject._push(gitea, "local", FIRST)
    bad, _ = subject._push(gitea, "local", SECOND)
    back = subject._take_back(gitea, "local", bad)

    assert shown(gitea, "rev-parse", "env/local") == back
    assert shown(gitea, "rev-parse", "env/local^") == bad
    assert shown(gitea, "diff", "--name-only", first, back) == ""


def test_environments_have_branches_of_their_own(gitea: subject.Gitea) -> None:
    """What one environment is told, another does not hear."""
    subject._push(gitea, "local", FIRST)
    subject._push(gitea, "kind", SECOND)

    assert shown(gitea, "for-each-ref", "--format=%(refname:short)").split() == ["env/kind", "env/local"]
    assert "say: one" in shown(gitea, "show", f"env/local:{FILE}")
