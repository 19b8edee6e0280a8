"""What the drill of restores writes into each store, and reads again: Python for the pod that has every client.

Each piece of `WRITE` and `READ` finds `keys` (the account `research`, or the key of a store without accounts) and
`mark` (a word of the run); READ leaves what it found in `result`. Text of some kinds, an empty value and bytes: what a
copy could bend.
"""

from typing import Final

from conformance import stores
from conformance.features import STORES
from conformance.site import Site

_BEGIN: Final = "keys, mark = values['keys'], values['mark']\nroot = file(keys.get('ca.crt', ''))\nresult = None\n"
_POSTGRES: Final = """
import psycopg
def sql(text, *parameters):
    where = dict(host=keys["host"], port=keys["port"], user=keys["user"], password=keys["password"])
    with psycopg.connect(dbname=keys["database"], sslmode="verify-full", sslrootcert=root, **where) as connection:
        cursor = connection.execute(text, parameters)
        return cursor.fetchall() if cursor.description else None
"""
_VALKEY: Final = """
from valkey import Valkey
store = Valkey(host=keys["host"], port=int(keys["port"]), username=keys["user"], password=keys["password"], ssl=True,
               ssl_ca_certs=root)
"""
S3: Final = """
import boto3
from botocore.config import Config
store = boto3.client("s3", endpoint_url=f"https://{keys['host']}:{keys['port']}", region_name="us-east-1", verify=root,
    aws_access_key_id=keys["user"], aws_secret_access_key=keys["password"],
    config=Config(s3={"addressing_style": "path"}, parameter_validation=False))
"""
KAFKA: Final = """
from confluent_kafka import Consumer, Producer, TopicPartition
way = {"bootstrap.servers": f"{keys['host']}:{keys['port']}", "security.protocol": "sasl_ssl", "ssl.ca.location": root,
       "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": keys["user"], "sasl.password": keys["password"]}
"""
_NEO4J: Final = """
from neo4j import GraphDatabase, TrustCustomCAs
def query(text, **parameters):
    auth = (keys["user"], keys["password"])
    with GraphDatabase.driver(f"bolt://{keys['host']}:{keys['port']}", auth=auth, encrypted=True,
                              trusted_certificates=TrustCustomCAs(root)) as driver:
        return [list(row) for row in driver.execute_query(text, parameters, database_="neo4j").records]
"""
_OPENSEARCH: Final = """
from opensearchpy import OpenSearch
store = OpenSearch([{"host": keys["host"], "port": int(keys["port"])}], http_auth=(keys["user"], keys["password"]),
                   use_ssl=True, ca_certs=root, timeout=60)
index = f"research-{mark}"
"""
_QDRANT: Final = """
from qdrant_client import QdrantClient, models
store = QdrantClient(url=f"http://{keys['host']}:{keys['port']}", api_key=keys["credential"], timeout=30,
                     check_compatibility=False)
"""
WRITE: Final = {
    "postgres": _BEGIN
    + _POSTGRES
    + """
sql(f'CREATE TABLE "{mark}" (id int PRIMARY KEY, word text, raw bytea)')
for id in range(100):
    sql(f'INSERT INTO "{mark}" VALUES (%s, %s, %s)', id, f"ä\\\\n\\t{id}" if id else None, bytes([0, 255, id]))
""",
    "valkey": _BEGIN
    + _VALKEY
    + """
store.set(f"research:{mark}", b"\\x00\\xff" + mark.encode())
store.hset(f"research:{mark}:h", mapping={"a": "1", "ä": ""})
""",
    "s3": _BEGIN
    + S3
    + """
store.put_object(Bucket="research", Key=f"{mark}/ä b+c", Body=bytes(range(256)) * 40000, Metadata={"who": "drill"})
store.put_object(Bucket="research", Key=f"{mark}/empty", Body=b"")
""",
    "kafka": _BEGIN
    + KAFKA
    + """
lost = []
producer = Producer({**way, "acks": "all"})
for number in range(100):
    producer.produce("research.events", f"{mark}-{number}", key=f"k{number}", headers={"h": b"\\x00"},
                     on_delivery=lambda error, _: lost.append(str(error)) if error else None)
assert producer.flush(60) == 0 and not lost, lost
""",
    "neo4j": _BEGIN
    + _NEO4J
    + """
query("CREATE (a:Drill {mark: $mark, at: date('2026-11-28'), xs: [1, 2]})"
      "-[:NEXT {w: 0.5}]->(:Drill:Other {mark: $mark})",
      mark=mark)
""",
    "opensearch": _BEGIN
    + _OPENSEARCH
    + """
store.indices.create(index=index, body={"mappings": {"properties": {"n": {"type": "integer"}}}})
for n in range(20):
    store.index(index=index, id=str(n), body={"n": n, "word": "ä"})
store.indices.refresh(index=index)
""",
    "qdrant": _BEGIN
    + _QDRANT
    + """
store.create_collection(mark, {"a": models.VectorParams(size=3, distance=models.Distance.COSINE),
                               "b": models.VectorParams(size=2, distance=models.Distance.DOT)},
                        sparse_vectors_config={"s": models.SparseVectorParams()})
store.create_payload_index(mark, "word", models.PayloadSchemaType.KEYWORD)
uuid = "c56a4180-65aa-42ec-a945-5fd21dec0538"
store.upsert(mark, [models.PointStruct(id=uuid, vector={}, payload={})] + [
    models.PointStruct(id=n, payload={"word": f"ä{n}", "deep": {"of": [n, None, 0.1, True]}},
                       vector={"a": [n, 1, 0.3], "b": [n / 7, -1],
                               "s": models.SparseVector(indices=[1, n + 2], values=[0.1, 2])})
    for n in range(300)], wait=True)
store.update_collection_aliases([models.CreateAliasOperation(
    create_alias=models.CreateAlias(collection_name=mark, alias_name=f"{mark}-too"))])
""",
}
READ: Final = {
    "postgres": _BEGIN
    + _POSTGRES
    + """
result = [[id, word, bytes(raw or b"").hex()] for id, word, raw in sql(f'SELECT * FROM "{mark}" ORDER BY id')]
""",
    "valkey": _BEGIN
    + _VALKEY
    + """
found = store.hgetall(f"research:{mark}:h")
result = [store.get(f"research:{mark}").hex(), sorted([k.decode(), v.decode()] for k, v in found.items())]
""",
    "s3": _BEGIN
    + S3
    + """
import hashlib
result = []
for key in (f"{mark}/ä b+c", f"{mark}/empty"):
    found = store.get_object(Bucket="research", Key=key)
    result.append([key, hashlib.sha256(found["Body"].read()).hexdigest(), found["Metadata"]])
""",
    "kafka": _BEGIN
    + KAFKA
    + """
consumer = Consumer({**way, "group.id": f"research-{mark}", "auto.offset.reset": "earliest",
                     "enable.auto.commit": False})
consumer.subscribe(["research.events"])
found, end = [], time.monotonic() + 40
while len(found) < 100 and time.monotonic() < end:
    message = consumer.poll(1)
    if message is not None and not message.error() and message.value().startswith(mark.encode()):
        found.append([message.key().decode(), message.value().decode(), message.partition(), message.timestamp()[1],
                      [[name, value.hex()] for name, value in message.headers()]])
consumer.close()
result = sorted(found)
""",
    "neo4j": _BEGIN
    + _NEO4J
    + """
result = [[str(a), xs, w, sorted(labels)] for a, xs, w, labels in query(
    "MATCH (a:Drill {mark: $mark})-[r:NEXT]->(b) RETURN a.at, a.xs, r.w, labels(b)", mark=mark)]
""",
    "opensearch": _BEGIN
    + _OPENSEARCH
    + """
store.indices.refresh(index=index)
hits = store.search(index=index, body={"size": 50, "sort": ["n"]})["hits"]["hits"]
result = [[hit["_id"], hit["_source"]] for hit in hits]
result.append(store.indices.get_mapping(index=index)[index]["mappings"]["properties"]["n"])
""",
    "qdrant": _BEGIN
    + _QDRANT
    + """
points, _ = store.scroll(f"{mark}-too", limit=1000, with_vectors=True)
about = store.get_collection(mark)
result = [[point.id, point.payload, {name: vector if isinstance(vector, list) else vector.model_dump()
                                     for name, vector in (point.vector or {}).items()}] for point in points]
result.append([about.config.params.model_dump(mode="json"), sorted(about.payload_schema)])
""",
}


def store_keys(site: Site, store: str) -> dict[str, str]:
    """Return what opens a store: its account `research`, or its key where it has no accounts."""
    return stores.account(site, store, "research") if store in STORES else stores.administrator(site, store)
