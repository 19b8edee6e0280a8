"""Databases and brokers behind the gateway: nothing but TLS, with the server's own certificate, and room for all."""

import socket
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest

from betelgeuse.tree import TcpHost
from conformance.probes import hello, tls
from conformance.probes.tls import Handshake
from conformance.site import Site, random_label
from conformance.stores import root
from conformance.timeouts import TIMEOUTS
from conformance.verdict import require

pytestmark = pytest.mark.feature("store-outside")

_SILENT = 100
"""Clients that connect and say nothing: as many as PostgreSQL has places."""
_CLEAR = b"HELLO WORLD 1.0\r\n\r\n"
"""What no protocol behind the gateway begins with; whoever reads on for a longer message waits in vain."""


def _alpn(host: TcpHost) -> tuple[str, ...]:
    """Return the protocol to name: PostgreSQL begins with TLS for nobody else, others are asked for none."""
    return () if host.by_sni else ("postgresql",)


def _look(site: Site, host: TcpHost, name: str) -> Handshake:
    address = site.endpoint().address
    return tls.handshake(address, host.port, name, ca=root(site), timeout=TIMEOUTS.connect, alpn=_alpn(host))


def _s_client(site: Site, host: TcpHost, name: str) -> str:
    alpn = "".join(f" -alpn {protocol}" for protocol in _alpn(host))
    where = f"-connect {site.endpoint().address}:{host.port} -servername {name}{alpn}"
    return f"openssl s_client {where} -CAfile $(invoke ca --stores) -verify_return_error -brief </dev/null"


def test_certificate_verifies_in_full(site: Site, tcp_host: TcpHost) -> None:
    """Every database and broker shows a certificate for its public name that chains to the stores' CA and is valid."""
    seen, now = _look(site, tcp_host, tcp_host.name), datetime.now(UTC)
    certificate = seen.certificate

    require(
        certificate
        and not seen.trust_error
        and certificate.covers(tcp_host.name)
        and certificate.not_before <= now < certificate.not_after,
        where=str(tcp_host),
        want=f"TLS with a valid certificate for {tcp_host.name} that the root of the stores signed",
        got=seen.error or f"{seen.trust_error or 'a chain that verifies'}, {certificate}",
        reproduce=_s_client(site, tcp_host, tcp_host.name),
    )


def test_old_versions_are_refused(site: Site, tcp_host: TcpHost, old_version: str) -> None:
    """No database and no broker speaks SSL 3.0, TLS 1.0 or TLS 1.1; a modern client is accepted beside it."""
    offer = hello.Offer(hello.VERSIONS[old_version], hello.COMMON, tcp_host.name, alpn="".join(_alpn(tcp_host)))
    accepted = _look(site, tcp_host, tcp_host.name)

    seen = hello.offer_to(site.endpoint().address, tcp_host.port, offer, TIMEOUTS.connect)

    require(
        seen.refused and accepted.version in {"TLSv1.2", "TLSv1.3"},
        where=f"{tcp_host}, {old_version}",
        want="a refused handshake, and TLS 1.2 or 1.3 for others",
        got=f"{seen}; {accepted.version or accepted.error}",
        reproduce=_s_client(site, tcp_host, tcp_host.name),
    )


def test_clear_text_is_refused(site: Site, tcp_host: TcpHost) -> None:
    """Whoever speaks in the clear is answered nothing, and the connection ends, while TLS is accepted beside it."""
    accepted = _look(site, tcp_host, tcp_host.name)
    with socket.create_connection((site.endpoint().address, tcp_host.port), TIMEOUTS.connect) as connection:
        connection.sendall(_CLEAR)
        try:
            answer = connection.recv(4096)
            told = f"{answer!r}"
        except ConnectionResetError:
            answer, told = b"", "a reset"
        except TimeoutError:
            answer, told = b"?", f"an open connection after {TIMEOUTS.connect:.0f} s"

    require(
        not answer and accepted.certificate,
        where=str(tcp_host),
        want="an end without a word; a certificate for whoever speaks TLS",
        got=f"{told}; {accepted.error or 'a certificate'}",
        reproduce=f"echo HELLO | nc {site.endpoint().address} {tcp_host.port}",
    )


def test_unknown_name_leads_nowhere(site: Site, tcp_host: TcpHost) -> None:
    """Under an unknown name a shared port refuses, and a server's own port shows a certificate that is not for it."""
    name = f"{random_label()}.{site.settings.domain}"
    known, seen = _look(site, tcp_host, tcp_host.name), _look(site, tcp_host, name)
    certificate = seen.certificate

    require(
        known.certificate and (not certificate if tcp_host.by_sni else certificate and not certificate.covers(name)),
        where=f"{tcp_host}, asked for {name}",
        want="no server" if tcp_host.by_sni else f"a certificate that is not for {name}",
        got=f"{certificate or seen.error}; under its own name {known.error or 'a certificate'}",
        reproduce=_s_client(site, tcp_host, name),
    )


def test_silent_clients_take_nobodys_place(site: Site, tcp_host: TcpHost) -> None:
    """While many clients connect and say nothing, others are served as ever."""
    with ExitStack() as held:
        for _ in range(_SILENT):
            held.enter_context(socket.create_connection((site.endpoint().address, tcp_host.port), TIMEOUTS.connect))
        seen = _look(site, tcp_host, tcp_host.name)

    require(
        seen.certificate,
        where=f"{tcp_host}, beside {_SILENT} silent connections",
        want=f"a handshake within {TIMEOUTS.connect:.0f} s",
        got=seen.error,
        reproduce=_s_client(site, tcp_host, tcp_host.name),
    )
