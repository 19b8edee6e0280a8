"""The bundle of roots grows and never forgets."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from betelgeuse import paths
from betelgeuse.kube import ApiError, Obj
from betelgeuse.trust import merge, started_anew
from tests.unit.fakes import FakeKube


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


class Pebble(FakeKube):
    """A cluster with an ACME server, or with one that does not answer."""

    root = ""

    def raw(self, path: str) -> str:
        """Return the root of now."""
        if not self.root:
            message = f"{path}: no endpoints available"
            raise ApiError(message, 503)
        return self.root

    def request(self, method: str, path: str, *, body: Obj, content_type: str) -> str:
        """Note what is written."""
        self.written = (method, path, body, content_type)
        return ""


def test_who_started_anew_has_forgotten_its_accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new root means a new registration, once; the first root of all, and a server that is away, mean none."""
    monkeypatch.setattr(paths, "STATE", tmp_path)
    pebble = Pebble()

    told = []
    for pebble.root in ("", _root("one"), "", two := _root("two"), two):
        told.append(started_anew("local", pebble.kube))

    assert told == [False, False, False, True, False]
    assert pebble.written[2] == {"status": {"acme": {"uri": ""}}}
