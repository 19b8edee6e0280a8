"""A throw-away kind cluster by pytest-kind, of the nodes that `invoke deploy --env=kind` makes."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from betelgeuse import paths, settings
from betelgeuse.clusters.kind import engine, nodes, target
from betelgeuse.clusters.local.target import settle_bases
from betelgeuse.kube.command import kubectl
from betelgeuse.pipeline import run
from betelgeuse.workflows.destroy import destroy

FORWARDING: Final = Path("/proc/sys/net/ipv4/ip_forward")


@pytest.fixture(scope="session")
def forwarding() -> str:
    """Return whether the machine forwards while there is no cluster."""
    destroy(settings.KIND)
    return FORWARDING.read_text()


@pytest.fixture(scope="session")
def cluster(forwarding: str, pytestconfig: pytest.Config) -> Iterator[Any]:
    """Give the running cluster, made from nothing; everything goes afterwards unless --keep-cluster is given."""
    del forwarding
    # Only the environment of `nox -s kind` has it.
    from pytest_kind import KindCluster  # noqa: PLC0415 - see above

    target.install()
    settle_bases()
    target.decide()
    run(target.node_tasks())
    config, image = target.prepare(settings.load(settings.KIND).nodes)
    # pytest-kind starts kind with the variables that it has itself.
    os.environ.update(engine.chosen().environment)
    running = KindCluster(
        nodes.NAME,
        paths.state_dir(settings.KIND) / "pytest-kubeconfig",
        image=image or None,
        kind_path=target.program(),
        kubectl_path=Path(kubectl()),
    )
    try:
        running.create(config)
        target.record()
        yield running
    finally:
        if not pytestconfig.getoption("keep_cluster"):
            destroy(settings.KIND)
