"""Keep the accounts of all stores; `list` and `delete STORE USER` are for people (kubectl exec)."""

import importlib
import logging
import sys
import threading
from typing import Final, cast

from serving import begin, serve
from serving.cluster import ClusterError

from .app import application
from .cluster import declared
from .keeper import Keeper
from .model import Adapter, StoreError

STORES: Final = ("kafka", "neo4j", "opensearch", "postgres", "qdrant", "s3", "valkey")
COPIED: Final = ("kafka", "neo4j", "opensearch", "qdrant", "s3", "valkey")
"""Stores whose copies their client makes; PostgreSQL has tools of its own."""
_USAGE: Final = "usage: store_accounts [list | delete STORE USER | dump STORE | load STORE]"


def adapter(store: str) -> Adapter:
    """Return a store's adapter, its client library loaded; StoreError for a store that nobody knows."""
    if store not in STORES:
        message = f"no store {store!r}; there are {', '.join(STORES)}"
        raise StoreError(message)
    return cast("Adapter", importlib.import_module(f".{store}", __package__))


def _list() -> None:
    for store, found in sorted(declared().items()):
        for account in found.accounts:
            print(f"{store}/{account.user}: declared by Secret {account.declared}")
        if found.admin is not None:
            for user in adapter(store).reconcile(found.admin, found.accounts).undeclared:
                print(f"{store}/{user}: declared by nobody")
        for fault in found.faults:
            print(f"{store}: {fault}")


def _delete(store: str, user: str) -> None:
    found = declared().get(store)
    if found is None or found.admin is None:
        message = f"no store {store!r} is here"
        raise StoreError(message)
    if holder := next((one.declared for one in found.accounts if one.user == user), ""):
        message = f"{store}/{user} is declared by Secret {holder}: remove that first"
        raise StoreError(message)
    for removed in adapter(store).delete(found.admin, user):
        print(f"{store}: {removed} removed")


def _copy(store: str, way: str) -> None:
    """Print what a store holds (`dump`), or replace it with what standard input brings (`load`)."""
    found = declared().get(store)
    if found is None or found.admin is None or store not in COPIED:
        message = f"no store {store!r} is here that its client copies; these may be: {', '.join(COPIED)}"
        raise StoreError(message)
    copies = importlib.import_module(f".copies.{store}", __package__)
    if way == "dump":
        copies.dump(found.admin, sys.stdout.buffer)
    else:
        copies.load(found.admin, sys.stdin.buffer)
    sys.stdout.flush()


def main(arguments: list[str]) -> None:
    """Do what the arguments say; without any, keep the accounts until told to stop."""
    match arguments:
        case []:
            begin(logging.INFO)
            from prometheus_client import REGISTRY  # noqa: PLC0415 - a copy of a store is made without it

            from .metrics import Accounts  # noqa: PLC0415

            keeper = Keeper(declared, adapter)
            REGISTRY.register(Accounts(keeper))
            threading.Thread(target=keeper.forever, daemon=True).start()
            serve(application(keeper), threads=2)
        case ["list"]:
            _list()
        case ["delete", store, user]:
            _delete(store, user)
        case ["dump" | "load" as way, store]:
            _copy(store, way)
        case _:
            raise StoreError(_USAGE)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (ClusterError, StoreError) as error:
        sys.exit(str(error))
