"""PostgreSQL as a person's laptop reaches it: through the gateway, under its public name."""

from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from conformance.site import Site
from conformance.stores import root, server
from conformance.timeouts import TIMEOUTS


def outside(site: Site, keys: dict[str, str], **changed: str) -> psycopg.Connection[tuple[Any, ...]]:
    """Connect with an account's keys, the certificate verified in full, each statement by itself."""
    host = server(site, "postgres")
    said = {"user": keys["user"], "password": keys["password"], "dbname": keys["database"], "sslmode": "verify-full"}
    said |= {"host": host.name, "hostaddr": site.endpoint().address, "port": str(host.port)}
    said |= {"sslrootcert": str(root(site)), "connect_timeout": f"{TIMEOUTS.connect:.0f}"}
    return psycopg.connect(make_conninfo(**(said | changed)), autocommit=True)
