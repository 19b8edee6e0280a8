"""A folder becomes an image that starts as pods start it: for every kind of source, with small programs."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from betelgeuse import paths
from betelgeuse.builds import golang, images, maven
from betelgeuse.builds.buildah import buildah
from betelgeuse.programs import table

FOLDERS = Path(__file__).parent / "folders"
CONTAINER = Path(__file__).parent / "container.py"
SECONDS = 120
GO_OF_OUR_OWN = sorted({file.parent.parent.name for file in (paths.ROOT / "programs").glob("*/*/*_test.go")})


@pytest.fixture(autouse=True)
def programs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The tree's programs and those of this folder."""
    monkeypatch.setattr(table, "FOLDERS", [*table.FOLDERS, FOLDERS])
    table.table.cache_clear()
    yield
    table.table.cache_clear()


def run(name: str) -> subprocess.CompletedProcess[str]:
    """Build an image and run what it says, without a network and on a root that nobody can write."""
    archive, log = images.build(images.named(name)), paths.CACHE / "logs" / "test-programs.log"
    container = buildah("from", "-q", f"docker-archive:{archive}", log=log).split()[-1]
    try:
        config: dict[str, Any] = json.loads(inspected(container))["OCIv1"]["config"]
        root = buildah("mount", container, log=log).split()[-1]
        user, group = config["User"].split(":")
        said = {
            "user": int(user),
            "group": int(group),
            "folder": config.get("WorkingDir") or "/",
            "environment": dict(each.split("=", 1) for each in config.get("Env", ())),
            "command": [*config.get("Entrypoint", ()), *config.get("Cmd", ())],
        }
        argv = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", sys.executable, str(CONTAINER), root]
        return subprocess.run(  # noqa: S603 - our own words
            argv, input=json.dumps(said), capture_output=True, text=True, timeout=SECONDS, check=False
        )
    finally:
        buildah("rm", container, log=log)


def inspected(container: str) -> str:
    """Return what buildah knows of a container, whole: its log keeps only an end."""
    root = paths.CACHE / "containers"
    storage = ["--root", str(root / "storage"), "--runroot", str(root / "run"), "--storage-driver", "overlay"]
    argv = ["buildah", *storage, "inspect", container]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout  # noqa: S603 - our own words


@pytest.mark.parametrize("name", ["semver-npm", "semver-bun", "semver-pypi"])
def test_an_application_runs_without_rights_and_without_a_network(name: str) -> None:
    """From the packages in its image alone."""
    done = run(name)

    assert (done.returncode, done.stdout, done.stderr) == (0, "1.3.0\n", "")


def test_packages_are_compiled_in_the_image() -> None:
    """Where they run nobody may write what Python compiles."""
    archive = images.build(images.named("semver-pypi"))
    log = paths.CACHE / "logs" / "test-programs.log"
    container = buildah("from", "-q", f"docker-archive:{archive}", log=log).split()[-1]
    try:
        root = Path(buildah("mount", container, log=log).split()[-1])

        assert list(root.glob("opt/semver-pypi/semver/__pycache__/version.cpython-313.pyc"))
    finally:
        buildah("rm", container, log=log)


def test_a_command_of_go_runs_on_nothing() -> None:
    """The usual image of a Go program holds one file."""
    done = run("pebble")

    assert "open test/config/pebble-config.json: no such file or directory" in done.stderr


def test_what_go_embeds_may_be_built_first() -> None:
    """By a script, from npm packages and the module's own source, without a network."""
    assert run("built").stdout == "Built 2.0.0, world!\n"


@pytest.mark.parametrize("name", GO_OF_OUR_OWN)
def test_go_sources_of_our_own_pass_their_tests(name: str) -> None:
    """Those of the tree's programs, with the modules that the lock names."""
    assert "FAIL" not in golang.tested(name)


def test_jars_come_in_one_run_of_maven() -> None:
    """By their file names, the classifier included."""
    folder = maven.files(table.program("jars"))

    assert sorted(path.name for path in folder.iterdir()) == [
        "slf4j-api-2.0.17-sources.jar",
        "slf4j-api-2.0.17.jar",
        "slf4j-nop-2.0.17.jar",
    ]
