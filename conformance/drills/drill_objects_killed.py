"""Valkey, the object store and the vector store killed under writes: each is back with all that it confirmed."""

import threading
import time
import uuid
from collections.abc import Iterator
from typing import Final

import pytest

from betelgeuse.tree import Ref
from conformance.drills.pods import strike
from conformance.inside import Inside
from conformance.kept import kept
from conformance.site import Site
from conformance.stores import Client, account, client
from conformance.verdict import require

_BEFORE: Final = 8.0
"""Seconds from the start of the program that writes to the blow."""
_SECONDS: Final = 60.0
"""Of writing in all: a pod made anew, its volume and its files opened again on a busy machine."""
_AFTER: Final = 60.0
"""Of reading everything back, on a machine that others use."""
_OPENED: Final = {
    "valkey": """
from valkey import Valkey
store = Valkey(host=keys["host"], port=int(keys["port"]), username=keys["user"], password=keys["password"], ssl=True,
               ssl_ca_data=keys["ca.crt"], socket_timeout=2, socket_connect_timeout=2)
def put(number):
    store.set(f"research:{name}:{number}", number, ex=600)
def kept():
    return [number for number in confirmed if store.get(f"research:{name}:{number}") == str(number).encode()]
def clean():
    [store.delete(f"research:{name}:{number}") for number in confirmed]
""",
    "s3": """
import boto3
from botocore.config import Config
store = boto3.client(
    "s3", endpoint_url=f"https://{keys['host']}:{keys['port']}", region_name="us-east-1", verify=file(keys["ca.crt"]),
    aws_access_key_id=keys["user"], aws_secret_access_key=keys["password"],
    config=Config(s3={"addressing_style": "path"}, connect_timeout=2, read_timeout=5,
                  retries={"total_max_attempts": 1}))
def put(number):
    store.put_object(Bucket="research", Key=f"{name}/{number}", Body=str(number).encode())
def kept():
    return [number for number in confirmed
            if store.get_object(Bucket="research", Key=f"{name}/{number}")["Body"].read() == str(number).encode()]
def clean():
    [store.delete_object(Bucket="research", Key=f"{name}/{number}") for number in confirmed]
""",
    "qdrant": """
from qdrant_client import QdrantClient, models
store = QdrantClient(url="http://qdrant.vec.svc.cluster.local:6333", api_key=keys["key"], timeout=5,
                     check_compatibility=False)
store.create_collection(name, vectors_config=models.VectorParams(size=2, distance=models.Distance.DOT))
def put(number):
    store.upsert(name, [models.PointStruct(id=number, vector=[number, 1])], wait=True)
def kept():
    return [point.id for point in store.retrieve(name, confirmed) if point.id in confirmed]
def clean():
    store.delete_collection(name)
""",
}
_WRITE: Final = """
end, number, confirmed, gap, last = time.monotonic() + values["seconds"], 0, [], 0.0, time.monotonic()
while time.monotonic() < end:
    number += 1
    try:
        put(number)
    except Exception:
        time.sleep(0.1)
        continue
    gap, last = max(gap, time.monotonic() - last), time.monotonic()
    confirmed.append(number)
    time.sleep(0.05)
found = kept()
result = {"confirmed": len(confirmed), "lost": len(confirmed) - len(found), "gap": gap, "rest": end - last}
clean()
"""
_PODS: Final = {
    "valkey": Ref("Pod", "db", "valkey-0", "v1"),
    "s3": Ref("Pod", "storage", "seaweedfs-0", "v1"),
    "qdrant": Ref("Pod", "vec", "qdrant-0", "v1"),
}


@pytest.fixture(scope="module")
def pod(site: Site, inside: Inside) -> Iterator[Client]:
    """Return a pod inside the cluster with every store's client library."""
    with client(site, inside) as made:
        yield made


def _keys(site: Site, store: str) -> dict[str, str]:
    if store != "qdrant":
        return account(site, store, "research")
    place = Ref("Secret", "vec", "qdrant", "v1")
    return {"key": kept(site.cluster, place, "credential").reveal()}


@pytest.mark.parametrize(
    "store",
    [pytest.param(name, marks=pytest.mark.feature(f"store-{name}")) for name in _PODS],
)
def test_what_was_confirmed_survives_the_pod(site: Site, pod: Client, store: str) -> None:
    """A pod killed without notice is replaced, and the new one has everything that the old one had confirmed."""
    place = _PODS[store]

    def blow() -> None:
        time.sleep(_BEFORE)
        strike(site, place)

    killer = threading.Thread(target=blow)
    killer.start()
    seen = pod.run(
        f"keys, name = values['keys'], values['name']\n{_OPENED[store]}\n{_WRITE}",
        timeout=_SECONDS + _AFTER,
        keys=_keys(site, store),
        name=f"drill-{uuid.uuid4().hex[:12]}",
        seconds=_SECONDS,
    )
    killer.join()

    told = f"{seen['confirmed']} writes confirmed, {seen['lost']} of them lost, none for {seen['gap']:.1f} s"
    site.facts[f"{store} killed"] = told
    require(
        seen["lost"] == 0 and seen["gap"] > 1 and seen["rest"] < 1,
        where=f"{place}, killed under writes",
        want="every confirmed write there, and writes again",
        got=told,
        reproduce=f"kubectl -n {place.namespace} get pods,events",
    )
