"""An account of PostgreSQL from its declaration to its end, by the program that makes accounts, on the real server.

No part of a run: while it goes, the server has accounts that no application declares.
"""

import uuid

import pytest

from conformance.data.conftest import client
from conformance.site import Site
from conformance.stores import Client, account, administrator
from conformance.verdict import require

__all__ = ["client"]
_PROGRAM = """
import os, sys
sys.path.insert(0, "/opt")
from store_accounts import postgres
from store_accounts.model import Account
admin, user = values["admin"], values["user"]
def declare(password):
    mine = Account(user, password, {"database": user}, "drill")
    done = postgres.reconcile(admin, [mine, *others])
    return {"changes": done.changes, "undeclared": done.undeclared}
def enters(password):
    try:
        with postgres._connected(admin, user, password) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS kept AS SELECT 1")
            return True
    except Exception as error:
        return str(error)
others = [Account(name, password, {"database": name}, "tree") for name, password in values["others"]]
result = {"made": declare("one"), "enters": enters("one"), "again": declare("one")}
result |= {"changed": declare("two"), "old": enters("one"), "new": enters("two")}
result |= {"left": postgres.reconcile(admin, others).undeclared, "deleted": postgres.delete(admin, user)}
result |= {"gone": enters("two"), "twice": postgres.delete(admin, user)}
"""


@pytest.mark.feature("store-postgres")
def test_account_is_made_changed_and_deleted(site: Site, client: Client) -> None:
    """A declared account enters its database; its new password counts at once; nothing is done twice; it can go."""
    user = f"drill-{uuid.uuid4().hex[:8]}"
    others = [account(site, "postgres", name) for name in ("research", "pipelines")]

    seen = client.run(
        _PROGRAM,
        admin=administrator(site, "postgres"),
        user=user,
        others=[(keys["user"], keys["password"]) for keys in others],
    )

    wanted: dict[str, object] = {
        "made": {
            "changes": [f"{user}: role made", f"{user}: database made", f"{user}: database closed to others"],
            "undeclared": [],
        },
        "enters": True,
        "again": {"changes": [], "undeclared": []},
        "changed": {"changes": [f"{user}: password set"], "undeclared": []},
        "new": True,
        "left": [user],
        "deleted": [f"database {user}", f"role {user}"],
        "twice": [],
    }
    refused = "password authentication failed"
    faults = {key: seen[key] for key, value in wanted.items() if seen[key] != value}
    faults |= {key: seen[key] for key in ("old", "gone") if refused not in str(seen[key])}
    require(not faults, where=f"account {user}", want=str(wanted), got=faults, reproduce="invoke accounts")
