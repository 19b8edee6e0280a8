"""OpenSearch: an account has the indices of its patterns over TLS, and nothing else; outside there is no way to it."""

import uuid
from typing import Any

import pytest

from conformance.site import Site
from conformance.stores import Client, account
from conformance.timeouts import TIMEOUTS
from conformance.verdict import require, require_none

pytestmark = pytest.mark.feature("store-opensearch")

_CLIENT = """
from opensearchpy import OpenSearch
keys = values["keys"]
root = file(keys["ca.crt"])
def client(auth=(keys["user"], keys["password"]), tls=True):
    secure = {"use_ssl": True, "ca_certs": root} if tls else {"use_ssl": False}
    hosts = [{"host": keys["host"], "port": int(keys["port"])}]
    return OpenSearch(hosts, http_auth=auth and tuple(auth), timeout=20, max_retries=0, **secure)
def ask(method, path, body=None, **how):
    return client(**how).transport.perform_request(method, path, body=body)
"""
_ROUND = """
mine, index = client(), values["index"]
mine.index(index=index, id="1", body={"word": "gefunden"}, refresh=True)
found = mine.search(index=index, body={"query": {"match": {"word": "gefunden"}}})
result = [hit["_source"]["word"] for hit in found["hits"]["hits"]]
mine.indices.delete(index=index)
"""
_TRY = """
result = [attempt(ask, "GET", "/"), *(attempt(ask, *way, **how) for way, how in values["ways"])]
"""
_OPEN = "kubectl -n elastic logs opensearch-0; docs/how-to/opensearch.md has a client's settings"
_DOCUMENT = {"word": "conformance"}
_SETTING = {"cluster.max_shards_per_node": 1000}


def test_what_is_written_is_found(site: Site, client: Client) -> None:
    """A pod with the store's label makes an index, writes a document and finds it, the certificate verified in full."""
    index = f"research-conformance-{uuid.uuid4().hex[:12]}"

    seen = client.run(_CLIENT + _ROUND, timeout=90, keys=account(site, "opensearch", "research"), index=index)

    require(seen == ["gefunden"], where=f"opensearch/{index}", want="the document", got=seen, reproduce=_OPEN)


def test_everything_else_is_refused(site: Site, client: Client) -> None:
    """No account, another password or name, others' indices, the accounts themselves, clear text: refused at once."""
    keys = account(site, "opensearch", "research")
    look = ["GET", "/"]
    named: list[tuple[str, list[Any], dict[str, Any], str]] = [
        ("no account", look, {"auth": None}, "AuthenticationException"),
        ("another password", look, {"auth": [keys["user"], "x" + keys["password"]]}, "AuthenticationException"),
        ("another account's name", look, {"auth": ["pipelines", keys["password"]]}, "AuthenticationException"),
        ("the maker's password", look, {"auth": ["admin", "admin"]}, "AuthenticationException"),
        ("clear text", look, {"tls": False}, "ConnectionError"),
        ("writing another's index", ["POST", "/pipelines-x/_doc", _DOCUMENT], {}, "AuthorizationException"),
        ("reading another's index", ["GET", "/pipelines-x/_search"], {}, "AuthorizationException"),
        ("an index that nobody declared", ["POST", "/conformance/_doc", _DOCUMENT], {}, "AuthorizationException"),
        ("every index at once", ["DELETE", "/*"], {}, "AuthorizationException"),
        ("the index of accounts", ["GET", "/.opendistro_security/_search"], {}, "AuthorizationException"),
        ("the list of accounts", ["GET", "/_plugins/_security/api/internalusers"], {}, "AuthorizationException"),
        (
            "the cluster's settings",
            ["PUT", "/_cluster/settings", {"transient": {"cluster.max_shards_per_node": 1000}}],
            {},
            "AuthorizationException",
        ),
    ]

    ways = [[way, how] for _, way, how, _ in named]
    control, *seen = client.run(_CLIENT + _TRY, timeout=90, keys=keys, ways=ways)

    require("value" in control, where=keys["host"], want="an answer", got=control, reproduce=_OPEN)
    require_none(
        [
            f"{name}: {got}"
            for (name, _, _, error), got in zip(named, seen, strict=True)
            if got.get("error") != error or got["seconds"] > TIMEOUTS.connect
        ],
        where=f"{keys['host']}, account research",
        want=f"refused by the server within {TIMEOUTS.connect:.0f} s",
        reproduce=_OPEN,
    )


def test_the_account_that_watches_reads_no_document(site: Site, client: Client) -> None:
    """It asks for the numbers of server and indices; documents, settings and accounts are closed to it."""
    keys = account(site, "opensearch", "monitoring")
    asked: list[list[Any]] = [
        ["GET", "/_cluster/health"],
        ["GET", "/_nodes/stats"],
        ["GET", "/_all/_stats"],
        ["GET", "/research-x/_search"],
        ["POST", "/conformance/_doc", _DOCUMENT],
        ["PUT", "/_cluster/settings", {"transient": _SETTING}],
        ["GET", "/_plugins/_security/api/internalusers"],
    ]

    _, *seen = client.run(_CLIENT + _TRY, timeout=90, keys=keys, ways=[[way, {}] for way in asked])

    require_none(
        [
            f"{' '.join(way[:2])}: {got}"
            for number, (way, got) in enumerate(zip(asked, seen, strict=True))
            if ("value" in got) != (number < len(asked) - 4)
        ],
        where=f"{keys['host']}, account monitoring",
        want="the first three answered, the others refused",
        reproduce=_OPEN,
    )
