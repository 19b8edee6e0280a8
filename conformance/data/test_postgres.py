"""PostgreSQL: an account has its own database over TLS, inside and outside, and nothing else."""

import base64
import uuid

import psycopg
import pytest

from betelgeuse.tree import STORE
from conformance.postgres import outside
from conformance.site import Site
from conformance.stores import Client, account, administrator, server
from conformance.timeouts import TIMEOUTS
from conformance.verdict import require, require_none

pytestmark = pytest.mark.feature("store-postgres")

_INSIDE = """
import psycopg
keys = values["keys"]
root = file(keys["ca.crt"])
def connect(**changed):
    said = {
        "host": keys["host"], "port": keys["port"], "user": keys["user"], "password": keys["password"],
        "dbname": keys["database"], "sslmode": "verify-full", "sslrootcert": root, "connect_timeout": 5,
    }
    with psycopg.connect(**(said | changed), autocommit=True) as connection:
        return connection.execute("SELECT current_user").fetchone()[0]
"""
_WRITE = """
with psycopg.connect(host=keys["host"], port=keys["port"], user=keys["user"], password=keys["password"],
                     dbname=keys["database"], sslmode="verify-full", sslrootcert=root) as connection:
    table = psycopg.sql.Identifier(values["table"])
    connection.execute(psycopg.sql.SQL("CREATE TABLE {} (word text)").format(table))
    connection.execute(psycopg.sql.SQL("INSERT INTO {} VALUES (%s)").format(table), ["inside"])
    connection.commit()
    result = connection.execute(psycopg.sql.SQL("SELECT word FROM {}").format(table)).fetchall()
    connection.execute(psycopg.sql.SQL("DROP TABLE {}").format(table))
"""
_TRY = """
result = [attempt(connect), *(attempt(connect, **changed) for changed in values["changes"])]
"""
_BUILT_IN = {"postgres", "streaming_replica", "cnpg_metrics_exporter"}
"""Accounts of the server's own: by its socket or by a certificate, and without a password."""
_SHELL = "kubectl -n db exec -it pg-1 -c postgres -- psql"


def _refusal(site: Site, keys: dict[str, str], **changed: str) -> str:
    """Return why a connection from outside is refused; empty when it is not."""
    try:
        outside(site, keys, **changed).close()
    except psycopg.OperationalError as error:
        return str(error)
    return ""


def _table() -> str:
    return f"conformance_{uuid.uuid4().hex[:12]}"


def _other_ways(site: Site) -> list[tuple[dict[str, str], str]]:
    """Return what must be refused of a connection that is else right, with the words by which it is."""
    other = account(site, "postgres", "pipelines")
    return [
        ({"password": "x" + account(site, "postgres", "research")["password"]}, "password authentication failed"),
        ({"password": ""}, "no password supplied"),
        ({"user": other["user"]}, "rejects"),
        ({"dbname": other["database"]}, "rejects"),
        ({"dbname": "postgres"}, "rejects"),
        ({"dbname": "template1"}, "rejects"),
        ({"dbname": "admin"}, "rejects"),
        ({"user": "postgres", "dbname": "postgres"}, "password authentication failed"),
        ({"user": "streaming_replica", "dbname": "postgres"}, "certificate"),
        ({"sslmode": "disable"}, "no encryption"),
    ]


def _told(changed: dict[str, str]) -> str:
    """Return what was different, without a password."""
    return ", ".join("another password" if key == "password" else f"{key}={value}" for key, value in changed.items())


def test_client_inside_writes_and_reads(site: Site, client: Client) -> None:
    """A pod with the store's label writes and reads in its account's database, the certificate verified in full."""
    seen = client.run(_INSIDE + _WRITE, keys=account(site, "postgres", "research"), table=_table())

    require(seen == [["inside"]], where="pg-rw.db", want="the row written", got=seen, reproduce=f"{_SHELL} research")


def test_client_outside_writes_and_reads(site: Site) -> None:
    """A laptop writes and reads through the gateway, under the public name, the certificate verified in full."""
    with outside(site, account(site, "postgres", "research")) as connection:
        table = psycopg.sql.Identifier(_table())
        connection.execute(psycopg.sql.SQL("CREATE TABLE {} (word text)").format(table))
        connection.execute(psycopg.sql.SQL("INSERT INTO {} VALUES (%s)").format(table), ["outside"])
        seen = connection.execute(psycopg.sql.SQL("SELECT word FROM {}").format(table)).fetchall()
        connection.execute(psycopg.sql.SQL("DROP TABLE {}").format(table))

    require(
        seen == [("outside",)],
        where=str(server(site, "postgres")),
        want="the row written",
        got=seen,
        reproduce="invoke open postgres",
    )


def test_everything_else_is_refused_inside(site: Site, client: Client) -> None:
    """From a pod, other passwords, others' databases, the server's own accounts and clear text are refused."""
    ways = _other_ways(site)
    keys = account(site, "postgres", "research")
    control, *seen = client.run(_INSIDE + _TRY, keys=keys, changes=[changed for changed, _ in ways])

    faults = [
        f"with {_told(changed)}: {got}"
        for (changed, words), got in zip(ways, seen, strict=True)
        if words not in got.get("text", "") or got["seconds"] > TIMEOUTS.connect
    ]
    require(control.get("value") == "research", where="pg-rw.db", want="research", got=control, reproduce=_SHELL)
    require_none(
        faults,
        where="pg-rw.db, account research",
        want=f"refused by the server within {TIMEOUTS.connect:.0f} s",
        reproduce=f"{_SHELL} -c 'TABLE pg_hba_file_rules'",
    )


def test_everything_else_is_refused_outside(site: Site) -> None:
    """Through the gateway, where one account is let in, the same is refused as inside."""
    keys = account(site, "postgres", "research")
    outside(site, keys).close()

    seen = [(changed, words, _refusal(site, keys, **changed)) for changed, words in _other_ways(site)]

    require_none(
        [f"with {_told(changed)}: {got or 'let in'}" for changed, words, got in seen if words not in got],
        where=f"{server(site, 'postgres')}, account research",
        want="refused by the server",
        reproduce="invoke open postgres",
    )


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE ROLE conformance",
        "CREATE DATABASE conformance",
        "ALTER ROLE CURRENT_USER SUPERUSER",
        "SET ROLE admin",
        "SELECT rolpassword FROM pg_authid",
        "SELECT pg_read_file('/etc/passwd')",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "SET log_min_error_statement = 'error'",
    ],
)
def test_account_stays_what_it_is(site: Site, statement: str) -> None:
    """An account makes no other and becomes no other; passwords, the server's files and programs are out of reach."""
    with outside(site, account(site, "postgres", "research"), application_name="conformance") as connection:
        try:
            connection.execute(statement.encode())
            told = "done"
        except psycopg.errors.InsufficientPrivilege:
            told = ""
        except psycopg.Error as error:
            told = f"{type(error).__name__}: {error}"

    require(not told, where="account research", want=f"no right to {statement}", got=told, reproduce=_SHELL)


def test_accounts_are_those_declared(site: Site) -> None:
    """Whoever can log in is the server's own, the administrator, or declared by an application."""
    secrets = site.cluster.fresh("v1", "Secret", labels=f"{STORE}=postgres")
    admin = administrator(site, "postgres")
    declared = {base64.b64decode(secret["data"]["user"]).decode() for secret in secrets}
    with outside(site, admin) as connection:
        seen = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles WHERE rolcanlogin")}

    require(
        seen == declared | _BUILT_IN | {admin["user"]} and len(declared) > 1,
        where="pg_roles",
        want=f"{sorted(declared)}, {admin['user']} and {sorted(_BUILT_IN)}",
        got=sorted(seen),
        reproduce=f"{_SHELL} -c '\\du'",
    )
