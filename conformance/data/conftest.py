"""What the checks of the stores share."""

from collections.abc import Iterator

import pytest

from conformance import stores
from conformance.inside import Inside
from conformance.site import Site


@pytest.fixture(scope="session")
def client(site: Site, inside: Inside) -> Iterator[stores.Client]:
    """Return a pod inside the cluster with every store's client library."""
    with stores.client(site, inside) as pod:
        yield pod


@pytest.fixture(scope="session")
def stranger(site: Site, inside: Inside) -> Iterator[stores.Client]:
    """Return a pod with the same programs that may use no store from inside: it has the gateway, as the world has."""
    with stores.client(site, inside, "stores-stranger", ()) as pod:
        yield pod
