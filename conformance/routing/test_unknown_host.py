"""A name nobody claims leads nowhere."""

from dataclasses import replace

import pytest

from betelgeuse.tree import Host
from conformance.probes.http import Request
from conformance.site import Site, random_label
from conformance.verdict import require

_NOWHERE = {404, 421}


def _unknown(site: Site) -> dict[str, Request]:
    nobody = f"{random_label()}.{site.settings.domain}"
    return {
        "unknown-sni-and-host": Request(nobody),
        "no-sni": Request(nobody, sni=""),
        "foreign-domain": Request("example.org"),
        "address-as-host": Request(site.endpoint().address, sni=""),
        "domain-itself": Request(site.settings.domain),
    }


@pytest.mark.parametrize(
    "case", ["unknown-sni-and-host", "no-sni", "foreign-domain", "address-as-host", "domain-itself"]
)
def test_unknown_host_gets_404(site: Site, case: str) -> None:
    """A host no route claims is answered 404, not by some application."""
    for path in sorted({"/", *(host.door.path for host in site.tree.hosts)}):
        request = replace(_unknown(site)[case], path=path)

        answer = site.send(request)

        require(
            answer.status == 404,
            where=f"Host {request.host}, SNI {request.server_name}, {path}",
            want="404",
            got=answer,
            reproduce=site.curl(request),
        )


def test_unknown_host_on_a_known_connection_gets_404(site: Site, host: Host) -> None:
    """On a connection opened for one host, an unknown Host header leads nowhere."""
    request = Request(f"{random_label()}.{site.settings.domain}", host.door.path, sni=host.name)

    answer = site.send(request)

    require(
        answer.status in _NOWHERE,
        where=f"SNI {host}, Host {request.host}",
        want="404 or 421",
        got=answer,
        reproduce=site.curl(request),
    )


def test_host_of_another_application_is_not_reached(site: Site, host: Host) -> None:
    """A connection opened for one host never reaches another host's application, not even with that one's key."""
    for other in [*site.tree.hosts, None]:
        name = other.name if other else site.settings.domain
        if name == host.name:
            continue
        # The key is the other application's: the strongest caller. It is pinned to the certificate of the SNI's name,
        # which the cluster keeps too.
        request = Request(name, host.door.path, sni=host.name, headers=site.credentials_if_any(other) if other else ())

        answer = site.send(request)

        require(
            answer.status in {400, 401, 403, *_NOWHERE},
            where=f"SNI {host}, Host {name}",
            want="404 or 421, or a refusal",
            got=answer,
            reproduce=site.curl(request),
        )


def test_default_listener_does_not_reach_applications(site: Site, host: Host) -> None:
    """A connection without SNI never reaches an application, whatever its Host header."""
    for sni in ("", site.settings.domain):
        request = Request(host.name, host.door.path, sni=sni)

        answer = site.send(request)

        require(
            answer.status in _NOWHERE,
            where=f"SNI {sni or 'none'}, Host {host}",
            want="404 or 421",
            got=answer,
            reproduce=site.curl(request),
        )
