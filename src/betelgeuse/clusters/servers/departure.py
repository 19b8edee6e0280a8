"""Take one server out of a cluster that goes on without it."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from betelgeuse.clusters import drain
from betelgeuse.clusters.drain import Volume
from betelgeuse.clusters.servers import endpoint, forming, joining, leave, mesh, programs
from betelgeuse.errors import BetelgeuseError, RefusedError
from betelgeuse.progress import say
from betelgeuse.servers import Server, named
from betelgeuse.ssh import Connection, at_once

_FEWEST: Final = 2
"""Servers of a mesh."""


def chosen(env: str, servers: Sequence[Server], name: str) -> tuple[Server, list[Server]]:
    """Return the server of that name and the others; UsageError or RefusedError where it cannot go."""
    server = named(env, servers, name)
    others = [each for each in servers if each is not server]
    if len(others) < _FEWEST:
        message = f"{name} is one of {len(servers)} servers, and a mesh has {_FEWEST}: `invoke destroy --env={env}`"
        raise RefusedError(message)
    if not any(each.controls for each in others):
        message = f"{name} is the only control plane: the cluster cannot go on without it"
        raise RefusedError(message)
    return server, others


def held(volumes: Mapping[str, Any], name: str) -> list[Volume]:
    """Return those of a list of PersistentVolumes, as the API tells them, that are on a node's disk."""
    found = []
    for volume in volumes["items"]:
        spec = volume["spec"]
        terms = spec.get("nodeAffinity", {}).get("required", {}).get("nodeSelectorTerms", [])
        if any(name in each.get("values", ()) for term in terms for each in term.get("matchExpressions", ())):
            claim = spec.get("claimRef", {})
            found.append(Volume(volume["metadata"]["name"], claim.get("namespace", ""), claim.get("name", "")))
    return found


def remove(server: Server, others: Sequence[Connection], *, prune_data: bool) -> None:
    """Take a server out: its pods go elsewhere, etcd and the mesh forget it, and it is left as it was.

    One that does not answer is taken out all the same, and stays as it is. Raises RefusedError where volumes would go
    with it; run again, it goes on where it stopped.
    """
    env, name = others[0].env, server.name
    seed = next(each for each in others if each.server.controls)
    forming.fetch(seed)
    kubectl = partial(forming.kubectl, env)
    volumes = held(json.loads(kubectl("get", "persistentvolumes", "--output=json")), name)
    if volumes and not prune_data:
        message = (
            f"{name} would be removed, and with it {drain.names(volumes)}: nothing was changed; --prune-data gives up"
            " what it holds"
        )
        raise RefusedError(message)
    leaving = _answering(server, env)
    known = kubectl("get", "node", name, "--ignore-not-found", "--output=json")
    if known and leaving:
        drain.empty(kubectl, name, volumes, "by ")
    joining.forget(seed, server, _address(json.loads(known)) if known else "")
    drain.forget(kubectl, volumes)
    if leaving:
        leave.clear(leaving)
        leaving.close()
    members = mesh.join(others, programs.folders()["wireguard"])
    controls = [member for member, each in zip(members, others, strict=True) if each.server.controls]
    at_once(partial(endpoint.apply, controls=controls), others)


def _answering(server: Server, env: str) -> Connection | None:
    connection = Connection(server, env)
    try:
        connection.open()
    except RefusedError:
        # Another machine at its address is none of ours to touch, and none to overlook.
        raise
    except BetelgeuseError as error:
        say(f"{error}: it is taken out of the cluster and left as it is")
        return None
    return connection


def _address(node: Mapping[str, Any]) -> str:
    """Return the node's address on the mesh."""
    told = node["status"].get("addresses", ())
    return next((str(each["address"]) for each in told if each["type"] == "InternalIP"), "")
