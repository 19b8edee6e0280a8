"""Which certificate each public name serves."""

from datetime import UTC, datetime

from betelgeuse.tree import TlsName
from conformance.probes.tls import Handshake
from conformance.site import Site, random_label
from conformance.verdict import require


def _seen(site: Site, name: TlsName) -> Handshake:
    seen = site.handshake(name.name)
    require(
        seen.certificate,
        where=f"{name} at {seen.address}",
        want="a TLS handshake that ends with a certificate",
        got=seen.error,
        reproduce=site.s_client(name.name),
    )
    return seen


def test_chain_verifies_to_the_ca(site: Site, tls_name: TlsName) -> None:
    """Every public name's certificate chains to the CA that clients trust."""
    seen = _seen(site, tls_name)

    issuer = seen.certificate.issuer if seen.certificate else "nobody"
    require(
        not seen.trust_error,
        where=str(tls_name),
        want=f"a chain that verifies to {site.trusted}",
        got=f"{seen.trust_error} (issuer {issuer})",
        reproduce=site.s_client(tls_name.name, "-verify_return_error", "-brief"),
    )


def test_certificate_names_the_host(site: Site, tls_name: TlsName) -> None:
    """Every public name is covered by a subject alternative name of its certificate."""
    certificate = _seen(site, tls_name).certificate

    require(
        certificate and certificate.covers(tls_name.name),
        where=str(tls_name),
        want=f"a certificate with the name {tls_name}",
        got=f"names {certificate.names if certificate else ()}",
        reproduce=site.s_client(tls_name.name) + " | openssl x509 -noout -ext subjectAltName",
    )


def test_certificate_is_valid_now(site: Site, tls_name: TlsName) -> None:
    """Every public name's certificate has begun and has not expired."""
    certificate = _seen(site, tls_name).certificate
    now = datetime.now(UTC)

    require(
        certificate and certificate.not_before <= now < certificate.not_after,
        where=str(tls_name),
        want=f"validity around {now:%Y-%m-%d %H:%M}",
        got=f"{certificate.not_before} to {certificate.not_after}" if certificate else "no certificate",
        reproduce=site.s_client(tls_name.name) + " | openssl x509 -noout -dates",
    )


def test_app_certificate_is_its_own(site: Site, tls_name: TlsName) -> None:
    """Every name has a certificate of its own: it covers no other application's host."""
    certificate = _seen(site, tls_name).certificate
    others = [host.name for host in site.tree.hosts if host.name != tls_name.name]
    covered = [name for name in others if certificate and certificate.covers(name)]

    require(
        not covered,
        where=str(tls_name),
        want=f"a certificate for {tls_name} alone",
        got=f"one that covers {', '.join(covered)} too",
        reproduce=site.s_client(tls_name.name) + " | openssl x509 -noout -ext subjectAltName",
    )


def _require_no_app(site: Site, sni: str | None, what: str) -> None:
    seen = site.fresh_handshake(sni)
    leaked = [host.name for host in site.tree.hosts if seen.certificate and seen.certificate.covers(host.name)]

    require(
        not leaked,
        where=f"{site.endpoint().address}, {what}",
        want="no certificate, or one that names no application",
        got=f"the certificate of {', '.join(leaked)}",
        reproduce=site.s_client(sni) + " | openssl x509 -noout -ext subjectAltName",
    )
    # A gateway that is down leaks nothing either: silence must not pass for discretion.
    require(
        seen.certificate or "alert" in seen.error.lower() or "ssl" in seen.error.lower(),
        where=f"{site.endpoint().address}, {what}",
        want="a certificate that names no application, or a TLS alert",
        got=seen.error,
        reproduce=site.s_client(sni),
    )


def test_no_sni_gets_no_app_certificate(site: Site) -> None:
    """A client that names no host learns no application's name."""
    _require_no_app(site, None, "without SNI")


def test_unknown_sni_gets_no_app_certificate(site: Site) -> None:
    """A client that names an unknown host learns no application's name."""
    name = f"{random_label()}.{site.settings.domain}"
    _require_no_app(site, name, f"SNI {name}")


def test_foreign_sni_gets_no_app_certificate(site: Site) -> None:
    """A client that names a foreign domain learns no application's name."""
    _require_no_app(site, "example.org", "SNI example.org")
