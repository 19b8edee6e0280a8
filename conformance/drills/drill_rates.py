"""How fast each store is for one client in the cluster, by its Service and by way of the gateway, in one run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pytest

from conformance.drills.canaries import KAFKA, S3
from conformance.inside import Inside
from conformance.site import Site
from conformance.stores import account, client, root, server
from conformance.verdict import require_none

_LEAST: Final = 0.2
"""The part of a store's own rate that must be left through the gateway: less is a fault of the way, not its cost."""
_ROUNDS: Final = 3
_SECONDS: Final = 300.0
_BEGIN: Final = """
keys, mark = values["keys"], values["mark"]
root = file(values["root"])
def rate(count, work):
    begin = time.monotonic()
    work()
    return count / (time.monotonic() - begin)
"""


@dataclass(frozen=True)
class Rate:
    """What is counted, and how: `rate(count, work)` a second, left in `result`."""

    store: str
    what: str
    snippet: str
    web: bool = False
    """Whether the gateway ends TLS itself, as for any web host."""


RATES: Final = (
    Rate(
        "postgres",
        "rows, each committed by itself",
        """
import psycopg
with psycopg.connect(host=keys["host"], port=keys["port"], user=keys["user"], password=keys["password"],
                     dbname=keys["database"], sslmode="verify-full", sslrootcert=root, autocommit=True) as connection:
    connection.execute("CREATE TEMPORARY TABLE rates (number int)")
    result = rate(500, lambda: [connection.execute("INSERT INTO rates VALUES (%s)", [n]) for n in range(500)])
""",
    ),
    Rate(
        "kafka",
        "messages of 1 KiB, acks=all",
        KAFKA
        + """
lost = []
producer = Producer({**way, "acks": "all", "linger.ms": 5})
def send(count):
    for n in range(count):
        producer.produce("research.events", b"x" * 1024, on_delivery=lambda error, _: lost.append(error))
    assert producer.flush(60) == 0 and not any(lost), lost
send(1)
result = rate(5000, lambda: send(5000))
""",
    ),
    Rate(
        "s3",
        "objects of 1 MiB, written and read",
        S3
        + """
def work():
    for n in range(20):
        store.put_object(Bucket="research", Key=f"{mark}/{n}", Body=bytes([n]) * 2**20)
        assert len(store.get_object(Bucket="research", Key=f"{mark}/{n}")["Body"].read()) == 2**20
result = rate(20, work)
for n in range(20):
    store.delete_object(Bucket="research", Key=f"{mark}/{n}")
""",
        web=True,
    ),
    Rate(
        "neo4j",
        "nodes, each committed by itself",
        """
from neo4j import GraphDatabase, TrustCustomCAs
with GraphDatabase.driver(f"bolt://{keys['host']}:{keys['port']}", auth=(keys["user"], keys["password"]),
                          encrypted=True, trusted_certificates=TrustCustomCAs(root)) as driver:
    def ask(text):
        return driver.execute_query(text, mark=mark, database_="neo4j")
    ask("CREATE (:Rate {mark: $mark})")
    result = rate(100, lambda: [ask("CREATE (:Rate {mark: $mark})") for n in range(100)])
    ask("MATCH (n:Rate {mark: $mark}) DELETE n")
""",
    ),
)


def _outside(site: Site, rate: Rate, keys: Mapping[str, str]) -> dict[str, str]:
    """Return an account's keys with the store's public name."""
    if rate.web:
        return {**keys, "host": site.host(rate.store).name, "port": "443"}
    host = server(site, rate.store)
    return {**keys, "host": host.name, "port": str(host.port)}


@pytest.mark.parametrize(
    "rate", [pytest.param(rate, marks=pytest.mark.feature(f"store-{rate.store}"), id=rate.store) for rate in RATES]
)
def test_the_gateway_leaves_most_of_a_stores_rate(site: Site, inside: Inside, rate: Rate) -> None:
    """One client's rate by way of the gateway is a fair part of its rate at the Service; both are in the report."""
    keys, own = account(site, rate.store, "research"), root(site).read_text("utf-8")
    edge = site.ca.read_text("utf-8") if rate.web and site.ca else own
    ways: dict[str, list[float]] = {"its Service": [], "the gateway": []}
    with client(site, inside, "rates-inside") as near, client(site, inside, "rates-outside", ()) as far:
        for at in range(_ROUNDS):
            for way, pod, given, trusted in (
                ("its Service", near, keys, own),
                ("the gateway", far, _outside(site, rate, keys), edge),
            ):
                mark = f"rates-{at}"
                ways[way].append(pod.run(_BEGIN + rate.snippet, timeout=_SECONDS, keys=given, root=trusted, mark=mark))
    best = {way: max(rates) for way, rates in ways.items()}
    share = best["the gateway"] / best["its Service"]
    told = f"{best['its Service']:.0f} a second by its Service, {best['the gateway']:.0f} by the gateway: {share:.2f}"
    site.facts[f"{rate.store}: {rate.what}"] = told
    require_none(
        [] if share >= _LEAST else [told],
        where=rate.store,
        want=f"at least {_LEAST} of its own rate by way of the gateway",
        reproduce=f"nox -s drill -- -k most_of_a_stores_rate and {rate.store}",
    )
