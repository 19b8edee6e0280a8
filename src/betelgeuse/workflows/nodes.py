"""The cluster's nodes: what each is, how it does, how long its certificates last; and a server's way out."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from betelgeuse import lock, servers, settings
from betelgeuse.clusters.local import certificates
from betelgeuse.clusters.local.certificates import Certificate
from betelgeuse.clusters.servers import aside, departure, mesh, reboot, renewal
from betelgeuse.clusters.servers.target import reach
from betelgeuse.errors import BetelgeuseError, UsageError
from betelgeuse.kube import Kube, Obj, connect
from betelgeuse.progress import out, say, step
from betelgeuse.readiness import judge_node
from betelgeuse.servers import FILE, Server
from betelgeuse.settings import LOCAL
from betelgeuse.ssh import Connection, at_once
from betelgeuse.wait import until_ready
from betelgeuse.workflows import backup
from betelgeuse.workflows.apply_tree import READY_SECONDS
from betelgeuse.workflows.session import opened

DUE: Final = "due"
"""In place of a server's name: each that asks for a reboot."""
_NOT_READY: Final = 1
_ROLE: Final = "node-role.kubernetes.io/"
_HEAD: Final = ("NODE", "ROLE", "STATE", "KUBELET", "ADDRESS", "PODS", "MESH", "FIRST CERTIFICATE TO END")


@dataclass(frozen=True)
class Told:
    """What a node's machine says of it, beside what the API knows."""

    certificates: Sequence[Certificate] = ()
    """The earliest to end first."""
    mesh: str = ""
    """How it hears the other servers; empty where there is no mesh."""
    silent: str = ""
    """Why it says nothing."""


@dataclass(frozen=True)
class Row:
    """One node."""

    name: str
    role: str
    state: str
    """`ready`, else the reason why not."""
    kubelet: str
    addresses: Sequence[str]
    pods: int
    mesh: str = ""
    certificates: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    """Name and whole days left, the earliest to end first; those that sign others are not among them."""

    @property
    def ready(self) -> bool:
        """Whether it takes pods and its certificates hold."""
        return self.state == "ready"


def row(node: Obj, pods: int, told: Told, now: datetime) -> Row:
    """Return what is known of a node."""
    labels = node["metadata"].get("labels") or {}
    roles = sorted(label.removeprefix(_ROLE) for label in labels if label.startswith(_ROLE)) or ["worker"]
    verdict = judge_node(node)
    state = "ready" if verdict.ready else verdict.reason
    own = [each for each in told.certificates if not each.authority]
    if own and own[0].ends <= now:
        state = f"the certificate {own[0].name} has ended"
    if told.silent:
        state = f"{state}; its server says nothing: {told.silent}"
    addresses = [each["address"] for each in node["status"].get("addresses", ()) if each["type"].endswith("IP")]
    ends = [{"name": each.name, "days": certificates.days(each, now)} for each in own]
    kubelet = node["status"].get("nodeInfo", {}).get("kubeletVersion", "")
    return Row(
        node["metadata"]["name"], ",".join(roles), state, kubelet, tuple(addresses), pods, told.mesh, tuple(ends)
    )


def table(rows: Sequence[Row]) -> str:
    """Return the nodes for people, one a line."""
    cells = [_HEAD]
    for each in rows:
        first = each.certificates[0] if each.certificates else None
        ends = f"{first['name']}, in {first['days']} days" if first else "-"
        address = " ".join(each.addresses)
        cells.append((each.name, each.role, each.state, each.kubelet, address, str(each.pods), each.mesh or "-", ends))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in cells)


def _ask(count: int, connection: Connection) -> Told:
    try:
        connection.open()
        met = mesh.heard(connection) if count > 1 else ""
        return Told(renewal.read(connection), met)
    except BetelgeuseError as error:
        return Told(silent=str(error))


def _told(env: str, listed: Sequence[Server]) -> dict[str, Told]:
    """Return what each node's machine says, where it is ours to ask."""
    if listed:
        connections = [Connection(server, env) for server in listed]
        answers = at_once(lambda each: _ask(len(listed), each), connections)
        return {server.name: told for server, told in zip(listed, answers, strict=True)}
    found: dict[str, list[Certificate]] = {}
    for each in certificates.on_disk() if env == LOCAL else ():
        found.setdefault(each.node, []).append(each)
    return {name: Told(known) for name, known in found.items()}


def look(kube: Kube, told: Mapping[str, Told]) -> list[Row]:
    """Return the nodes of a cluster, and beside them the servers that are to be nodes and are none."""
    now = datetime.now(UTC)
    pods = Counter(pod["spec"].get("nodeName", "") for pod in kube.list("v1", "Pod"))
    nodes = {node["metadata"]["name"]: node for node in kube.list("v1", "Node")}
    rows = [row(node, pods[name], told.get(name, Told()), now) for name, node in nodes.items()]
    lacking = [name for name in told if name not in nodes]
    rows += [Row(name, "", told[name].silent or "no node of the cluster", "", (), 0) for name in lacking]
    return sorted(rows, key=lambda each: each.name)


def show(env: str, *, as_json: bool = False) -> int:
    """Print the nodes of an environment; return 0 when each is ready, else 1."""
    chosen = settings.load(env)
    rows = look(connect(chosen), _told(env, servers.load(env)))
    out(json.dumps([asdict(each) for each in rows], indent=2) if as_json else table(rows))
    return 0 if rows and all(each.ready for each in rows) else _NOT_READY


def _servers(env: str, verb: str) -> Sequence[Server]:
    if listed := servers.load(env):
        return listed
    message = f"{env} has no {FILE}, and {verb} is for servers"
    raise UsageError(message)


def remove(env: str, name: str, *, prune_data: bool = False) -> None:
    """Take a server out of a cluster of several, and say what its list must say next; see departure.remove.

    Raises UsageError for an unknown server, RefusedError for one that the cluster needs or that holds volumes.
    """
    chosen = settings.load(env)
    server, others = departure.chosen(env, _servers(env, "--remove"), name)
    with lock.exclusive(env, "nodes --remove"), step(f"remove {name}"):
        backup.before_change(chosen)
        departure.remove(server, reach(env, others), prune_data=prune_data)
    say(f"take {name} out of overlays/{env}/{FILE}, and NODES={len(others)}: a deploy takes in whoever is listed")


def _whole(env: str) -> None:
    """Wait until everything of an environment's tree is ready: a reboot takes what there is twice of once."""
    _, kube, objects = opened(env)
    with step("waiting until everything is ready"):
        until_ready(kube, objects, READY_SECONDS)


def reboot_servers(env: str, wanted: str) -> None:
    """Reboot a server, or with `due` those that ask for it, one at a time, each once everything is ready.

    Raises UsageError for an unknown server, WaitTimeoutError where something is not ready: no further one is rebooted.
    """
    settings.load(env)
    listed = _servers(env, "--reboot")
    if wanted != DUE:
        servers.named(env, listed, wanted)
    with lock.exclusive(env, "nodes --reboot"):
        connections = reach(env, listed)
        for each in connections:
            if aside.marked(env, each.server.name):
                aside.take_back(env, each.server.name)
        chosen = [
            each for each in connections if each.server.name == wanted or (wanted == DUE and each.succeeds(reboot.ASKS))
        ]
        for each in chosen:
            _whole(env)
            reboot.reboot(each, [other for other in connections if other is not each])
        if chosen:
            _whole(env)
    names = ", ".join(each.server.name for each in chosen)
    out(f"{env}: rebooted {names}" if names else f"{env}: no server asks for a reboot")


def nodes(env: str, remove_name: str, reboot_name: str, *, prune_data: bool, as_json: bool) -> int:
    """Take a server out, reboot one, or show them all; return the exit code."""
    if remove_name and reboot_name:
        message = "--remove and --reboot exclude each other: name one"
        raise UsageError(message)
    if remove_name:
        remove(env, remove_name, prune_data=prune_data)
    elif reboot_name:
        reboot_servers(env, reboot_name)
    else:
        return show(env, as_json=as_json)
    return 0
