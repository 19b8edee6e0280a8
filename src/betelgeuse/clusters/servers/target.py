"""A cluster on servers as a target of `deploy`: which images, which programs, in which order."""

import shutil
from collections.abc import Sequence
from functools import partial
from typing import Final

from betelgeuse import nodecount, overlays, paths
from betelgeuse.builds import components, images
from betelgeuse.clusters.local import kubeadm
from betelgeuse.clusters.local import target as local
from betelgeuse.clusters.local.kubeadm import Member
from betelgeuse.clusters.servers import (
    aside,
    endpoint,
    facts,
    firewall,
    forming,
    imports,
    joining,
    leave,
    mesh,
    programs,
    renewal,
    upgrade,
)
from betelgeuse.clusters.servers.facts import Facts
from betelgeuse.clusters.servers.imports import Import
from betelgeuse.clusters.servers.node import Node
from betelgeuse.errors import RefusedError
from betelgeuse.kube import Obj
from betelgeuse.pipeline import run as run_tasks
from betelgeuse.programs.model import Image
from betelgeuse.progress import say
from betelgeuse.servers import FILE, Role, Server
from betelgeuse.settings import Settings
from betelgeuse.ssh import Connection, at_once, connect
from betelgeuse.tree import Tree

_MOST_CONTROLS: Final = 3


def check(settings: Settings, servers: Sequence[Server]) -> None:
    """Refuse what cannot be formed, before anything is asked or built."""
    env = settings.env
    if settings.nodes != len(servers):
        message = (
            f"{settings.nodes} nodes are asked for (NODES in overlays/{env}/environment.env, --nodes),"
            f" overlays/{env}/{FILE} lists {len(servers)}"
        )
        raise RefusedError(message)
    if len(servers) > 1 and not settings.admin_cidrs:
        message = (
            f"overlays/{env}/environment.env has no ADMIN_CIDRS: several servers are a cluster behind a firewall alone;"
            " set it to the networks that you come from"
        )
        raise RefusedError(message)
    if (controls := sum(server.controls for server in servers)) > _MOST_CONTROLS:
        message = (
            f"overlays/{env}/{FILE}: {controls} servers run the control plane, {_MOST_CONTROLS} are the most:"
            f" give others the role {Role.WORKER}"
        )
        raise RefusedError(message)
    named = [components.listed(name) for name in (components.LOCAL, components.UPSTREAM)]
    if overlays.components(env).isdisjoint(named):
        message = (
            f"overlays/{env}/kustomization.yaml lists neither {named[0]} (our builds, carried to servers)"
            f" nor {named[1]} (other projects' images, which servers pull)"
        )
        raise RefusedError(message)


def reach(env: str, servers: Sequence[Server]) -> list[Connection]:
    """Connect to the servers and refuse those that are another environment's node, or a stranger's."""
    connections = connect(env, servers)
    at_once(partial(_ours, env), connections)
    return connections


def _ours(env: str, connection: Connection) -> None:
    found = facts.ask(connection)
    if found.owner not in {"", env}:
        message = f"{connection.server.name} is a node of environment {found.owner!r}: destroy that one first"
        raise RefusedError(message)
    if found.kubernetes and not found.owner:
        message = f"{connection.server.name} has an /etc/kubernetes that is not ours: `kubeadm reset` removes it"
        raise RefusedError(message)


def provide(env: str, servers: Sequence[Server], image: Image) -> str:
    """Build an on-demand image and carry it to the servers that lack it; return what a pod calls it."""
    with components.aimed(env):
        local.settle_bases()
        images.build(image)
        Import(reach(env, servers)).load(image)
        return images.reference(image)


def bring_up(settings: Settings, servers: Sequence[Server], objects: Sequence[Obj], minutes: float) -> None:
    """Build what a tree needs and is missing (in up to `minutes`), form the cluster on the servers, carry images.

    Raises BuildError, RefusedError, WaitTimeoutError with the reason; run again, it goes on where it stopped.
    """
    connections = reach(settings.env, servers)
    nodecount.remember_addresses(settings.env, [server.address for server in servers if server.works])
    loader = Import(connections)
    needed = local.needed_images(objects)
    local.announce(needed, minutes)
    ports = Tree(objects, settings.domain).ports
    start = partial(_start, settings, connections, ports)
    run_tasks(local.stages(needed, tuple(programs.CARRIED), start, loader.load))
    at_once(programs.sweep, connections)


def _start(settings: Settings, connections: Sequence[Connection], ports: Sequence[int]) -> None:
    found = at_once(facts.ask, connections)
    grown(connections, found, local.versions().kubernetes)
    at_once(partial(_equip, settings, connections, ports), list(zip(connections, found, strict=True)))
    members = _joined(connections)
    nodes = [
        Node(each, fact, member, _traits(each, fact, connections))
        for each, fact, member in zip(connections, found, members, strict=True)
    ]
    controls = [node for node in nodes if node.server.controls]
    if len(nodes) > 1:
        at_once(partial(endpoint.apply, controls=[node.member for node in controls]), connections)
    upgrade.control_planes([node for node in nodes if node.found.joined], local.versions())
    upgrade.one_by_one(_configure, nodes, local.versions().kubernetes)
    seed = _seed(settings, controls)

    def join(node: Node) -> None:
        joining.join(node.connection, node.member, seed.connection, seed.member, node.traits)

    further = [node for node in nodes if not node.found.joined and node is not seed]
    # etcd takes in one at a time.
    for node in further:
        if node.server.controls:
            join(node)
    at_once(join, [node for node in further if not node.server.controls])
    for node in nodes:
        addresses = {node.member.address}
        if len(nodes) > 1:
            joining.introduce(settings.env, node.server, node.member)
            addresses.add(node.server.address)
        forming.sign(node.connection, *sorted(addresses))
        forming.label(settings.env, node.server)
        # What was killed before may have left it so; a node alone is never set aside.
        if len(nodes) > 1 and aside.marked(settings.env, node.server.name):
            aside.take_back(settings.env, node.server.name)


def grown(connections: Sequence[Connection], found: Sequence[Facts], wanted: str) -> None:
    """Refuse what no step leads to: a node's address and role are in etcd and in its certificates.

    Neither to a version of Kubernetes that is more than one minor version away, or older.
    """
    env, several = connections[0].env, len(connections) > 1
    for connection, fact in zip(connections, found, strict=True):
        name, again = connection.server.name, f"`invoke destroy --env={env}` first, with {FILE} as it was"
        if fact.joined and fact.meshed is not several:
            how = "on a mesh" if fact.meshed else "without a mesh"
            message = f"{name} was formed {how}, and overlays/{env}/{FILE} lists {len(connections)}: {again}"
            raise RefusedError(message)
        if fact.joined and fact.controls is not connection.server.controls:
            how = "a control plane" if fact.controls else "a worker"
            message = f"{name} was formed as {how}, and overlays/{env}/{FILE} says {connection.server.role}: {again}"
            raise RefusedError(message)
        if fact.joined and fact.version:
            upgrade.check(name, fact.version, wanted)
    heads = [fact.joined for each, fact in zip(connections, found, strict=True) if each.server.controls]
    if not any(heads) and any(fact.joined for fact in found):
        message = f"no control plane of {env} is left, but workers are: `invoke destroy --env={env}` first"
        raise RefusedError(message)


def _equip(
    settings: Settings, everyone: Sequence[Connection], ports: Sequence[int], one: tuple[Connection, Facts]
) -> None:
    """Bring to a server what it needs before it meets the others."""
    connection, found = one
    if found.kubernetes and not found.joined:
        say(f"{connection.server.name}: kubeadm stopped half way last time: it starts anew")
        leave.wipe(connection)
    programs.claim(connection, settings.env)
    programs.packages(connection)
    peers = [other.server.address for other in everyone if other is not connection]
    firewall.apply(connection, settings.admin_cidrs, ports, peers)
    programs.carry(connection)


def _joined(connections: Sequence[Connection]) -> Sequence[Member]:
    """Return the servers as nodes: on a mesh, unless there is one alone."""
    if len(connections) == 1:
        return [each.server for each in connections]
    return mesh.join(connections, programs.folders()["wireguard"])


def _traits(connection: Connection, found: Facts, connections: Sequence[Connection]) -> kubeadm.Traits:
    if len(connections) == 1:
        return facts.traits(connection.env, connection.server, found)
    names = tuple(each.server.address for each in connections if each.server.controls)
    return facts.traits(connection.env, connection.server, found, mesh.ENDPOINT, names)


def _configure(node: Node) -> None:
    """Have a server's containerd run, with what its part of the control plane needs."""
    programs.configure(node.connection, node.traits, local.versions().pause)
    imports.for_kubeadm(node.connection)


def _seed(settings: Settings, controls: Sequence[Node]) -> Node:
    """Return a control plane of the cluster, whose API serves; the first one is made where there is none."""
    seed = next((node for node in controls if node.found.joined), controls[0])
    for node in controls:
        if node.found.joined or node is seed:
            forming.encrypt(node.connection, joined=node.found.joined)
    if not seed.found.joined:
        forming.form(seed.connection, seed.member, local.versions(), settings.domain, seed.traits)
    for node in controls:
        if node.found.joined or node is seed:
            renewal.renew(node.connection)
    forming.fetch(seed.connection)
    return seed


def destroy(env: str, servers: Sequence[Server]) -> None:
    """Take the cluster off its servers and forget it; the cache of builds stays. Safe to repeat and after a kill."""
    connections = reach(env, servers)
    at_once(leave.clear, connections)
    for connection in connections:
        connection.close()
    if (folder := paths.state_dir(env)).is_dir():
        shutil.rmtree(folder)
