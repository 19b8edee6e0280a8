"""Accounts in PostgreSQL: each is a role that may log in, and a database of the same name, which it owns.

The administrator is no superuser: it may make roles and databases, and manages exactly the roles that it made. The
server lets an account into the database of its own name only (base/db/postgres/cluster.yaml, pg_hba).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from psycopg import Connection, OperationalError, connect
from psycopg.sql import SQL, Composed, Identifier, Literal

from .model import Account, Keys, Outcome, StoreError

_SECONDS: Final = 10
_REFUSALS: Final = ("password authentication failed", "is not permitted to log in")


@contextmanager
def _connected(server: Keys, user: str, password: str) -> Iterator[Connection]:
    """Yield a connection to a user's own database; each statement is a transaction."""
    with TemporaryDirectory() as folder:
        root = Path(folder) / "ca.crt"
        root.write_text(server["ca.crt"], "utf-8")
        with connect(
            host=server["host"],
            port=server["port"],
            user=user,
            password=password,
            dbname=user,
            sslmode="verify-full",
            sslrootcert=str(root),
            connect_timeout=_SECONDS,
            autocommit=True,
        ) as connection:
            yield connection


def _made(connection: Connection) -> set[str]:
    """Return the roles that the administrator made."""
    query = "SELECT pg_get_userbyid(roleid) FROM pg_auth_members WHERE member = current_user::regrole AND admin_option"
    return {name for (name,) in connection.execute(query)}


def _open_databases(connection: Connection) -> dict[str, bool]:
    """Return whether everybody may use a database, by its name."""
    query = "SELECT datname, has_database_privilege('public', oid, 'CONNECT') FROM pg_database"
    return dict(connection.execute(query).fetchall())


def _set_password(connection: Connection, words: str, account: Account) -> None:
    """Run `<words> <role> LOGIN PASSWORD …`; the server gets what it would keep, never the password itself."""
    verifier = connection.pgconn.encrypt_password(account.password.encode(), account.user.encode(), b"scram-sha-256")
    # The words are this module's own.
    statement = SQL(words) + SQL(" {} LOGIN PASSWORD {}").format(Identifier(account.user), Literal(verifier.decode()))
    connection.execute(statement)


def _may_log_in(server: Keys, account: Account) -> bool:
    """Whether the server takes an account's password; anything but that refusal is raised."""
    try:
        with _connected(server, account.user, account.password):
            return True
    except OperationalError as error:
        if any(words in str(error) for words in _REFUSALS):
            return False
        raise


def _own(connection: Connection, user: str) -> None:
    """Let the administrator give things to a role that it made, and take them."""
    connection.execute(SQL("GRANT {} TO CURRENT_USER WITH INHERIT TRUE, SET TRUE").format(Identifier(user)))


def _statements(user: str, *, there: bool, everybodys: bool) -> Iterator[tuple[Composed, str]]:
    """Yield what makes an account's database as it should be, with what to say about it."""
    if not there:
        yield SQL("CREATE DATABASE {0} OWNER {0}").format(Identifier(user)), f"{user}: database made"
    if everybodys:
        yield (
            SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(Identifier(user)),
            f"{user}: database closed to others",
        )


def reconcile(admin: Keys, accounts: Sequence[Account]) -> Outcome:
    """Make declared accounts and their databases, and set passwords that differ; nothing is deleted."""
    changes: list[str] = []
    with _connected(admin, admin["user"], admin["password"]) as connection:
        made, databases = _made(connection), _open_databases(connection)
        for account in accounts:
            user, database = account.user, account.name("database")
            if database != user:
                message = f"{account.declared}: the database of {user} must have that name, not {database!r}"
                raise StoreError(message)
            if user not in made:
                _set_password(connection, "CREATE ROLE", account)
                changes.append(f"{user}: role made")
            if user not in databases:
                _own(connection, user)
            there = user in databases
            for statement, words in _statements(user, there=there, everybodys=databases.get(user, True)):
                connection.execute(statement)
                changes.append(words)
            if not _may_log_in(admin, account):
                _set_password(connection, "ALTER ROLE", account)
                changes.append(f"{user}: password set")
    return Outcome(changes, sorted(made - {account.user for account in accounts}))


def delete(admin: Keys, user: str) -> list[str]:
    """Delete an account with its database; return what was deleted, nothing if the administrator never made it."""
    with _connected(admin, admin["user"], admin["password"]) as connection:
        if user not in _made(connection):
            return []
        _own(connection, user)
        deleted = []
        if user in _open_databases(connection):
            connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(user)))
            deleted.append(f"database {user}")
        connection.execute(SQL("DROP ROLE {}").format(Identifier(user)))
        return [*deleted, f"role {user}"]
