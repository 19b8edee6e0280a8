"""Accounts of Neo4j. The community edition has users and no roles: each account reads and writes the whole graph."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from neo4j import Driver, GraphDatabase, TrustCustomCAs

from .model import Account, Keys, Outcome

_SECONDS: Final = 10.0
_SYSTEM: Final = "system"


@contextmanager
def connected(admin: Keys) -> Iterator[Driver]:
    """Connect as the administrator, by TLS that trusts the stores' CA alone."""
    with tempfile.NamedTemporaryFile("w", suffix=".crt") as ca:
        ca.write(admin["ca.crt"])
        ca.flush()
        with GraphDatabase.driver(
            f"bolt://{admin['host']}:{admin['port']}",
            auth=(admin["user"], admin["password"]),
            encrypted=True,
            trusted_certificates=TrustCustomCAs(ca.name),
            connection_timeout=_SECONDS,
            connection_acquisition_timeout=_SECONDS,
            max_transaction_retry_time=_SECONDS,
            telemetry_disabled=True,
        ) as driver:
            yield driver


def _set(driver: Driver, account: Account, verb: str) -> None:
    driver.execute_query(
        f"{verb} USER $user SET PASSWORD $password CHANGE NOT REQUIRED",
        user=account.user,
        password=account.password,
        database_=_SYSTEM,
    )


def reconcile(admin: Keys, accounts: Sequence[Account]) -> Outcome:
    """Make each declared user with its password."""
    outcome = Outcome()
    with connected(admin) as driver:
        rows, _, _ = driver.execute_query("SHOW USERS YIELD user", database_=_SYSTEM)
        present = {row["user"] for row in rows}
        for account in accounts:
            if account.user not in present:
                _set(driver, account, "CREATE")
                outcome.changes.append(f"user {account.user} added")
            elif not driver.verify_authentication((account.user, account.password)):
                _set(driver, account, "ALTER")
                outcome.changes.append(f"user {account.user} has a new password")
    outcome.undeclared = sorted(present - {admin["user"]} - {account.user for account in accounts})
    return outcome


def delete(admin: Keys, user: str) -> list[str]:
    """Remove a user. What it wrote stays: the graph belongs to all."""
    with connected(admin) as driver:
        rows, _, _ = driver.execute_query("SHOW USERS YIELD user", database_=_SYSTEM)
        if user not in {row["user"] for row in rows}:
            return []
        driver.execute_query("DROP USER $user", user=user, database_=_SYSTEM)
    return [f"user {user}"]
