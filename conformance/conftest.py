"""Options, the site and the plugin of the conformance suite."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

import pytest

from betelgeuse import kube, paths, render, selection
from betelgeuse import settings as environments
from betelgeuse.errors import BetelgeuseError
from betelgeuse.identity.forward import to_pod
from betelgeuse.kube.command import exec_in
from betelgeuse.settings import Settings
from betelgeuse.surroundings import direct
from betelgeuse.tree import Host, Tree
from conformance import exemptions, features
from conformance.identity import Forward
from conformance.inside import Inside, running
from conformance.matrix import Matrix, observe
from conformance.plugin import Suite
from conformance.probes.k8s import Cluster
from conformance.site import Site

_SUITE: Final = pytest.StashKey[Suite]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options."""
    group = parser.getgroup("conformance", "what is judged")
    group.addoption("--env", default="local", help="environment, a folder of overlays/ (default: local)")
    group.addoption("--profile", default="", help="profile, a folder of profiles/ (default: the one deployed last)")
    group.addoption("--report", default="conformance", help="name of the reports' files (default: conformance)")
    group.addoption(
        "--feature",
        action="append",
        default=[],
        choices=sorted(features.FEATURES),
        help="insist on a feature: its checks run even where the tree does not show it; repeatable",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Read the environment, render the tree, and say in one line what is missing."""
    config.addinivalue_line("markers", "feature(name): skipped, with the reason, where the environment lacks it")
    # Also what libraries send to a driver on this machine.
    os.environ.update(direct())
    env = config.option.env
    try:
        settings = environments.load(env)
        cluster = Cluster(kube.connect(settings))
        profile = selection.select(env, config.option.profile, cluster.kube)
        tree = Tree(render.render(env, profile.name), settings.domain)
        rules = exemptions.load()
        if not config.option.collectonly:
            cluster.kube.raw("/readyz")
    except BetelgeuseError as error:
        message = f"conformance --env={env}: {error}"
        raise pytest.UsageError(message) from None
    bundle = paths.state_dir(env) / "ca.pem"
    site = Site(
        settings=settings,
        tree=tree,
        exemptions=rules,
        cluster=cluster,
        ca=bundle if bundle.exists() else None,
        features=features.present(tree, settings, tuple(config.option.feature)),
        forward=forwarding(settings),
        execute=partial(exec_in, settings),
    )
    if config.option.xmlpath is None:
        config.option.xmlpath = str(paths.REPORTS / f"{config.option.report}-{env}.xml")
    if not config.option.collectonly:
        site.before = site.containers()
    suite = Suite(config, site, paths.REPORTS)
    config.stash[_SUITE] = suite
    config.pluginmanager.register(suite, "betelgeuse-conformance")


def forwarding(settings: Settings) -> Forward:
    """Return the way to a pod's port: kubectl's, through the API server."""

    @contextmanager
    def forward(namespace: str, pod: str, port: int) -> Iterator[str]:
        with to_pod(settings, namespace, pod, port) as local:
            yield f"http://127.0.0.1:{local}"

    return forward


@pytest.fixture(scope="session")
def suite(pytestconfig: pytest.Config) -> Suite:
    """Return the running suite, for the check that judges the suite itself."""
    return pytestconfig.stash[_SUITE]


@pytest.fixture(scope="session")
def site(suite: Suite) -> Iterator[Site]:
    """Return the platform under test; what was made for the run is removed behind it."""
    yield suite.site
    suite.site.close()


@pytest.fixture(scope="session")
def inside(site: Site) -> Iterator[Inside]:
    """Put the prober into the cluster for the time of the run."""
    with running(site) as prober:
        yield prober


@pytest.fixture(scope="session")
def matrix(site: Site, inside: Inside) -> Matrix:
    """Let everybody try everybody, once."""
    return observe(site, inside)


@pytest.fixture(scope="session")
def llm(site: Site) -> Host:
    """Return the language model's host."""
    return site.host("llm")


@pytest.fixture(scope="session")
def embeddings(site: Site) -> Host:
    """Return the embedding model's host."""
    return site.host("embeddings")
