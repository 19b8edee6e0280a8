"""The model platform as a fixture."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from betelgeuse.settings import Settings
from betelgeuse.tree import Tree
from conformance import features
from conformance.exemptions import Exemptions, PortExemption, PowerExemption
from conformance.probes.k8s import Cluster
from conformance.site import Site
from tests.conformance_suite.cluster import FakeKube, tree_objects
from tests.conformance_suite.idp import DOMAIN
from tests.conformance_suite.model import Edge
from tests.conformance_suite.pki import Authority

if TYPE_CHECKING:
    from betelgeuse.kube import Kube

Build = Callable[..., Site]


@pytest.fixture(scope="session")
def authority() -> Authority:
    """Return the root the model platform's clients trust."""
    return Authority()


@pytest.fixture
def build(tmp_path: Path, authority: Authority) -> Iterator[Build]:
    """Return a builder of model sites: good, or with the named faults."""
    with ExitStack() as stack:

        def make(*faults: str) -> Site:
            edge = Edge(tmp_path, set(faults), authority)
            stack.callback(edge.close)
            tree = Tree(tree_objects(edge.https, edge.http), DOMAIN)
            kube = FakeKube(tree.objects, edge.stored, edge.renew)
            edge.llm.restarted = partial(kube.restart, "llm-0", "ai")
            settings = Settings("model", DOMAIN, gateway_addresses=("127.0.0.1",))
            site = Site(
                settings=settings,
                tree=tree,
                exemptions=Exemptions(
                    ports=(PortExemption(22, "SSH of the machine the tests run on"),),
                    powers=(PowerExemption("gateway/envoy-gateway", ("read-secrets", "make-pods"), "starts proxies"),),
                ),
                cluster=Cluster(cast("Kube", kube)),
                ca=authority.write(tmp_path / "ca.pem"),
                features={**features.present(tree, settings), "etcd": True},
                execute=kube.execute,
                forward=edge.forward,
            )
            site.before = site.containers()
            stack.callback(site.close)
            return site

        yield make
