"""Clients of the platform's models and stores, signed on.

Libraries are imported when they are asked for: some are large.
"""

import os
import ssl
import warnings
from typing import TYPE_CHECKING, Any, Final

from workbench import accounts, person

if TYPE_CHECKING:
    from collections.abc import Sequence

LLM: Final = "gemma-3-270m"
"""The language model's name."""
EMBEDDINGS: Final = "all-MiniLM-L6-v2"
"""The embedding model's name; a vector has 384 numbers."""
BUCKET: Final = "research"
TOPIC: Final = "research.events"


def _openai(variable: str) -> Any:  # noqa: ANN401 - of a library that only the image has
    import openai  # noqa: PLC0415

    trusted = ssl.create_default_context(cafile=str(accounts.ROOTS))
    client = openai.DefaultHttpxClient(verify=trusted)
    # Asked for each request: a token is good for minutes.
    return openai.OpenAI(base_url=os.environ[variable], api_key=person.token, http_client=client)


def llm() -> Any:  # noqa: ANN401 - as above
    """Return an OpenAI client of the language model."""
    return _openai("OPENAI_BASE_URL")


def embeddings() -> Any:  # noqa: ANN401 - as above
    """Return an OpenAI client of the embedding model."""
    return _openai("EMBEDDINGS_BASE_URL")


def embed(texts: "Sequence[str]") -> list[list[float]]:
    """Return a vector for each text."""
    answer = embeddings().embeddings.create(model=EMBEDDINGS, input=list(texts))
    return [each.embedding for each in answer.data]


def postgres(**options: Any) -> Any:  # noqa: ANN401 - as psycopg.connect takes
    """Return a connection to the database `research`; what is done is kept at once unless `autocommit=False`."""
    import psycopg  # noqa: PLC0415

    # Host, account and CA are in its usual variables.
    return psycopg.connect(**{"autocommit": True, **options})


def s3() -> Any:  # noqa: ANN401 - as above
    """Return boto3's client of the object store, in which the bucket is `research`."""
    import boto3  # noqa: PLC0415

    return boto3.client("s3")


def vectors() -> Any:  # noqa: ANN401 - as above
    """Return a client of the vector store."""
    import qdrant_client  # noqa: PLC0415

    with warnings.catch_warnings():
        # Inside the cluster it speaks plain HTTP, to pods that may use it.
        warnings.simplefilter("ignore")
        return qdrant_client.QdrantClient(url=os.environ["QDRANT_URL"], api_key=accounts.key("qdrant", "key"))


def graph() -> Any:  # noqa: ANN401 - as above
    """Return Neo4j's driver."""
    import neo4j  # noqa: PLC0415

    signed = (accounts.key("neo4j", "user"), accounts.key("neo4j", "password"))
    trusted = neo4j.TrustCustomCAs(accounts.ca("neo4j"))
    uri = f"bolt://{accounts.address('neo4j')}"
    return neo4j.GraphDatabase.driver(uri, auth=signed, encrypted=True, trusted_certificates=trusted)


def search() -> Any:  # noqa: ANN401 - as above
    """Return a client of OpenSearch; indices begin with `research-`."""
    import opensearchpy  # noqa: PLC0415

    signed = (accounts.key("opensearch", "user"), accounts.key("opensearch", "password"))
    uri = f"https://{accounts.address('opensearch')}"
    return opensearchpy.OpenSearch(uri, http_auth=signed, ca_certs=accounts.ca("opensearch"))


def _kafka() -> dict[str, Any]:
    return {
        "bootstrap.servers": accounts.address("kafka"),
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": accounts.ca("kafka"),
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": accounts.key("kafka", "user"),
        "sasl.password": accounts.key("kafka", "password"),
    }


def producer(**options: Any) -> Any:  # noqa: ANN401 - as librdkafka names them
    """Return a producer for the event bus, whose topic is `research.events`."""
    import confluent_kafka  # noqa: PLC0415

    return confluent_kafka.Producer({**_kafka(), "acks": "all", **options})


def consumer(group: str = "", **options: Any) -> Any:  # noqa: ANN401 - as librdkafka names them
    """Return a consumer of a group of the person's own, which begins at the oldest event."""
    import confluent_kafka  # noqa: PLC0415

    own = f"research-{person.name()}{f'-{group}' if group else ''}"
    settings = {"group.id": own, "auto.offset.reset": "earliest", "enable.auto.commit": False}
    return confluent_kafka.Consumer({**_kafka(), **settings, **options})
