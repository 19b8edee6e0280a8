"""A throw-away kind cluster by pytest-kind, without kind's own CNI, with the images that no registry has."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from betelgeuse.builds import images
from betelgeuse.programs import table

CONFIG = Path(__file__).with_name("kind.yaml")
CLUSTER = "betelgeuse"
"""kind names the context kind-betelgeuse, which overlays/kind/environment.env lists."""


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config) -> Iterator[Any]:
    """Give the running cluster; it is deleted afterwards unless --keep-cluster is given."""
    # Only the environment of `nox -s kind` has it.
    from pytest_kind import KindCluster  # noqa: PLC0415 - see above

    program = pytestconfig.getoption("kind_bin") or shutil.which("kind")
    running = KindCluster(CLUSTER, kind_path=Path(program) if program else None)
    running.create(CONFIG)
    for image in table.images().values():
        name, tag = image.upstream
        if name.startswith("ghcr.io/betelgeuse/") and not image.on_demand:
            images.build(image)
            subprocess.run(["docker", "load", "--input", images.archive(image)], check=True)  # noqa: S603 - our own file
            subprocess.run(["docker", "tag", images.reference(image), f"{name}:{tag}"], check=True)  # noqa: S603 - our own names
            running.load_docker_image(f"{name}:{tag}")
    yield running
    if not pytestconfig.getoption("keep_cluster"):
        running.delete()
