"""The servers that the stories are told on; they and their environment are gone afterwards."""

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from betelgeuse import paths, system
from betelgeuse.progress import say
from betelgeuse.shell import run
from tests.rehearsal import machines
from tests.rehearsal.machines import ENV, Machine
from tests.rehearsal.story import invoke

_LOOKS = {"tcpdump": ("/usr/bin/tcpdump", "sees what goes over the wire")}
_NO_PART = (".git", ".venv", ".nox", ".mypy_cache", ".pytest_cache", ".ruff_cache", "__pycache__", "reports")
"""Of a checkout: what is not the tree."""
_LOCK_SECONDS = 600.0
_SOCKET = re.compile(r"SSH_AUTH_SOCK=([^;]+);.*SSH_AGENT_PID=(\d+);", re.DOTALL)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Say how many servers, and which story."""
    parser.addoption("--single", action="store_true", help="one server runs everything; else there are three")
    upgrade = "the story is another: a cluster of this version of Kubernetes, such as 1.36.3, is upgraded to the tree's"
    parser.addoption("--upgrade-from", metavar="VERSION", help=upgrade)


@pytest.fixture(scope="session")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give an SSH agent with the key that servers let in: a deploy asks for no file."""
    said = _SOCKET.search(run(["ssh-agent", "-s"]))
    assert said is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSH_AUTH_SOCK", said[1])
        patch.setenv("SSH_AGENT_PID", said[2])
        run(["ssh-add", "-q", str(machines.key_file())])
        yield tmp_path_factory.mktemp("rehearsal")
        run(["ssh-agent", "-k"])


def _boot(count: int, agent: Path) -> Iterator[Sequence[Machine]]:
    """Boot bare servers, freshly installed; keep what their consoles said, and take them away."""
    assert os.geteuid() == 0, "servers in namespaces need root"
    assert agent.is_dir()
    system.install(_LOOKS | system.BROWSER)
    machines.down()
    booted = machines.up(count)
    try:
        yield booted
    finally:
        for machine in booted:
            shutil.copy2(machine.folder / "console.log", paths.REPORTS / f"rehearsal-console-{machine.index}.log")
        machines.down()
        shutil.rmtree(paths.state_dir(ENV), ignore_errors=True)
        say("the servers and their environment are gone")


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest, agent: Path) -> Iterator[Machine]:
    """Give a bare server, freshly installed and booted."""
    if request.config.getoption("--upgrade-from") or not request.config.getoption("--single"):
        pytest.skip("this is told of one server: say --single alone")
    for (machine,) in _boot(1, agent):
        yield machine


@pytest.fixture(scope="session")
def three(request: pytest.FixtureRequest, agent: Path) -> Iterator[Sequence[Machine]]:
    """Give three bare servers, freshly installed and booted."""
    if request.config.getoption("--upgrade-from") or request.config.getoption("--single"):
        pytest.skip("this is told of three servers: say neither --single nor --upgrade-from")
    yield from _several(3, agent)


def _several(count: int, agent: Path) -> Iterator[Sequence[Machine]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NODES", str(count))
        yield from _boot(count, agent)


@pytest.fixture(scope="session")
def older(request: pytest.FixtureRequest, agent: Path) -> Iterator[Sequence[Machine]]:
    """Give bare servers for a cluster that is to be upgraded: one or three."""
    if not request.config.getoption("--upgrade-from"):
        pytest.skip("this is told of another version of Kubernetes: say --upgrade-from=VERSION")
    yield from _several(1 if request.config.getoption("--single") else 3, agent)


@pytest.fixture(scope="session")
def former(request: pytest.FixtureRequest, older: Sequence[Machine], agent: Path) -> Path:
    """Give a checkout that differs from this one in its version of Kubernetes alone, and knows the same servers."""
    assert older
    tree = agent / "former"
    shutil.copytree(paths.ROOT, tree, symlinks=True, ignore=shutil.ignore_patterns(*_NO_PART))
    file = tree / "programs/kubernetes/program.yaml"
    text, version = file.read_text("utf-8"), str(request.config.getoption("--upgrade-from"))
    file.write_text(re.sub(r"^version: .*", f"version: {version}", text), "utf-8")
    # What only the newer one requires would be too new for it.
    modules = tree / "programs/kubernetes/go.mod"
    modules.write_text(re.sub(r"(?m)^.*// indirect\n", "", modules.read_text("utf-8")), "utf-8")
    code, said = invoke("lock", "--program=kubernetes", seconds=_LOCK_SECONDS, tree=tree)
    assert code == 0, said
    return tree
