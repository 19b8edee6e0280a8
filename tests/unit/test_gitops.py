"""What Git holds for Argo CD."""

import pytest
import yaml

from betelgeuse import gitops as subject
from betelgeuse.errors import BetelgeuseError, RefusedError
from betelgeuse.kube import Obj, UnknownKindError
from betelgeuse.waves import ANNOTATION
from tests.unit.fakes import FakeKube, obj

REPOSITORY, BRANCH = "http://git/platform/platform.git", "env/local"
NAMESPACE = obj("v1", "Namespace", "a")
CONFIG = obj("v1", "ConfigMap", "c", "a", data={"k": "v"})
SECRET = obj("v1", "Secret", "s", "a")
CUSTOM = obj("x.org/v1", "Lamp", "l", "b")
BARRIER = obj("v1", "ConfigMap", "first", "b", annotations={ANNOTATION: "5"})
STATEFUL = obj("apps/v1", "StatefulSet", "d", "a", spec={"volumeClaimTemplates": [{"metadata": {"name": "data"}}]})
TREE = [CONFIG, NAMESPACE, SECRET, CUSTOM, BARRIER, STATEFUL]


def made(objects: list[Obj] = TREE) -> dict[str, Obj]:
    """Return the files, read again."""
    return {path: yaml.safe_load(text) for path, text in subject.files(objects, REPOSITORY, BRANCH).items()}


def test_folders_are_areas_and_secrets_are_in_none() -> None:
    """One folder for each namespace and one for what is in none; no Secret, and an application for each folder."""
    assert sorted(made()) == [
        "a/configmap-c.yaml",
        "a/statefulset.apps-d.yaml",
        "applications/a.yaml",
        "applications/b.yaml",
        "applications/cluster.yaml",
        "b/configmap-first.yaml",
        "b/lamp.x.org-l.yaml",
        "cluster/namespace-a.yaml",
    ]


def test_an_area_of_secrets_alone_has_no_application() -> None:
    """Argo CD refuses an application without a folder."""
    assert made([SECRET]) == {}


def test_waves_are_those_of_deploy() -> None:
    """Foundations, then everything else together, and barriers where the tree has them."""
    waves = {path: int(entry["metadata"]["annotations"][ANNOTATION]) for path, entry in made().items()}

    assert waves["cluster/namespace-a.yaml"] == 0
    assert waves["b/configmap-first.yaml"] == 5
    assert waves["a/configmap-c.yaml"] == waves["b/lamp.x.org-l.yaml"] == 10
    assert waves["applications/cluster.yaml"] < waves["applications/a.yaml"]


@pytest.mark.parametrize(("live", "wave"), [(None, "5"), ({}, "5"), ({ANNOTATION: "10"}, "10")])
def test_waves_alone_are_no_change(live: dict[str, str] | None, wave: str) -> None:
    """What only Argo CD reads is compared with nothing: it applies an object again when more than that differs."""
    there = None if live is None else obj("v1", "ConfigMap", "first", "b", annotations=live)

    assert subject.told_as(BARRIER, there)["metadata"]["annotations"] == {ANNOTATION: wave}


@pytest.mark.parametrize(("path", "kept"), [("a/statefulset.apps-d.yaml", True), ("a/configmap-c.yaml", False)])
def test_what_holds_data_is_not_pruned(path: str, kept: bool) -> None:  # noqa: FBT001 - a column of the table
    """A file that leaves the branch takes no data with it."""
    assert (made()[path]["metadata"]["annotations"].get(subject.OPTIONS) == subject.KEEP) is kept


def test_the_tree_itself_is_left_alone() -> None:
    """What is written for Git is a copy."""
    subject.files(TREE, REPOSITORY, BRANCH)

    assert "annotations" not in CONFIG["metadata"]


def test_two_objects_of_one_path_are_refused() -> None:
    """A file holds one object: the second would hide the first."""
    with pytest.raises(BetelgeuseError, match=r"two objects of the tree are a/configmap-c\.yaml"):
        subject.files([CONFIG, CONFIG], REPOSITORY, BRANCH)


def test_applications_follow_the_branch_and_heal() -> None:
    """Each is of the platform's project and repository, by itself, and leaves what it brought about when it goes."""
    app = made()["applications/a.yaml"]

    assert app["spec"]["source"] == {"repoURL": REPOSITORY, "targetRevision": BRANCH, "path": "a"}
    assert app["spec"]["destination"]["namespace"] == "a"
    assert app["spec"]["syncPolicy"]["automated"] == {"prune": True, "selfHeal": True}
    assert app["spec"]["project"] == subject.project(REPOSITORY, "KEY")["metadata"]["name"]
    assert "finalizers" not in app["metadata"]
    assert subject.project(REPOSITORY, "KEY")["spec"]["sourceRepos"] == [REPOSITORY]
    assert subject.binding()["subjects"][0]["name"] == subject.CONTROLLER


def test_who_owns_the_platform() -> None:
    """Argo CD does while the application of applications follows its branch by itself."""
    root = subject.root(REPOSITORY, BRANCH)

    assert subject.handed_over(root)
    assert not subject.handed_over(None)
    assert not subject.handed_over({"spec": {}})


def test_deploy_is_refused_where_argo_cd_owns() -> None:
    """The refusal names both ways on; a cluster without Argo CD, and one that was handed back, are deploy's."""
    subject.refuse(FakeKube().kube, "local")
    assert not subject.owned(NoArgoCD().kube)
    with pytest.raises(RefusedError, match=r"--publish.*--disable"):
        subject.refuse(FakeKube(subject.root(REPOSITORY, BRANCH)).kube, "local")


class NoArgoCD(FakeKube):
    """A cluster that does not know the kind."""

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Obj | None:
        """Say what the API server says of a kind without its CRD."""
        message = f"no {kind} of {api_version} ({namespace}/{name})"
        raise UnknownKindError(message, 404)


def status(sync: str, health: str, revision: str = "r", message: str = "", condition: str = "") -> Obj:
    """Return an application in a state."""
    words: Obj = {"operationState": {"message": message}} if message else {}
    words |= {"conditions": [{"type": "ComparisonError", "message": condition}]} if condition else {}
    told = {"sync": {"status": sync, "revision": revision}, "health": {"status": health} if health else {}, **words}
    return obj("argoproj.io/v1alpha1", "Application", "x", "gitops", status=told)


@pytest.mark.parametrize(
    ("apps", "wanted"),
    [
        ([], "x: not there yet"),
        ([status("Synced", "Healthy", "older")], "x: has not seen the commit"),
        ([status("OutOfSync", "Healthy", message="denied")], "x: denied"),
        ([status("Unknown", "Healthy", message="before", condition="unsigned")], "x: unsigned"),
        ([status("OutOfSync", "Healthy")], "x: OutOfSync"),
        ([status("Synced", "Degraded")], "x: Degraded"),
        ([status("Synced", "")], "x: health unknown"),
        ([status("Synced", "Healthy")], ""),
    ],
    ids=["absent", "older", "refused", "not-looked-at", "differs", "degraded", "unknown", "good"],
)
def test_a_commit_is_brought_about_when_all_say_so(apps: list[Obj], wanted: str) -> None:
    """The first application that is not there yet says why."""
    assert subject.fault(apps, ["x"], "r") == wanted


def test_ownership_is_given_back() -> None:
    """Only Argo CD's entry goes, and only from the very version that was looked at."""
    ours, theirs = {"manager": "betelgeuse"}, {"manager": subject.MANAGER}
    live = obj("v1", "ConfigMap", "c", "a", managedFields=[ours, theirs])
    live["metadata"]["resourceVersion"] = "7"

    assert subject.disowned(live) == [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"},
        {"op": "replace", "path": "/metadata/managedFields", "value": [ours]},
    ]
    assert subject.disowned(obj("v1", "ConfigMap", "c", "a", managedFields=[ours])) is None
