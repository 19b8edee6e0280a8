"""Qdrant: one key, and no accounts. What is kept of it here is that its key opens it."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx

from .model import Account, Keys, Outcome, StoreError

_SECONDS: Final = 120.0
"""A collection is made, or a page of points taken, within this time."""
_WORDS: Final = 300
"""Letters of a refusal that are told."""
# It tells of every request.
logging.getLogger("httpx").setLevel(logging.WARNING)


@dataclass(frozen=True)
class Server:
    """One vector store."""

    client: httpx.Client

    def ask(self, method: str, path: str, body: str | Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401 - JSON
        """Return what a request results in; StoreError where it is refused. `body` is a map, or JSON as it is sent."""
        content = body if isinstance(body, str) else None
        json = None if isinstance(body, str) else body
        headers = {"Content-Type": "application/json"} if content is not None else {}
        answer = self.client.request(method, path, content=content, json=json, headers=headers)
        if answer.is_error:
            message = f"qdrant: {method} {path}: {answer.status_code} {answer.text[:_WORDS]}"
            raise StoreError(message)
        return answer.json()["result"]

    def names(self) -> list[str]:
        """Return the names of all collections."""
        return sorted(one["name"] for one in self.ask("GET", "/collections")["collections"])


@contextmanager
def connected(admin: Keys) -> Iterator[Server]:
    """Yield the store, asked with its key."""
    url, headers = f"http://{admin['host']}:{admin['port']}", {"api-key": admin["credential"]}
    with httpx.Client(base_url=url, headers=headers, timeout=_SECONDS, trust_env=False) as client:
        yield Server(client)


def reconcile(admin: Keys, accounts: Sequence[Account]) -> Outcome:
    """See that the key opens the store; StoreError for an account, which it cannot have."""
    for account in accounts:
        message = f"{account.declared}: qdrant has one key and no accounts; copy that of its administrator"
        raise StoreError(message)
    with connected(admin) as server:
        server.names()
    return Outcome()


def delete(_: Keys, __: str) -> list[str]:
    """Return that nothing was removed: there are no accounts."""
    return []
