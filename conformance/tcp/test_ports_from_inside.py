"""The nodes' ports as a pod sees them."""

import pytest

from betelgeuse.policy.parties import SHUT
from conformance.matrix import Matrix
from conformance.site import Site
from conformance.verdict import require, require_none

pytestmark = pytest.mark.feature("matrix")


def test_pod_sees_no_other_port_of_a_node(site: Site, matrix: Matrix) -> None:
    """A pod that no policy holds back finds, out of all 65 535 ports of each node, only listed ones, and fewer."""
    listed = {entry.port for entry in site.exemptions.ports} - set(SHUT)
    allowed = {*site.tree.ports, *listed, *site.cluster.health_checks()}
    surplus = {address: sorted(found - allowed) for address, found in matrix.open_ports.items() if found - allowed}

    require(
        matrix.open_ports,
        where="nodes",
        want="a full scan from a pod",
        got="none",
        reproduce="python -m pytest conformance/tcp",
    )
    require_none(
        [f"{address}: {ports}" for address, ports in surplus.items()],
        where=f"{len(matrix.open_ports)} nodes, 65535 ports each, from a pod",
        want=f"only {sorted(allowed)}",
        reproduce="kubectl get pods -A -o wide; ss -tlnp on the node",
    )
