"""Nobody calls home: what people work with is not even refused a way out, for it asks for none."""

from datetime import datetime
from typing import Final

import pytest

from betelgeuse.policy import drops
from conformance.plugin import Suite
from conformance.site import Site
from conformance.verdict import require, require_none

_AREAS: Final = ("gitops", "argo", "ml", "automation")
_AGENT: Final = "k8s-app=cilium"
_READ: Final = """
cat /var/run/cilium/hubble/drops*.log | wc -l
cat /var/run/cilium/hubble/drops*.log | grep -v -F betelgeuse.io/conformance || test $? = 1
"""
"""How many lines the agent still has, and those without the suite's own pods; grep says 1 where none is left."""


@pytest.mark.feature("n8n")
@pytest.mark.last
def test_nothing_was_sent_to_the_world(site: Site, suite: Suite) -> None:
    """While the suite ran, no pod of these areas tried to reach an address outside of the cluster."""
    areas = [area for area in _AREAS if area in site.tree.namespaces]
    agents = site.cluster.fresh("v1", "Pod", "kube-system", labels=_AGENT)
    written = 0
    lines: list[str] = []
    for agent in agents:
        count, *rest = site.execute("kube-system", agent["metadata"]["name"], ["sh", "-c", _READ]).splitlines()
        written += int(count)
        lines += rest

    begun = suite.run.started
    outgoing = [
        f"{drop.caller} -> {drop.callee} port {drop.door}, {drop.count} times, last {drop.last}"
        for drop in drops.read(lines)
        if drop.caller.partition("/")[0] in areas
        and drop.callee.startswith("world")
        and datetime.fromisoformat(drop.last) >= begun
    ]
    again = f"invoke policy-graph --env={site.settings.env} --live"
    require(
        areas and written,
        where=f"{len(areas)} areas, {len(agents)} agents",
        want="areas to look at, and some line of somebody's: silence of an agent that writes nothing says nothing",
        got=f"{written} lines",
        reproduce=again,
    )
    require_none(
        outgoing, where=", ".join(areas), want="no connection to the world, not even a refused one", reproduce=again
    )
