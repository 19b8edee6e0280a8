"""ClientHellos by hand: offer what the local TLS library refuses to offer, and read what the server makes of it.

A library's policy (security level, ciphers compiled out) would turn "the server refuses TLS 1.0" into "we never
asked". So the offer is written byte by byte (RFC 5246 section 7.4.1.2) and the first answer is parsed; no key is ever
agreed on.
"""

import os
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

SSL3, TLS10, TLS11, TLS12 = 0x0300, 0x0301, 0x0302, 0x0303
VERSIONS: Final = MappingProxyType({"SSLv3": SSL3, "TLS1.0": TLS10, "TLS1.1": TLS11})

STRONG: Final = (0xC02B, 0xC02C, 0xC02F, 0xC030, 0xCCA8, 0xCCA9)
"""ECDHE with AEAD: what a TLS 1.2 server may speak; used as the control that proves the hello itself is sound."""

WEAK: Final = MappingProxyType(
    {
        "NULL": (0x0001, 0x0002, 0x003B, 0xC001, 0xC006, 0xC00B, 0xC010),
        "EXPORT": (0x0003, 0x0006, 0x0008, 0x000B, 0x000E, 0x0011, 0x0014),
        "anonymous": (
            *(0x0017, 0x0018, 0x0019, 0x001A, 0x001B, 0x0034, 0x003A, 0x006C, 0x006D, 0x00A6, 0x00A7),
            *(0xC015, 0xC016, 0xC017, 0xC018, 0xC019),
        ),
        "RC4": (0x0004, 0x0005, 0xC002, 0xC007, 0xC00C, 0xC011),
        "DES": (0x0009, 0x000C, 0x000F, 0x0012, 0x0015),
        "3DES": (0x000A, 0x000D, 0x0010, 0x0013, 0x0016, 0xC003, 0xC008, 0xC00D, 0xC012),
        "CBC-SHA1": (
            *(0x0007, 0x002F, 0x0032, 0x0033, 0x0035, 0x0038, 0x0039, 0x0041, 0x0084, 0x0096),
            *(0xC004, 0xC005, 0xC009, 0xC00A, 0xC00E, 0xC00F, 0xC013, 0xC014),
        ),
        "static-RSA": (0x003C, 0x003D, 0x009C, 0x009D, 0xC09C, 0xC09D),
    },
)
"""Cipher suites by weakness, as registered; "static-RSA" has no forward secrecy."""

COMMON: Final = WEAK["CBC-SHA1"] + WEAK["3DES"] + WEAK["RC4"] + STRONG
"""Every suite a server of any age could pick, so that only the version can be the reason for a refusal."""

_HANDSHAKE, _ALERT = 22, 21
_RENEGOTIATION: Final = 0xFF01
"""The extension of RFC 5746: who knows it is not open to injected renegotiations."""
_CLIENT_HELLO, _SERVER_HELLO = 1, 2
_ALERT_NAMES: Final = MappingProxyType(
    {
        0: "close_notify",
        10: "unexpected_message",
        40: "handshake_failure",
        47: "illegal_parameter",
        50: "decode_error",
        70: "protocol_version",
        71: "insufficient_security",
        80: "internal_error",
        86: "inappropriate_fallback",
        109: "missing_extension",
        112: "unrecognized_name",
    },
)


@dataclass(frozen=True, slots=True)
class Offer:
    """What we ask for: the highest version, the suites, name and protocol; `compression` also offers DEFLATE."""

    version: int = TLS12
    suites: tuple[int, ...] = STRONG
    sni: str | None = None
    compression: bool = False
    alpn: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server made of an offer: accepted (with what), refused (with which alert), closed or no answer."""

    outcome: str
    version: int = 0
    suite: int = 0
    compression: int = 0
    secure_renegotiation: bool = False
    alert: str = ""

    @property
    def accepted(self) -> bool:
        """Whether the server went on with the handshake."""
        return self.outcome == "accepted"

    @property
    def refused(self) -> bool:
        """Whether the server ended it: by an alert or by closing. Silence is no refusal."""
        return self.outcome in {"refused", "closed"}

    def __str__(self) -> str:
        """Tell it in a few words."""
        if self.accepted:
            return f"accepted with version {self.version:#06x}, suite {self.suite:#06x}"
        return f"{self.outcome}{f' ({self.alert})' if self.alert else ''}"


def _vector(data: bytes, width: int) -> bytes:
    return len(data).to_bytes(width, "big") + data


def _extension(number: int, data: bytes) -> bytes:
    return struct.pack("!H", number) + _vector(data, 2)


def _shorts(numbers: Iterable[int]) -> bytes:
    return b"".join(struct.pack("!H", number) for number in numbers)


def _extensions(offer: Offer) -> bytes:
    parts = []
    if offer.sni is not None:
        parts.append(_extension(0, _vector(b"\x00" + _vector(offer.sni.encode("idna"), 2), 2)))
    parts.append(_extension(10, _vector(_shorts((0x001D, 0x0017, 0x0018, 0x0019)), 2)))  # groups: x25519, P-256/384/521
    parts.append(_extension(11, _vector(b"\x00", 1)))  # uncompressed points
    # Signatures from RSA-PSS down to SHA-1: an old suite must not fail for want of one.
    signatures = (0x0804, 0x0805, 0x0806, 0x0403, 0x0503, 0x0603, 0x0401, 0x0501, 0x0601, 0x0203, 0x0201)
    parts.append(_extension(13, _vector(_shorts(signatures), 2)))
    if offer.alpn:
        parts.append(_extension(16, _vector(_vector(offer.alpn.encode(), 1), 2)))
    parts.append(_extension(_RENEGOTIATION, _vector(b"", 1)))
    return b"".join(parts)


def client_hello(offer: Offer) -> bytes:
    """Return the record that makes this offer."""
    methods = b"\x01\x00" if offer.compression else b"\x00"
    body = struct.pack("!H", offer.version) + os.urandom(32) + _vector(b"", 1)
    body += _vector(_shorts(offer.suites), 2) + _vector(methods, 1)
    if offer.version != SSL3:  # SSL 3.0 knows no extensions
        body += _vector(_extensions(offer), 2)
    message = bytes([_CLIENT_HELLO]) + _vector(body, 3)
    return bytes([_HANDSHAKE]) + struct.pack("!H", min(offer.version, TLS10)) + _vector(message, 2)


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = connection.recv(count - len(data))
        if not piece:
            raise ConnectionError
        data += piece
    return data


def _record(connection: socket.socket) -> tuple[int, bytes]:
    kind, _, length = struct.unpack("!BHH", _exactly(connection, 5))
    return kind, _exactly(connection, length)


def _server_hello(body: bytes) -> Reply:
    (version,) = struct.unpack_from("!H", body, 0)
    at = 34 + 1 + body[34]
    suite, compression = struct.unpack_from("!HB", body, at)
    at, numbers = at + 5, set()
    while at + 4 <= len(body):
        number, length = struct.unpack_from("!HH", body, at)
        numbers.add(number)
        at += 4 + length
    return Reply("accepted", version, suite, compression, secure_renegotiation=_RENEGOTIATION in numbers)


def _answer(connection: socket.socket) -> Reply:
    data = b""
    while True:
        kind, payload = _record(connection)
        if kind == _ALERT:
            number = payload[1] if len(payload) > 1 else -1
            return Reply("refused", alert=_ALERT_NAMES.get(number, f"alert {number}"))
        if kind != _HANDSHAKE:
            return Reply("garbage", alert=f"record type {kind}")
        data += payload
        size = 4 + int.from_bytes(data[1:4], "big") if len(data) >= 4 else 1 << 24  # noqa: PLR2004 - header of a handshake message
        if len(data) >= size:
            if data[0] != _SERVER_HELLO:
                return Reply("garbage", alert=f"handshake message {data[0]}")
            return _server_hello(data[4:size])


def offer_to(address: str, port: int, offer: Offer, timeout: float) -> Reply:
    """Make the offer to a server and return what it made of it."""
    try:
        with socket.create_connection((address, port), timeout) as connection:
            connection.sendall(client_hello(offer))
            return _answer(connection)
    except TimeoutError:
        return Reply("no answer")
    except ConnectionRefusedError:
        # Nobody listens: that is not a server which refuses a weak offer, and must not count as one.
        return Reply("unreachable")
    except ConnectionError:
        return Reply("closed")
    except (OSError, struct.error, IndexError) as error:
        return Reply("garbage", alert=str(error))
