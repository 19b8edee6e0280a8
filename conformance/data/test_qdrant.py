"""The vector store: Qdrant's client inside by the store's key, outside by a token, and nobody else."""

import re
import ssl
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from qdrant_client import QdrantClient, models

from betelgeuse.tree import Host
from conformance.names import resolved
from conformance.probes.http import Request
from conformance.secrecy import Secret
from conformance.site import Site
from conformance.stores import Client, vectors_key
from conformance.timeouts import TIMEOUTS
from conformance.verdict import require, require_none

pytestmark = pytest.mark.feature("store-qdrant")

_INSIDE = """
import urllib.request
from qdrant_client import QdrantClient, models
name = values["name"]
def connect(key):
    return QdrantClient(url="http://qdrant.vec.svc.cluster.local:6333", api_key=key, timeout=10,
                        check_compatibility=False)
client = connect(values["key"])
"""
_WRITE = """
client.create_collection(name, vectors_config=models.VectorParams(size=3, distance=models.Distance.COSINE))
try:
    client.upsert(name, [models.PointStruct(id=1, vector=[1, 0, 0], payload={"city": "Rome"}),
                         models.PointStruct(id=2, vector=[0, 1, 0], payload={"city": "Oslo"}),
                         models.PointStruct(id=3, vector=[0.9, 0.1, 0], payload={"city": "Oslo"})], wait=True)
    oslo = models.Filter(must=[models.FieldCondition(key="city", match=models.MatchValue(value="Oslo"))])
    result = [
        [point.id for point in client.query_points(name, query=[1, 0, 0], limit=2).points],
        [point.id for point in client.query_points(name, query=[1, 0, 0], query_filter=oslo).points],
        [point.payload["city"] for point in client.retrieve(name, [1])],
        [point.id for point in client.scroll(name, scroll_filter=oslo)[0]],
        client.count(name).count,
        client.delete(name, points_selector=[1]) and client.count(name).count,
    ]
finally:
    client.delete_collection(name)
"""
_TRY = """
def anonymous():
    return urllib.request.urlopen("http://qdrant.vec.svc.cluster.local:6333/collections", timeout=5).status
result = [attempt(lambda: len(client.get_collections().collections)),
          attempt(lambda: connect("x" + values["key"]).get_collections()), attempt(anonymous)]
"""
_OPEN = "kubectl -n vec get secret qdrant"


@pytest.fixture
def vector(site: Site) -> Host:
    """Return the public host."""
    return site.host("vector")


def _name() -> str:
    return f"conformance-{uuid.uuid4().hex[:12]}"


@contextmanager
def _outside(site: Site, vector: Host) -> Iterator[QdrantClient]:
    """Yield a client outside, which sends a token of the realm and no key."""
    ((_, header),) = site.credentials(vector)
    token = (header.reveal() if isinstance(header, Secret) else header).partition(" ")[2]
    with resolved(site, vector.name):
        yield QdrantClient(
            url=f"https://{vector.name}",
            port=443,
            auth_token_provider=lambda: token,
            timeout=int(TIMEOUTS.answer),
            verify=ssl.create_default_context(cafile=site.ca),
            check_compatibility=False,
        )


def test_client_inside_finds_what_it_wrote(site: Site, client: Client) -> None:
    """A pod with the store's label and key makes a collection, and finds points by vector, payload and id."""
    seen = client.run(_INSIDE + _WRITE, key=vectors_key(site).reveal(), name=_name())

    wanted = [[1, 3], [3, 2], ["Rome"], [2, 3], 3, 2]
    require(seen == wanted, where="qdrant.vec", want=str(wanted), got=seen, reproduce=_OPEN)


def test_client_knows_the_server(client: Client, site: Site) -> None:
    """The server tells its version where a client looks for it: else each one begins with a warning."""
    seen = client.run(_INSIDE + "result = client.info().version", key=vectors_key(site).reveal(), name="")

    require(re.fullmatch(r"\d+\.\d+\.\d+", seen), where="qdrant.vec", want="a version", got=seen, reproduce=_OPEN)


def test_client_outside_finds_what_it_wrote(site: Site, vector: Host) -> None:
    """A laptop with a token makes a collection through the gateway, and finds the nearest point."""
    name = _name()
    with _outside(site, vector) as outside:
        params = models.VectorParams(size=2, distance=models.Distance.DOT)
        outside.create_collection(name, vectors_config=params)
        try:
            points = [models.PointStruct(id=number, vector=[float(number), 1.0]) for number in range(100)]
            outside.upsert(name, points, wait=True)
            seen = [point.id for point in outside.query_points(name, query=[1.0, 0.0], limit=1).points]
        finally:
            outside.delete_collection(name)

    require(seen == [99], where=f"https://{vector}", want="point 99", got=seen, reproduce=_OPEN)


def test_key_is_required_inside(site: Site, client: Client) -> None:
    """From a pod, another key and none are refused."""
    control, wrong, anonymous = client.run(_INSIDE + _TRY, key=vectors_key(site).reveal(), name="")

    require("value" in control, where="qdrant.vec", want="the collections", got=control, reproduce=_OPEN)
    require_none(
        [f"{way}: {got}" for way, got in (("another key", wrong), ("no key", anonymous)) if "401" not in str(got)],
        where="qdrant.vec",
        want="401",
        reproduce=_OPEN,
    )


def test_key_opens_nothing_outside(site: Site, vector: Host) -> None:
    """Through the gateway the store's own key is no token."""
    request = Request(vector.name, "/collections", headers=(("api-key", vectors_key(site)),))

    answer = site.send(request)

    require(
        answer.status == 401,
        where=f"https://{vector}/collections",
        want="401",
        got=str(answer),
        reproduce=site.curl(request),
    )
