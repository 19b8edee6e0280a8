"""Where a request comes from is the connection's word, not the client's."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

import pytest

from conformance.inside import ADDRESS, CONTROL, FORWARDED, Inside
from conformance.probes.http import Header, Request
from conformance.probes.inside import saw
from conformance.site import Site
from conformance.verdict import require

FORGED: Final = "203.0.113.66"
"""Of a block for examples: nobody has it."""
_NOTHING: Final = {None, "", "-"}


def _claim(name: str) -> Header:
    return (name, f"for={FORGED}" if name == "Forwarded" else FORGED)


def _logged(site: Site, headers: Sequence[Header]) -> str:
    """Return the address that Keycloak's log keeps of a program that asked for a token without its secret."""
    name = site.identity.machine().name
    form = urlencode({"grant_type": "client_credentials", "client_id": name, "client_secret": "wrong"}).encode()
    kind = ("Content-Type", "application/x-www-form-urlencoded")
    path = f"/realms/{site.identity.realm}/protocol/openid-connect/token"
    site.send(Request(site.identity.host.name, path, "POST", (kind, *headers), form))
    events = site.identity.keycloak.admin("GET", f"/events?client={name}").json()
    return str(events[0].get("ipAddress")) if events else "no event"


@pytest.mark.feature("login")
def test_log_keeps_the_connections_address(site: Site) -> None:
    """Keycloak's log of failed logins keeps the address of the connection, whatever a client claims."""
    proxies = {
        pod["status"].get("podIP")
        for gateway in site.tree.gateways
        for pod in site.cluster.list("v1", "Pod", gateway.namespace)
    }
    plain = _logged(site, ())

    claimed = {name: _logged(site, (_claim(name),)) for name in (FORWARDED, *ADDRESS)}

    require(
        set(claimed.values()) == {plain} and plain not in {FORGED, *proxies},
        where=f"events of the realm {site.identity.realm}, for failed requests with {FORGED} in a header",
        want="the client's own address, as for a request without such a header",
        got=f"{plain} without; {', '.join(f'{name}: {address}' for name, address in claimed.items())}",
        reproduce=f"curl -H '{FORWARDED}: {FORGED}' -d grant_type=client_credentials -d client_id=api-client "
        f"-d client_secret=wrong {site.identity.issuer}/protocol/openid-connect/token; then the realm's Events",
    )


@pytest.mark.feature("prober")
@pytest.mark.parametrize("header", [FORWARDED, *ADDRESS])
def test_application_sees_no_forged_address(site: Site, inside: Inside, header: str) -> None:
    """An application reads the connection's address in X-Forwarded-For, and no other anywhere."""
    request = Request(inside.host, headers=((CONTROL, "seen"), _claim(header)), tls=False)

    answer = inside.echo(request)

    told, forged = answer.header(saw(FORWARDED)), answer.header(saw(header))
    require(
        told not in _NOTHING and FORGED not in str(told) and (header == FORWARDED or forged in _NOTHING),
        where=f"{header}: {FORGED}",
        want=f"an application that reads one address in {FORWARDED}, and it is not this one",
        got=f"{FORWARDED}: {told}, {header}: {forged}",
        reproduce=site.curl(request),
    )
