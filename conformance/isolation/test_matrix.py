"""Namespace by namespace, port by port: what the policies allow comes through, and nothing else."""

import pytest

from betelgeuse.policy.parties import METADATA, SHUT
from conformance.inside import Inside
from conformance.matrix import Matrix
from conformance.site import Site
from conformance.verdict import require, require_none

pytestmark = pytest.mark.feature("matrix")


def _by_hand(site: Site, namespace: str) -> str:
    return f"invoke policy-graph --env={site.settings.env} --live; kubectl -n {namespace} get networkpolicies,cnp"


def test_traffic_is_what_the_policies_say(site: Site, matrix: Matrix, namespace: str) -> None:
    """From every kind of pod of the namespace, exactly the declared connections come through, to everybody."""
    cells = matrix.of(namespace)

    # The control plane's own namespace has no default: its pods share the nodes' network.
    tried = cells or site.exemptions.level(namespace) == "privileged"
    require_none(
        [cell.fault for cell in cells if cell.fault] if tried else ["no cell was tried"],
        where=f"namespace {namespace}, {len(cells)} cells",
        want="network and policies agree",
        reproduce=_by_hand(site, namespace),
    )


def test_strangers_traffic_is_what_the_policies_say(site: Site, inside: Inside, matrix: Matrix) -> None:
    """A pod of a namespace that the platform does not know reaches what every pod may reach, and nothing else."""
    cells = matrix.of(inside.namespace)

    require_none(
        [cell.fault for cell in cells if cell.fault] if cells else ["no cell was tried"],
        where=f"a strange namespace, {len(cells)} cells",
        want="network and policies agree",
        reproduce=_by_hand(site, inside.namespace),
    )


def test_no_pod_reaches_what_is_the_nodes_own(site: Site, matrix: Matrix) -> None:
    """No unlisted pod, not even one no policy of ours holds back, reaches SSH, kubelet, etcd or the metadata."""
    places = [cell for cell in matrix.cells if not cell.goal.party.is_pod and _is_forbidden(cell.goal.place)]

    require(
        places,
        where="matrix",
        want="these places tried",
        got="none",
        reproduce="python -m pytest conformance/isolation",
    )
    require_none(
        [
            f"{cell.source} -> {cell.goal}"
            for cell in places
            if cell.reached and not site.exemptions.may_reach(str(cell.source), cell.goal.place[1])
        ],
        where=f"{len(places)} attempts",
        want=f"no answer from {', '.join(SHUT.values())} or {METADATA}",
        reproduce="kubectl get ciliumclusterwidenetworkpolicies",
    )


def _is_forbidden(place: tuple[str, int]) -> bool:
    return place[1] in SHUT or place[0] == METADATA


def test_somebody_reaches_somebody(matrix: Matrix) -> None:
    """The control of this file: declared connections were tried and made, so silence elsewhere means something."""
    made = [cell for cell in matrix.cells if cell.reached]

    require(
        made and matrix.complete,
        where="matrix",
        want="some connections made, and every one tried in time",
        got=f"{len(made)} of {len(matrix.cells)} made, complete: {matrix.complete}",
        reproduce="python -m pytest conformance/isolation",
    )
