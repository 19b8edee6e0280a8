"""Which machine clients may call an application, as the tree says."""

from collections.abc import Sequence

from betelgeuse.errors import UsageError
from betelgeuse.identity.declarations import clients
from betelgeuse.kube import Obj
from betelgeuse.settings import Settings


def route_to(objects: Sequence[Obj], host: str) -> Obj:
    """Return the route that leads to the app behind a host."""
    routes = [obj for obj in objects if obj["kind"] == "HTTPRoute" and host in obj["spec"].get("hostnames", ())]
    return next(one for one in routes if any(rule.get("backendRefs") for rule in one["spec"].get("rules", ())))


def policy_of(objects: Sequence[Obj], route: Obj) -> Obj | None:
    """Return the policy that asks the route's callers who they are."""
    meta = route["metadata"]
    for obj in objects:
        if obj["kind"] == "SecurityPolicy" and obj["metadata"]["namespace"] == meta["namespace"]:
            refs = obj["spec"].get("targetRefs", ())
            if any((ref["kind"], ref["name"]) == ("HTTPRoute", meta["name"]) for ref in refs):
                return obj
    return None


def callers(objects: Sequence[Obj], chosen: Settings, policy: Obj) -> list[str]:
    """Return the machine clients whose tokens a policy lets in."""
    audiences = {name for provider in policy["spec"]["jwt"]["providers"] for name in provider["audiences"]}
    return [one.id for one in clients(objects, chosen.domain) if audiences & set(one.audiences)]


def caller(objects: Sequence[Obj], chosen: Settings, host: str) -> str:
    """Return a machine client that may call the app behind a host, empty where the app asks for no token."""
    policy = policy_of(objects, route_to(objects, host))
    if policy is None or "jwt" not in policy["spec"]:
        return ""
    found = callers(objects, chosen, policy)
    if not found:
        message = f"{host} asks for a token, and no client of {chosen.env} may have one; see docs/how-to/identity.md"
        raise UsageError(message)
    return found[0]
