"""The graph of who may call whom, from a rendered tree, as rows of a table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from betelgeuse.kube import Obj
from betelgeuse.policy.parties import Party, of_tree
from betelgeuse.policy.verdicts import Policies


@dataclass(frozen=True, order=True)
class Edge:
    """An allowed connection, with the policies that open it; nothing opens it where no policy shuts it."""

    caller: str
    callee: str
    port: int
    protocol: str = "TCP"
    by: tuple[str, ...] = ()

    @property
    def door(self) -> str:
        """The port as people write it: `8080`, `53/UDP`."""
        return str(self.port) if self.protocol == "TCP" else f"{self.port}/{self.protocol}"


def edges(objects: Iterable[Obj]) -> tuple[Edge, ...]:
    """Return every allowed connection between the parties of a tree, in order.

    Left out: outsiders among themselves, a pod and itself, and a node's own pods, which its kubelet always reaches.
    """
    objects = list(objects)
    policies, parties = Policies.read(objects), of_tree(objects)
    found: list[Edge] = []
    for caller in parties:
        for callee in parties:
            if caller == callee or not (caller.is_pod or callee.is_pod) or _own_node(caller, callee):
                continue
            found += _between(policies, caller, callee)
    return tuple(sorted(found))


def _own_node(caller: Party, callee: Party) -> bool:
    return caller.name == "nodes" and not caller.namespace and callee.is_pod


def _between(policies: Policies, caller: Party, callee: Party) -> Iterable[Edge]:
    for _, number, protocol in callee.ports:
        verdict = policies.verdict(caller, callee, number, protocol)
        if verdict.allowed:
            by = tuple(why.partition(": ")[2] for why in verdict.why if "no policy for" not in why)
            yield Edge(str(caller), str(callee), number, protocol, by)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as aligned text; the first is the head."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines)


def as_table(found: Iterable[Edge]) -> str:
    """Return the graph as text: one line per caller and callee, ports joined."""
    joined: dict[tuple[str, str], list[Edge]] = {}
    for edge in found:
        joined.setdefault((edge.caller, edge.callee), []).append(edge)
    rows = [("CALLER", "CALLEE", "PORTS", "BY")]
    for (caller, callee), each in joined.items():
        by = sorted({policy for edge in each for policy in edge.by})
        rows.append((caller, callee, ", ".join(edge.door for edge in each), ", ".join(by) or "no policy shuts it"))
    return table(rows)
