"""`--env=kind` deploys, is conformant and goes away whole. Run it with `nox -s kind`."""

import subprocess
import sys
from typing import Final

import pytest

from betelgeuse import paths
from betelgeuse.clusters.kind import engine, nodes
from betelgeuse.workflows import plan
from betelgeuse.workflows.deploy import deploy
from betelgeuse.workflows.destroy import destroy
from tests.kind.conftest import FORWARDING

_SECONDS: Final = 3600
"""Bounds a conformance run on a busy machine."""


@pytest.mark.usefixtures("cluster")
def test_deploy_and_conformance() -> None:
    """The tree comes up on kind, a second deploy changes nothing, and the suite is green."""
    deploy("kind")

    assert deploy("kind").changes == 0
    assert plan.show("kind") == plan.NO_CHANGES
    argv = [sys.executable, "-m", "pytest", "conformance", "--env=kind"]
    done = subprocess.run(argv, cwd=paths.ROOT, timeout=_SECONDS, check=False)  # noqa: S603 - ourselves
    assert done.returncode == 0


def test_destroy_leaves_nothing(forwarding: str, pytestconfig: pytest.Config) -> None:
    """No container, network, volume or image; the machine forwards only if it did before."""
    if pytestconfig.getoption("keep_cluster"):
        pytest.skip("--keep-cluster: it stays")
    name = engine.chosen().name
    destroy("kind")
    assert not paths.state_dir("kind").exists()

    # Which settings podman has here is written down anew for the question.
    running = engine.named(name)
    left = [
        running.run("ps", "--all", "--quiet", "--filter", f"label=io.x-k8s.kind.cluster={nodes.NAME}"),
        running.run("network", "ls", "--quiet", "--filter", f"name={engine.NETWORK}"),
        running.run("volume", "ls", "--quiet", "--filter", f"label=io.x-k8s.kind.cluster={nodes.NAME}"),
        running.run("images", "--quiet", "betelgeuse.local/kind-node"),
    ]
    destroy("kind")
    assert "".join(left).strip() == ""
    assert FORWARDING.read_text() == forwarding
