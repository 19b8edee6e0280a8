"""TLS handshakes as a client makes them: which certificate is served, and whether it chains to what we trust."""

import socket
import ssl
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa


@dataclass(frozen=True, slots=True)
class Certificate:
    """The parts of a leaf certificate that a promise is about."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    serial: int
    fingerprint: str
    key: str

    def covers(self, host: str) -> bool:
        """Whether a client that asked for the host would accept this certificate's names (RFC 6125)."""
        return any(name_matches(name, host) for name in self.names)


@dataclass(frozen=True, slots=True)
class Handshake:
    """One completed or failed handshake; `trust_error` is empty when the chain verifies."""

    address: str
    sni: str | None
    version: str = ""
    cipher: str = ""
    alpn: str = ""
    certificate: Certificate | None = None
    trust_error: str = ""
    error: str = ""


def name_matches(pattern: str, host: str) -> bool:
    """Match a certificate's DNS name; a wildcard stands for exactly one whole label."""
    pattern, host = pattern.lower().rstrip("."), host.lower().rstrip(".")
    if pattern.startswith("*."):
        label, dot, rest = host.partition(".")
        return bool(label and dot) and rest == pattern[2:]
    return pattern == host


def _describe(key: object) -> str:
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {key.curve.key_size}"
    return type(key).__name__


def parse_certificate(der: bytes) -> Certificate:
    """Read a certificate in DER."""
    leaf = x509.load_der_x509_certificate(der)
    try:
        extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = tuple(extension.get_values_for_type(x509.DNSName))
        names += tuple(str(ip) for ip in extension.get_values_for_type(x509.IPAddress))
    except x509.ExtensionNotFound:
        names = ()
    return Certificate(
        subject=leaf.subject.rfc4514_string(),
        issuer=leaf.issuer.rfc4514_string(),
        names=names,
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        serial=leaf.serial_number,
        fingerprint=leaf.fingerprint(hashes.SHA256()).hex(),
        key=_describe(leaf.public_key()),
    )


def blind_context(*alpn: str) -> ssl.SSLContext:
    """Return a context that verifies nothing: it looks at what is served, trust is a check of its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def _trusting_context(ca: Path | None, *alpn: str) -> ssl.SSLContext:
    """Return a context that verifies the chain only; whether the name fits is a promise of its own."""
    context = ssl.create_default_context(cafile=str(ca) if ca is not None else None)
    context.check_hostname = False
    context.set_alpn_protocols(list(alpn))
    return context


def _look(address: str, port: int, sni: str | None, context: ssl.SSLContext, timeout: float) -> Handshake:
    with (
        socket.create_connection((address, port), timeout) as raw,
        context.wrap_socket(raw, server_hostname=sni) as connection,
    ):
        der = connection.getpeercert(binary_form=True)
        cipher = connection.cipher()
        return Handshake(
            address=address,
            sni=sni,
            version=connection.version() or "",
            cipher=cipher[0] if cipher else "",
            alpn=connection.selected_alpn_protocol() or "",
            certificate=parse_certificate(der) if der else None,
        )


def handshake(  # noqa: PLR0913 - where, whom, trusting whom, for how long
    address: str,
    port: int,
    sni: str | None,
    *,
    ca: Path | None,
    timeout: float,
    alpn: tuple[str, ...] = ("h2", "http/1.1"),
) -> Handshake:
    """Look at what is served for a name, and whether its chain verifies to the bundle (None: the system's)."""
    trust_error = ""
    try:
        try:
            seen = _look(address, port, sni, _trusting_context(ca, *alpn), timeout)
        except ssl.SSLCertVerificationError as error:
            # Untrusted: look again without verifying, so that the report can tell what is served instead.
            trust_error = error.verify_message
            seen = _look(address, port, sni, blind_context(*alpn), timeout)
    except (OSError, ValueError) as error:
        return Handshake(address, sni, error=f"{type(error).__name__}: {error}")
    return replace(seen, trust_error=trust_error)
