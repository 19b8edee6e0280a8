"""The bundle of roots grows and never forgets."""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from betelgeuse.trust import merge


def _root(name: str) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now)
    certificate = builder.not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())
    return certificate.public_bytes(Encoding.PEM).decode()


def test_each_root_stands_once_and_in_order() -> None:
    """A restart of the issuer adds its new root behind the old one."""
    first, second = _root("one"), _root("two")

    assert merge(first, first) == first
    assert merge(first, second + first) == first + second


def test_text_without_certificates_adds_nothing() -> None:
    """An empty bundle is no error: the first deploy has none."""
    root = _root("one")

    assert merge("", root) == root
    assert merge("") == ""
