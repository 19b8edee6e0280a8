"""Which machine clients may call an application, as the tree says."""

from collections.abc import Sequence

from betelgeuse.errors import UsageError
from betelgeuse.identity.declarations import clients
from betelgeuse.kube import Obj
from betelgeuse.settings import Settings
from betelgeuse.tree import Gate, Tree, gates


def callers(objects: Sequence[Obj], chosen: Settings, gate: Gate) -> list[str]:
    """Return the machine clients whose tokens a gate lets in."""
    programs = (one for one in clients(objects, chosen.domain) if one.is_program)
    return [one.id for one in programs if set(gate.audiences) & set(one.audiences)]


def caller(objects: Sequence[Obj], chosen: Settings, host: str) -> str:
    """Return a machine client that may call the app behind a host, empty where the app asks for no token."""
    gate = Tree(objects, chosen.domain).host(host).doors[-1].gate
    if gate.kind not in {gates.TOKEN, gates.LOGIN}:
        return ""
    found = callers(objects, chosen, gate)
    if not found:
        message = f"{host} asks for a token, and no client of {chosen.env} may have one; see docs/how-to/identity.md"
        raise UsageError(message)
    return found[0]
