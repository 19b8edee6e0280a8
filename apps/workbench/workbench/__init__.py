"""The platform from a notebook: each function gives a client that is already signed on.

>>> import workbench
>>> workbench.llm().chat.completions.create(model=workbench.LLM, messages=[...])
>>> workbench.postgres().execute("select 1")

Models know the person by a token of a few minutes, which is fetched anew from JupyterHub whenever it is needed.
Databases and the broker know the shared account `research`, whose keys lie in /accounts; nothing of it need stand in a
notebook.
"""

from workbench.clients import (
    BUCKET,
    EMBEDDINGS,
    LLM,
    TOPIC,
    consumer,
    embed,
    embeddings,
    graph,
    llm,
    postgres,
    producer,
    s3,
    search,
    vectors,
)
from workbench.person import name, token

__all__ = [
    "BUCKET",
    "EMBEDDINGS",
    "LLM",
    "TOPIC",
    "consumer",
    "embed",
    "embeddings",
    "graph",
    "llm",
    "name",
    "postgres",
    "producer",
    "s3",
    "search",
    "token",
    "vectors",
]
