"""Refuse a tree whose gateway cannot ask what its gates ask: those hosts would stand open to everybody."""

from collections.abc import Iterable

from betelgeuse.errors import RefusedError
from betelgeuse.kube import Obj, describe
from betelgeuse.tree.gates import LABEL, has_backend, without_policies
from betelgeuse.tree.reader import Tree


def found(objects: Iterable[Obj]) -> list[str]:
    """Return the hosts that nothing guards at a gateway without login and token: `chat.example.org (login)`."""
    tree = Tree(objects, "")
    if not tree.without_policies:
        return []
    gates: dict[str, set[str]] = {}
    for route in tree.kind("HTTPRoute"):
        if has_backend(route) and not tree.gate(route).kind:
            meta = route["metadata"]
            wanted = (meta.get("labels") or {}).get(LABEL, "no gate")
            # A route without a host takes those of its listeners.
            for host in route["spec"].get("hostnames") or [f"route {meta.get('namespace', '')}/{meta['name']}"]:
                gates.setdefault(host, set()).add(wanted)
    return [f"{host} ({' and '.join(sorted(gates[host]))})" for host in sorted(gates)]


def refuse(objects: Iterable[Obj]) -> None:
    """Raise RefusedError where hosts would stand open, and name them."""
    objects = list(objects)
    if hosts := found(objects):
        gateways = ", ".join(map(describe, without_policies(objects)))
        message = (
            f"{gateways}: asks for neither login nor token, so these hosts would stand open: {', '.join(hosts)}; "
            "leave them out, give them a password, or take components/gateway-nginx out of the overlay "
            "(docs/how-to/nginx.md)"
        )
        raise RefusedError(message)
