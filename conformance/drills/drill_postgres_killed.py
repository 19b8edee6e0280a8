"""PostgreSQL killed under writes: it is back by itself, and every row that it confirmed is there."""

import threading
import time
import uuid
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import psycopg
import pytest
from psycopg.sql import SQL, Composed, Identifier

from betelgeuse.tree import Ref
from conformance.drills.pods import strike, uid
from conformance.postgres import outside
from conformance.site import Site
from conformance.stores import account
from conformance.verdict import poll, require

_POD: Final = Ref("Pod", "db", "pg-1", "v1")
_BEFORE: Final = 3.0
"""Seconds of writing before the blow, and after the return."""
_BACK: Final = 120.0
"""A pod made anew, the log replayed, the gateway knowing its address; a busy machine takes its time."""
_PAUSE: Final = 0.2


@dataclass
class Writer:
    """Inserts numbers, one by one, and notes those that the server confirmed."""

    site: Site
    keys: dict[str, str]
    insert: Composed
    confirmed: list[tuple[int, float]] = field(default_factory=list)
    """The number, and when it was confirmed."""
    ended: threading.Event = field(default_factory=threading.Event)

    def write(self) -> None:
        """Write until told to end, over as many connections as it takes."""
        number = 0
        while not self.ended.is_set():
            try:
                with outside(self.site, self.keys) as connection:
                    while not self.ended.is_set():
                        number += 1
                        connection.execute(self.insert, [number])
                        self.confirmed.append((number, time.monotonic()))
            except psycopg.OperationalError:
                time.sleep(_PAUSE)


@pytest.mark.feature("store-postgres")
def test_what_was_confirmed_survives_the_pod(site: Site) -> None:
    """A pod killed without notice is replaced, and the new one has every row that the old one had confirmed."""
    keys = account(site, "postgres", "research")
    table = Identifier(f"drill_{uuid.uuid4().hex[:12]}")
    with outside(site, keys) as connection:
        connection.execute(SQL("CREATE TABLE {} (number bigint PRIMARY KEY)").format(table))
        writer = Writer(site, keys, SQL("INSERT INTO {} VALUES (%s)").format(table))
        thread = threading.Thread(target=writer.write)
        thread.start()
        time.sleep(_BEFORE)
    old = uid(site, _POD)
    strike(site, _POD)
    killed = time.monotonic()
    poll(lambda: uid(site, _POD) not in {"", old} and writer.confirmed[-1][1] > killed + _BEFORE, bool, _BACK)
    writer.ended.set()
    thread.join()
    with outside(site, keys) as connection:
        kept = {number for (number,) in connection.execute(SQL("SELECT number FROM {}").format(table))}
        connection.execute(SQL("DROP TABLE {}").format(table))

    times = [when for _, when in writer.confirmed]
    gap = max((later - earlier for earlier, later in pairwise(times)), default=0.0)
    lost = {number for number, _ in writer.confirmed} - kept
    told = f"{len(times)} rows confirmed, {len(lost)} of them lost, no answer for {gap:.1f} s"
    site.facts["PostgreSQL killed"] = told
    require(
        not lost and times and times[-1] > killed + _BEFORE and uid(site, _POD) not in {"", old},
        where="pod db/pg-1, killed under writes",
        want=f"another pod within {_BACK:.0f} s, with every confirmed row",
        got=told,
        reproduce="kubectl -n db get pods,events",
    )
