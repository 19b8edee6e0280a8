"""Every way in has a gate of a known class, and the gateway has taken it over."""

from typing import Any

from betelgeuse.tree import Host, Route, gates
from conformance.site import Site
from conformance.verdict import require


def test_route_has_a_gate(site: Site, app_route: Route) -> None:
    """Every route to an application is behind a login, a token or a password, or says why it is public."""
    gate = app_route.gate
    labels = site.tree.find(app_route.ref)["metadata"].get("labels") or {}
    told = {label for label in (gate.label, labels.get(gates.LABEL, "")) if label}

    require(
        gate.kind and (told == {gate.kind} or (gate.kind == gates.PUBLIC and not told)),
        where=str(app_route),
        want=f"one SecurityPolicy with oidc, jwt or basicAuth, labelled {gates.LABEL}: login, token or password; "
        f"or the annotation {gates.REASON} with a reason",
        got=f"gate {gate}, labels {sorted(told)}",
        reproduce=f"kubectl -n {app_route.ref.namespace} get httproutes,securitypolicies -o yaml",
    )


def test_gate_is_in_force(site: Site, app_route: Route) -> None:
    """The gateway has accepted the policy before every route: one that it refuses guards nothing."""
    policy = app_route.gate.policy
    if policy is None:
        return  # Public, or without a gate: that is the check above.
    live = site.cluster.get(policy) or {}
    ancestors: list[dict[str, Any]] = live.get("status", {}).get("ancestors", [])
    accepted = [c for each in ancestors for c in each.get("conditions", []) if c["type"] == "Accepted"]

    require(
        accepted and all(c["status"] == "True" for c in accepted),
        where=f"{policy} before {app_route}",
        want="Accepted by every gateway it reaches",
        got=[f"{c['status']}: {c.get('message', '')}" for c in accepted] or "no status",
        reproduce=policy.kubectl("describe"),
    )


def test_host_has_one_class(site: Site, host: Host) -> None:
    """All routes of a host are behind the same class of gate: one path does not open what another guards.

    Only who shows a token may have a gate of his own, which asks for that token.
    """
    routes = [route for route in site.tree.routes if route.ref in host.routes]
    found = sorted({str(route.gate) for route in routes if not route.shows_token})
    others = sorted({str(route.gate) for route in routes if route.shows_token} - {gates.TOKEN})

    require(
        len(found) <= 1 and not others,
        where=str(host),
        want=f"one class; {gates.TOKEN} before what shows a token",
        got=found + others,
        reproduce=f"kubectl -n {host.namespace} get httproutes,securitypolicies",
    )
