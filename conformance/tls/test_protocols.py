"""What the gateway refuses to speak. Offers are written by hand (probes/hello.py): the local OpenSSL has no say."""

from betelgeuse.tree import TlsName
from conformance.probes import hello
from conformance.site import Site
from conformance.verdict import require

_FLAGS = {"SSLv3": "-ssl3", "TLS1.0": "-tls1", "TLS1.1": "-tls1_1"}


def _control(site: Site, name: TlsName) -> None:
    """Require that the same hello with a modern offer is accepted: else a refusal would prove nothing."""
    reply = site.once(("control", name.name), lambda: site.offer(hello.Offer(hello.TLS12, hello.COMMON, name.name)))
    require(
        reply.accepted and reply.version == hello.TLS12 and reply.suite in hello.STRONG,
        where=f"{name}, control",
        want="TLS 1.2 with ECDHE and AEAD accepted, chosen among weak suites too",
        got=reply,
        reproduce=site.s_client(name.name, "-tls1_2", "-brief"),
    )


def test_old_protocols_are_refused(site: Site, tls_name: TlsName, old_version: str) -> None:
    """SSL 3.0, TLS 1.0 and TLS 1.1 end in a refused handshake."""
    _control(site, tls_name)

    reply = site.offer(hello.Offer(hello.VERSIONS[old_version], hello.COMMON, tls_name.name))

    require(
        reply.refused,
        where=f"{tls_name}, {old_version}",
        want="a refused handshake",
        got=reply,
        reproduce=site.s_client(tls_name.name, _FLAGS[old_version], "-cipher 'ALL:@SECLEVEL=0'"),
    )


def test_weak_ciphers_are_refused(site: Site, tls_name: TlsName, weak_suites: str) -> None:
    """RC4, DES, 3DES, CBC-SHA1, NULL, EXPORT, anonymous and static-RSA suites end in a refused handshake."""
    _control(site, tls_name)

    reply = site.offer(hello.Offer(hello.TLS12, hello.WEAK[weak_suites], tls_name.name))

    require(
        reply.refused,
        where=f"{tls_name}, only {weak_suites} suites",
        want="a refused handshake",
        got=reply,
        reproduce=site.s_client(tls_name.name, "-tls1_2", "-cipher 'ALL:COMPLEMENTOFALL:@SECLEVEL=0:!ECDHE+AESGCM'"),
    )


def test_tls13_is_spoken(site: Site, tls_name: TlsName) -> None:
    """A modern client gets TLS 1.3."""
    seen = site.handshake(tls_name.name)

    require(
        seen.version == "TLSv1.3",
        where=str(tls_name),
        want="TLSv1.3",
        got=seen.version or seen.error,
        reproduce=site.s_client(tls_name.name, "-tls1_3", "-brief"),
    )


def test_compression_is_off(site: Site, tls_name: TlsName) -> None:
    """TLS compression is not agreed on, whoever offers it (CRIME)."""
    reply = site.offer(hello.Offer(hello.TLS12, hello.STRONG, tls_name.name, compression=True))

    require(
        reply.refused or (reply.accepted and reply.compression == 0),
        where=str(tls_name),
        want="no compression",
        got=f"{reply}, compression method {reply.compression}",
        reproduce=site.s_client(tls_name.name, "-tls1_2", "-comp"),
    )


def test_renegotiation_is_safe(site: Site, tls_name: TlsName) -> None:
    """TLS 1.2 sessions are bound against injected renegotiation (RFC 5746)."""
    reply = site.offer(hello.Offer(hello.TLS12, hello.STRONG, tls_name.name))

    require(
        reply.accepted and reply.secure_renegotiation,
        where=str(tls_name),
        want="the renegotiation_info extension in the ServerHello",
        got=f"{reply}, extension {'present' if reply.secure_renegotiation else 'absent'}",
        reproduce=site.s_client(tls_name.name, "-tls1_2") + " | grep -i renegotiation",
    )
