"""A certificate authority for the model platform."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@dataclass
class Authority:
    """Issues leaf certificates; each pair is (certificate PEM, key PEM)."""

    common: str = "Model Root"
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def __post_init__(self) -> None:
        """Sign the root itself."""
        self.certificate = self._sign(self.common, self.key, (), days=(-1, 3650), authority=True)

    def _sign(
        self,
        common: str,
        key: ec.EllipticCurvePrivateKey,
        names: tuple[str, ...],
        *,
        days: tuple[int, int],
        authority: bool = False,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(common))
            .issuer_name(_name(self.common))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(days=days[0]))
            .not_valid_after(now + timedelta(days=days[1]))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
            )
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, *names: str, days: tuple[int, int] = (-1, 90)) -> tuple[bytes, bytes]:
        """Return a certificate for the names, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = self._sign(names[0] if names else "nobody", key, names, days=days)
        return leaf.public_bytes(serialization.Encoding.PEM), _pem(key)

    def write(self, path: Path) -> Path:
        """Write the root that clients trust."""
        path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        return path
