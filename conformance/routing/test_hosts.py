"""Every declared name leads to its application, at every address of the gateway."""

from dataclasses import replace
from http import HTTPStatus

from betelgeuse.tree import Host
from conformance.probes.http import Answer, Request
from conformance.site import Site
from conformance.verdict import require


def door_request(site: Site, host: Host) -> Request:
    """Return a request with credentials that the host's application must answer."""
    door = host.door
    return Request(host.name, door.path, door.method or "GET", site.credentials(host))


def gateways_own(site: Site) -> Answer:
    """Return what the gateway itself answers for a path that no route of the default listener takes."""
    return site.once("gateway's own", lambda: site.send(Request(site.settings.domain, "/")))


def test_host_answers_its_application(site: Site, host: Host, gateway_address: str) -> None:
    """Every host of the tree is answered by its application at every address, not by the gateway's own page.

    Each address is another node's proxy, so this also proves that a node's pods reach the pods of every other node.
    """
    address = "" if gateway_address == "published" else gateway_address
    request = door_request(site, host)

    answer = site.send(request, address=address)

    # A POST without a body is refused by the application (400): that too is the application's answer.
    reached = 200 <= answer.status < 400 or (request.method == "POST" and answer.status in {400, 415, 422, 500})
    require(
        reached and answer.body != gateways_own(site).body,
        where=f"{request.method} https://{host}{request.path} at {gateway_address}",
        want="an answer of the application behind it",
        got=answer,
        reproduce=site.curl(request, address),
    )


def test_head_is_get_without_a_body(site: Site) -> None:
    """Where a route names GET, HEAD gets the same answer without its body, or the application's word that it has none.

    RFC 9110, 9.3.2; a HEAD that no route takes is 404 and a fault of ours.
    """
    hosts = [host for host in site.tree.hosts if host.door.method == "GET"]
    for host in hosts:
        get = door_request(site, host)
        head = replace(get, method="HEAD")

        shown, asked = site.send(get), site.send(head)

        require(
            asked.status in {shown.status, HTTPStatus.METHOD_NOT_ALLOWED} and not asked.body,
            where=f"HEAD https://{host}{head.path}",
            want=f"{shown.status} without a body, as GET, or 405 by the application",
            got=asked,
            reproduce=f"{site.curl(get)} --head",
        )


def test_host_has_a_route(host: Host) -> None:
    """Every host that a listener opens is claimed by a route to an application."""
    require(
        host.matches,
        where=str(host),
        want="at least one HTTPRoute with a backend for this host",
        got="a listener that leads nowhere",
        reproduce=f"kubectl get httproutes -A | grep {host}",
    )


def test_host_has_a_listener(host: Host) -> None:
    """Every host that a route claims has an HTTPS listener of its own."""
    require(
        [listener for listener in host.listeners if listener.certificates],
        where=str(host),
        want="an HTTPS listener with this hostname",
        got=f"listeners {[listener.name for listener in host.listeners]}",
        reproduce=f"kubectl -n {host.namespace} get listenersets,gateways",
    )


def test_routes_are_accepted(site: Site, host: Host) -> None:
    """Every route of a host is accepted by all its parents, with all references resolved."""
    faults = []
    for route in host.routes:
        live = site.cluster.get(route) or {}
        parents = live.get("status", {}).get("parents", [])
        if len(parents) < len(live.get("spec", {}).get("parentRefs", [None])):
            faults.append(f"{route}: {len(parents)} parents have answered")
        for parent in parents:
            conditions = {c["type"]: c for c in parent.get("conditions", [])}
            for wanted in ("Accepted", "ResolvedRefs"):
                seen = conditions.get(wanted, {})
                if seen.get("status") != "True":
                    faults.append(f"{route}: {wanted} is {seen.get('status')}: {seen.get('message')}")

    require(
        host.routes and not faults,
        where=str(host),
        want="Accepted and ResolvedRefs by every parent",
        got="; ".join(faults) or "no route",
        reproduce=f"kubectl -n {host.namespace} describe httproutes",
    )
