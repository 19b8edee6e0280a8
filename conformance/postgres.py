"""PostgreSQL as a person's laptop reaches it: through the gateway, under its public name."""

from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from betelgeuse.tree import TcpHost
from conformance.site import Site
from conformance.stores import root
from conformance.timeouts import TIMEOUTS
from conformance.verdict import demand


def server(site: Site) -> TcpHost:
    """Return where it is reached."""
    return demand(
        next((host for host in site.tree.tcp_hosts if host.owner.name == "postgres"), None),
        where="the tree",
        want="a TcpHost named postgres",
        got=[str(host) for host in site.tree.tcp_hosts],
        reproduce="invoke open postgres",
    )


def outside(site: Site, keys: dict[str, str], **changed: str) -> psycopg.Connection[tuple[Any, ...]]:
    """Connect with an account's keys, the certificate verified in full, each statement by itself."""
    host = server(site)
    said = {"user": keys["user"], "password": keys["password"], "dbname": keys["database"], "sslmode": "verify-full"}
    said |= {"host": host.name, "hostaddr": site.endpoint().address, "port": str(host.port)}
    said |= {"sslrootcert": str(root(site)), "connect_timeout": f"{TIMEOUTS.connect:.0f}"}
    return psycopg.connect(make_conninfo(**(said | changed)), autocommit=True)
