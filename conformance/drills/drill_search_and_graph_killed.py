"""Neo4j and OpenSearch killed without notice: each is back by itself, with what it had acknowledged."""

import uuid
from typing import Final

import pytest

from betelgeuse.tree import Ref
from conformance import stores
from conformance.drills.pods import found, strike
from conformance.identity import ready
from conformance.inside import Inside
from conformance.site import Site
from conformance.stores import account
from conformance.verdict import poll, require

_BACK: Final = 300.0
"""Seconds of a Java server's start on a busy machine of two cores."""
_GRAPH: Final = """
from neo4j import GraphDatabase, TrustCustomCAs
keys = values["keys"]
trusted = TrustCustomCAs(file(keys["ca.crt"]))
with GraphDatabase.driver(f"bolt://{keys['host']}:{keys['port']}", auth=(keys["user"], keys["password"]),
                          encrypted=True, trusted_certificates=trusted) as driver:
    def ask(text):
        return driver.execute_query(text, mark=values["mark"], database_="neo4j").records
    if values["step"] == "write":
        ask("UNWIND range(1, 100) AS number CREATE (:Conformance {mark: $mark, number: number})")
    result = ask("MATCH (n:Conformance {mark: $mark}) RETURN count(n)")[0][0]
    if values["step"] == "read":
        ask("MATCH (n:Conformance {mark: $mark}) DELETE n")
"""
_SEARCH: Final = """
from opensearchpy import OpenSearch
keys, index = values["keys"], f"research-{values['mark']}"
client = OpenSearch([{"host": keys["host"], "port": int(keys["port"])}], http_auth=(keys["user"], keys["password"]),
                    use_ssl=True, ca_certs=file(keys["ca.crt"]), timeout=60, max_retries=0)
if values["step"] == "write":
    rows = [row for number in range(100) for row in ({"index": {}}, {"number": number})]
    assert not client.bulk(index=index, body=rows)["errors"]
client.indices.refresh(index=index)
result = client.count(index=index)["count"]
if values["step"] == "read":
    client.indices.delete(index=index)
"""


@pytest.mark.parametrize(
    ("area", "name", "snippet"),
    [
        pytest.param("graph", "neo4j", _GRAPH, marks=pytest.mark.feature("store-neo4j")),
        pytest.param("elastic", "opensearch", _SEARCH, marks=pytest.mark.feature("store-opensearch")),
    ],
)
def test_what_was_acknowledged_survives_the_pod(site: Site, inside: Inside, area: str, name: str, snippet: str) -> None:
    """A pod killed without notice is replaced, and the new one has everything that the old one acknowledged."""
    keys, mark = account(site, name, "research"), f"drill-{uuid.uuid4().hex[:12]}"

    place = Ref("Pod", area, f"{name}-0", "v1")

    def pod() -> tuple[str, bool]:
        seen = found(site, place)
        return seen.get("metadata", {}).get("uid", ""), bool(seen) and ready(seen)

    with stores.client(site, inside) as client:
        written = client.run(snippet, timeout=120, keys=keys, mark=mark, step="write")
        old, _ = pod()
        strike(site, place)
        (new, back), seconds = poll(pod, lambda seen: seen[1] and seen[0] != old, _BACK)
        left = client.run(snippet, timeout=120, keys=keys, mark=mark, step="read") if back else None

    site.facts[f"{name} killed"] = f"{left} of {written} rows there, ready after {seconds:.0f} s"
    require(
        written == left == 100 and new != old,  # noqa: PLR2004 - as written
        where=f"pod {area}/{name}-0, killed after a write",
        want=f"another pod within {_BACK:.0f} s, with all 100 rows",
        got=f"{written} written, {left} there after {seconds:.0f} s",
        reproduce=f"kubectl -n {area} get pods,events",
    )
