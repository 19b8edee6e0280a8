"""The graph: nodes, relationships, indexes and constraints, read in one transaction.

Community Edition's own dump needs a stopped database; this one goes on serving. A moment with a named time zone keeps
its offset and loses the name.
"""

from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from neo4j import Session
from neo4j.spatial import CartesianPoint, Point, WGS84Point
from neo4j.time import Date, DateTime, Duration, Time

from store_accounts.model import Keys
from store_accounts.neo4j import connected

from . import frame

_DATABASE: Final = "neo4j"
_BATCH: Final = 1000
_MOMENTS: Final[dict[str, Any]] = {"date": Date, "time": Time, "datetime": DateTime, "duration": Duration}


def plain(value: Any) -> Any:  # noqa: ANN401 - a property of the graph, as JSON
    """Return a property of the graph as JSON can hold it."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, bytes | bytearray):
        return {"bytes": frame.text(bytes(value))}
    if isinstance(value, Point):
        return {"point": list(value), "srid": value.srid}
    # A datetime is no date here, so the order does not matter.
    for name, kind in _MOMENTS.items():
        if isinstance(value, kind):
            return {name: value.iso_format()}
    return value


def again(value: Any) -> Any:  # noqa: ANN401 - as above
    """Return a property as the graph has it."""
    if isinstance(value, list):
        return [again(each) for each in value]
    if not isinstance(value, dict):
        return value
    if "bytes" in value:
        return frame.data(value["bytes"])
    if "point" in value:
        kind = WGS84Point if value["srid"] in {4326, 4979} else CartesianPoint
        return kind(value["point"])
    ((name, text),) = value.items()
    return _MOMENTS[name].from_iso_format(text)


def _properties(found: dict[str, Any]) -> dict[str, Any]:
    return {name: plain(value) for name, value in found.items()}


def dump(admin: Keys, out: BinaryIO) -> None:
    """Print the whole graph."""
    writer = frame.Writer(out, "neo4j")
    with connected(admin) as driver, driver.session(database=_DATABASE) as session:
        schema = [
            *session.run("SHOW CONSTRAINTS YIELD createStatement").value(),
            *session.run(
                "SHOW INDEXES YIELD createStatement, owningConstraint, type "
                "WHERE owningConstraint IS NULL AND type <> 'LOOKUP' RETURN createStatement"
            ).value(),
        ]
        for statement in schema:
            writer.put(schema=statement)
        with session.begin_transaction() as transaction:
            for id_, labels, found in transaction.run("MATCH (n) RETURN elementId(n), labels(n), properties(n)"):
                writer.put(node=id_, labels=labels, properties=_properties(found))
            for begin, end, kind, found in transaction.run(
                "MATCH (a)-[r]->(b) RETURN elementId(a), elementId(b), type(r), properties(r)"
            ):
                writer.put(begin=begin, end_=end, kind=kind, properties=_properties(found))
    writer.end()


def _batches(records: Iterator[frame.Record]) -> Iterator[tuple[str, list[frame.Record]]]:
    """Yield records of one kind together, in their order."""
    kind, rows = "", list[frame.Record]()
    for record in records:
        of = "schema" if "schema" in record else "node" if "node" in record else "relationship"
        if rows and (of != kind or len(rows) == _BATCH):
            yield kind, rows
            rows = []
        kind = of
        rows.append(record)
    if rows:
        yield kind, rows


def _clear(session: Session) -> None:
    session.run("MATCH (n) CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 10000 ROWS").consume()
    for name in session.run("SHOW CONSTRAINTS YIELD name").value():
        session.run(f"DROP CONSTRAINT `{name}`").consume()
    for name in session.run("SHOW INDEXES YIELD name, type WHERE type <> 'LOOKUP' RETURN name").value():
        session.run(f"DROP INDEX `{name}`").consume()


def load(admin: Keys, source: BinaryIO) -> None:
    """Drop the graph, and make the copy's."""
    statements, ids = list[str](), dict[str, str]()
    with connected(admin) as driver, driver.session(database=_DATABASE) as session:
        records = frame.read(source, "neo4j")
        _clear(session)
        for kind, rows in _batches(records):
            if kind == "schema":
                statements += [row["schema"] for row in rows]
                continue
            for row in rows:
                row["properties"] = {name: again(value) for name, value in row["properties"].items()}
            if kind == "node":
                made = session.run(
                    "UNWIND range(0, size($rows) - 1) AS i WITH i, $rows[i] AS row "
                    "CREATE (n:$(row.labels)) SET n = row.properties RETURN i, elementId(n)",
                    rows=rows,
                )
                ids.update((rows[at]["node"], new) for at, new in made)
                continue
            for row in rows:
                row["begin"], row["end_"] = ids[row["begin"]], ids[row["end_"]]
            session.run(
                "UNWIND $rows AS row MATCH (a) WHERE elementId(a) = row.begin MATCH (b) WHERE elementId(b) = row.end_ "
                "CREATE (a)-[r:$(row.kind)]->(b) SET r = row.properties",
                rows=rows,
            ).consume()
        for statement in statements:
            session.run(statement).consume()
        session.run("CALL db.awaitIndexes(300)").consume()
