"""What the data plane dropped, from the lines Cilium's agents write (hubble's export of flows)."""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from betelgeuse.policy.graph import table

SUITE: Final = "the conformance suite"
_SUITE_LABEL: Final = "betelgeuse.io/conformance-"
_SUITE_NAMESPACE: Final = "conformance-"
_NOT_SPOKEN: Final = "UNSUPPORTED_L3_PROTOCOL"
"""Every interface that comes up looks for IPv6 routers."""
_RESERVED: Final = "reserved:"
_OUTSIDERS: Final = {"kube-apiserver": "kube-apiserver", "host": "nodes", "remote-node": "nodes", "world": "world"}
"""Cilium's names -> ours; a node that runs the API server has several, the first that fits counts."""


@dataclass(frozen=True)
class Drop:
    """Connections refused for one reason between two parties; `last` is the time of the latest (RFC 3339)."""

    caller: str
    callee: str
    door: str
    reason: str
    count: int
    last: str


def _party(end: dict[str, Any], address: str) -> str:
    namespace = end.get("namespace", "")
    workloads = end.get("workloads") or ()
    if namespace and (workloads or end.get("pod_name")):
        return f"{namespace}/{workloads[0]['name'] if workloads else end['pod_name']}"
    names = {label.removeprefix(_RESERVED) for label in end.get("labels") or () if label.startswith(_RESERVED)}
    outsider = next((ours for theirs, ours in _OUTSIDERS.items() if theirs in names), "")
    # The world is large: there the address says more.
    return f"world ({address})" if outsider == "world" and address else outsider or address or "unknown"


def _door(layer: dict[str, Any]) -> str:
    for protocol, entry in layer.items():
        number = entry.get("destination_port") if isinstance(entry, dict) else None
        if number:
            return str(number) if protocol == "TCP" else f"{number}/{protocol}"
    return next(iter(layer), "?")


def _is_suite(end: dict[str, Any]) -> bool:
    """Whether this is a pod of the conformance suite, which tries on purpose what is denied."""
    marked = any(_SUITE_LABEL in label for label in end.get("labels") or ())
    return marked or str(end.get("namespace", "")).startswith(_SUITE_NAMESPACE)


def _reason(flow: dict[str, Any]) -> str:
    told = str(flow.get("drop_reason_desc", "unknown")).replace("_", " ").lower()
    way = str(flow.get("traffic_direction", "")).lower()
    return f"{way}: {told}" if way in {"egress", "ingress"} else told


def _deniers(flow: dict[str, Any]) -> set[str]:
    listed = (policy for side in ("egress", "ingress") for policy in flow.get(f"{side}_denied_by") or ())
    return {name for policy in listed if (name := policy.get("name", ""))}


class _Count:
    """Drops that are alike. Cilium tells most of them twice: the packet, and the verdict with the policy's name."""

    def __init__(self) -> None:
        self.packets = self.verdicts = 0
        self.deniers: set[str] = set()
        self.last = ""

    def add(self, flow: dict[str, Any]) -> None:
        deniers = _deniers(flow)
        self.deniers |= deniers
        if deniers:
            self.verdicts += 1
        else:
            self.packets += 1
        self.last = max(self.last, str(flow.get("time", "")))


def read(lines: Iterable[str]) -> tuple[Drop, ...]:
    """Return what was dropped, most often first; a line cut short by a rotation is passed over."""
    counted: dict[tuple[str, str, str, str], _Count] = defaultdict(_Count)
    for line in lines:
        try:
            flow = json.loads(line)["flow"]
        except (ValueError, KeyError, TypeError):
            continue
        places, source, destination = flow.get("IP") or {}, flow.get("source") or {}, flow.get("destination") or {}
        if _is_suite(source) or _is_suite(destination):
            key = (SUITE, "whatever is denied", "", "on purpose")
        elif flow.get("drop_reason_desc") == _NOT_SPOKEN:
            key = ("anybody", "IPv6 neighbours", _door(flow.get("l4") or {}), "IPv6 is off")
        else:
            caller = _party(source, places.get("source", ""))
            callee = _party(destination, places.get("destination", ""))
            key = (caller, callee, _door(flow.get("l4") or {}), _reason(flow))
        counted[key].add(flow)
    found = [_drop(key, count) for key, count in counted.items()]
    return tuple(sorted(found, key=lambda drop: (-drop.count, drop.caller, drop.callee, drop.door)))


def _drop(key: tuple[str, str, str, str], count: _Count) -> Drop:
    caller, callee, door, reason = key
    by = f" ({', '.join(sorted(count.deniers))})" if count.deniers and caller != SUITE else ""
    return Drop(caller, callee, door, f"{reason}{by}", max(count.packets, count.verdicts), count.last)


def as_table(drops: Iterable[Drop]) -> str:
    """Return them as text."""
    rows = [("DROPPED", "CALLER", "CALLEE", "PORT", "WHY", "LAST")]
    for drop in drops:
        rows.append((str(drop.count), drop.caller, drop.callee, drop.door, drop.reason, drop.last[:19]))  # noqa: PERF401
    return table(rows)
