"""Neo4j: an account writes and reads the graph by Bolt over TLS, inside and outside; nobody comes in without one."""

import uuid
from pathlib import Path
from typing import Any

import pytest

from conformance.probes import browser as chromium
from conformance.recorder import Picture
from conformance.site import Site
from conformance.stores import Client, account, server
from conformance.timeouts import TIMEOUTS
from conformance.verdict import require, require_none

pytestmark = pytest.mark.feature("store-neo4j")

_CLIENT = """
from neo4j import GraphDatabase, TrustCustomCAs
keys = values["keys"]
root = file(keys["ca.crt"])
def query(text, auth=(keys["user"], keys["password"]), scheme="bolt", tls=True, database="neo4j", **parameters):
    secure = {"encrypted": True, "trusted_certificates": TrustCustomCAs(root)} if tls else {}
    address = f"{scheme}://{values['host']}:{keys['port']}"
    with GraphDatabase.driver(address, auth=auth and tuple(auth), connection_timeout=5, **secure) as driver:
        with driver.session(database=database) as session:
            return [list(row) for row in session.run(text, parameters)]
"""
_ROUND = """
query("CREATE (:Conformance {mark: $mark, word: 'there'})", mark=values["mark"], scheme=values["scheme"])
result = query("MATCH (n:Conformance {mark: $mark}) RETURN n.word", mark=values["mark"], scheme=values["scheme"])
query("MATCH (n:Conformance {mark: $mark}) DELETE n", mark=values["mark"])
"""
_TRY = """
result = [attempt(query, "RETURN 1"), *(attempt(query, "RETURN 1", **way) for way in values["ways"])]
"""
_ADMINISTER = """
result = [attempt(query, text, **how) for text, how in values["asked"]]
"""
_OPEN = "kubectl -n graph logs neo4j-0; docs/how-to/neo4j.md has a client's settings"
_INSIDE = "inside"
_PLACES = (_INSIDE, "through the gateway")


def _place(site: Site, client: Client, stranger: Client, place: str) -> tuple[Client, str]:
    """Return whence to ask, and whom: inside by the store's label, else as the world does, by the public name."""
    return (
        (client, account(site, "neo4j", "research")["host"])
        if place == _INSIDE
        else (stranger, server(site, "neo4j").name)
    )


@pytest.mark.parametrize("scheme", ["bolt", "neo4j"])
@pytest.mark.parametrize("place", _PLACES)
def test_what_is_written_is_read(site: Site, client: Client, stranger: Client, place: str, scheme: str) -> None:
    """A client writes a node and reads it, the certificate verified in full, with routing and without."""
    pod, host = _place(site, client, stranger, place)
    mark = uuid.uuid4().hex

    seen = pod.run(_CLIENT + _ROUND, keys=account(site, "neo4j", "research"), host=host, mark=mark, scheme=scheme)

    require(seen == [["there"]], where=f"{scheme}://{host}:7687", want="the node written", got=seen, reproduce=_OPEN)


@pytest.mark.parametrize("place", _PLACES)
def test_everything_else_is_refused(site: Site, client: Client, stranger: Client, place: str) -> None:
    """No password, another one, the maker's own, another account's name, clear text: refused within seconds."""
    pod, host = _place(site, client, stranger, place)
    keys = account(site, "neo4j", "research")
    named: list[tuple[str, dict[str, Any], str]] = [
        ("no account", {"auth": None}, "AuthError"),
        ("another password", {"auth": [keys["user"], "x" + keys["password"]]}, "AuthError"),
        ("another account's name", {"auth": ["pipelines", keys["password"]]}, "AuthError"),
        ("the maker's password", {"auth": ["neo4j", "neo4j"]}, "AuthError"),
        ("clear text", {"tls": False}, "ServiceUnavailable"),
    ]

    control, *seen = pod.run(_CLIENT + _TRY, keys=keys, host=host, ways=[way for _, way, _ in named])

    require(control.get("value") == [[1]], where=host, want="an answer", got=control, reproduce=_OPEN)
    require_none(
        [
            f"{name}: {got}"
            for (name, _, error), got in zip(named, seen, strict=True)
            if got.get("error") != error or got["seconds"] > TIMEOUTS.connect
        ],
        where=f"{host}, account research",
        want=f"refused by the server within {TIMEOUTS.connect:.0f} s",
        reproduce=_OPEN,
    )


def test_a_query_reads_no_file(site: Site, client: Client) -> None:
    """A query cannot read a file of the server's pod, its password for one."""
    keys = account(site, "neo4j", "research")
    (seen,) = client.run(
        _CLIENT + _ADMINISTER,
        keys=keys,
        host=keys["host"],
        asked=[["LOAD CSV FROM 'file:///secret/password' AS line RETURN line", {}]],
    )

    require("error" in seen, where="graph/neo4j", want="a refusal", got=seen, reproduce=_OPEN)


def _value(window: chromium.Chromium, field: str) -> str:
    found = window.find(f"[data-testid={field}]")
    return "" if found is None else str(found.get_attribute("value"))


@pytest.mark.feature("login")
def test_its_page_leads_to_the_graph(site: Site, tmp_path: Path) -> None:
    """Neo4j's page, behind the login, offers this server by its public name over TLS, and an account gets in there."""
    host, keys, endpoint = site.host("neo4j"), account(site, "neo4j", "research"), site.endpoint()
    person = site.identity.person(site.identity.right_group(host))
    roots = tmp_path / "roots.pem"
    roots.write_text((site.ca.read_text() if site.ca else "") + keys["ca.crt"])
    ports = {443: endpoint.https, 7687: 7687}
    rules = {f"*.{site.tree.domain}:{port}": f"{endpoint.address}:{mapped}" for port, mapped in ports.items()}

    with chromium.running(rules, roots) as window:
        window.open(f"https://{host}/")
        window.log_in(person.name, person.password)
        window.wait(lambda: window.find("[data-testid=boltaddress]"))
        offered = [_value(window, field) for field in ("bolt-scheme-select", "boltaddress")]
        for field in ("username", "password"):
            if found := window.find(f"[data-testid={field}]"):
                found.send_keys(keys["user" if field == "username" else field])
        window.click("[data-testid=connect]")
        connected = window.wait(lambda: "You are connected as user research" in window.text)
        site.pictures.append(Picture("neo4j", "Neo4j's page, connected", window.picture()))

    require(
        connected and offered == ["neo4j+s://", f"{host}:7687"],
        where=f"https://{host}/ in Chromium",
        want=f"neo4j+s://{host}:7687 offered, and an account let in",
        got=f"{offered} offered, {'' if connected else 'not '}let in",
        reproduce=_OPEN,
    )
