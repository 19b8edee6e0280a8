"""A server that acknowledges nothing any more: whoever waits for it through the gateway is told so, and may try again.

A pod that is killed says farewell more often than not, and a node without power never does. Here the network is cut
between gateway and PostgreSQL while a client asks; the kernel alone would send again for a quarter of an hour.
"""

import time
from typing import Final

import psycopg
import pytest

from conformance.drills.verbs import invoke
from conformance.postgres import outside
from conformance.site import Site
from conformance.stores import account
from conformance.verdict import require

_TOLD: Final = 60.0
"""Seconds: half a minute without an acknowledgement, and a busy machine."""
_LABEL: Final = "cnpg.io/cluster"


def _cut(site: Site) -> list[str]:
    """Delete what lets anybody reach PostgreSQL; return the policies' names."""
    policies = [
        obj
        for obj in site.tree.kind("NetworkPolicy")
        if _LABEL in (obj["spec"]["podSelector"].get("matchLabels") or {}) and "ingress" in obj["spec"]
    ]
    for policy in policies:
        site.cluster.kube.delete(policy)
    return [policy["metadata"]["name"] for policy in policies]


@pytest.mark.feature("store-postgres")
def test_who_waits_for_a_server_that_is_gone_is_told(site: Site) -> None:
    """A question on a standing connection through the gateway ends with an error within a minute."""
    with outside(site, account(site, "postgres", "research")) as connection:
        connection.execute("SELECT 1")
        try:
            cut = _cut(site)
            begin, told = time.monotonic(), ""
            # What was on its way may still be answered.
            while not told and time.monotonic() - begin < _TOLD:
                try:
                    connection.execute("SELECT 1")
                except psycopg.OperationalError as error:
                    told = str(error)
            seconds = time.monotonic() - begin
        finally:
            invoke(site, "deploy")

    site.facts["PostgreSQL gone without a word"] = f"its client was told after {seconds:.0f} s: {told[:100]}"
    require(
        bool(cut) and bool(told) and seconds < _TOLD,
        where="a standing connection to PostgreSQL through the gateway",
        want=f"an error within {_TOLD:.0f} s of its server's end",
        got=f"{told or 'none'} after {seconds:.0f} s; policies taken away: {cut}",
        reproduce="nox -s drill -- -k vanished",
    )
