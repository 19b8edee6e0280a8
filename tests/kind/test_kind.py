"""`--env=kind` deploys and is conformant, where Docker answers. Run it with `nox -s kind`."""

import subprocess
import sys
from typing import Any

import pytest

from betelgeuse import paths
from betelgeuse.workflows import deploy

_SECONDS = 1800
"""Bounds a conformance run on a busy machine."""


def _docker() -> str:
    """Return why Docker cannot be used, or an empty string."""
    try:
        done = subprocess.run(["docker", "info"], capture_output=True, text=True, timeout=20, check=False)
    except OSError as error:
        return f"docker: {error.strerror}"
    except subprocess.TimeoutExpired:
        return "docker does not answer within 20 s"
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["docker info failed"])[-1]


REASON = _docker()
pytestmark = pytest.mark.skipif(bool(REASON), reason=f"kind needs Docker: {REASON}")


def test_deploy_and_conformance(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN401 - pytest-kind is untyped
    """The tree comes up on kind, a second deploy changes nothing, and the suite is green."""
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig_path))
    deploy.deploy("kind")

    assert deploy.deploy("kind").changes == 0

    argv = [sys.executable, "-m", "pytest", "conformance", "--env=kind"]
    done = subprocess.run(argv, cwd=paths.ROOT, timeout=_SECONDS, check=False)  # noqa: S603 - ourselves
    assert done.returncode == 0
