"""Forged tokens. Each is made from a genuine one and the realm's public key: what an attacker would have. Pure."""

import base64
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

Claims = dict[str, Any]
Sign = Callable[[bytes], bytes]
_PUBLIC: Final = serialization.PublicFormat.SubjectPublicKeyInfo
_KIB: Final = 1024


def b64(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    """Return what base64url without padding stands for."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _json(value: object) -> str:
    return b64(json.dumps(value, separators=(",", ":")).encode())


def encode(header: Claims, claims: Claims, sign: Sign) -> str:
    """Return a token; the signature is whatever `sign` makes of the text."""
    text = f"{_json(header)}.{_json(claims)}"
    return f"{text}.{b64(sign(text.encode()))}"


def decode(token: str) -> tuple[Claims, Claims]:
    """Return header and claims, unverified."""
    header, claims, _ = token.split(".")
    return json.loads(unb64(header)), json.loads(unb64(claims))


def public_key(jwk: Mapping[str, str]) -> rsa.RSAPublicKey:
    """Return the RSA key of a JSON Web Key."""
    modulus, exponent = (int.from_bytes(unb64(jwk[name]), "big") for name in ("n", "e"))
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


def rs256(key: rsa.RSAPrivateKey) -> Sign:
    """Return a signer: RSASSA-PKCS1-v1_5 with SHA-256."""
    return lambda text: key.sign(text, padding.PKCS1v15(), hashes.SHA256())


def _hs(key: bytes, algorithm: str = "sha256") -> Sign:
    return lambda text: hmac.new(key, text, algorithm).digest()


@cache
def _own_key() -> rsa.RSAPrivateKey:
    """Return the attacker's key: one per process, it takes a while to make."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _nothing(_: bytes) -> bytes:
    return b""


@dataclass(frozen=True)
class Material:
    """What an attacker holds: a genuine token for this API, another one for another API, and the public key."""

    real: str = field(repr=False)
    other: str = field(repr=False)
    jwk: Mapping[str, str]

    @property
    def header(self) -> Claims:
        """The genuine token's header."""
        return decode(self.real)[0]

    @property
    def claims(self) -> Claims:
        """The genuine token's claims."""
        return decode(self.real)[1]

    def forged(self, header: Claims | None = None, claims: Claims | None = None, sign: Sign | None = None) -> str:
        """Return the genuine token with changes, signed with the attacker's key unless said otherwise."""
        return encode({**self.header, **(header or {})}, {**self.claims, **(claims or {})}, sign or rs256(_own_key()))

    def pem(self) -> bytes:
        """Return the realm's public key as PEM."""
        return public_key(self.jwk).public_bytes(serialization.Encoding.PEM, _PUBLIC)

    def der(self) -> bytes:
        """Return the realm's public key as DER."""
        return public_key(self.jwk).public_bytes(serialization.Encoding.DER, _PUBLIC)

    def tampered(self, **claims: object) -> str:
        """Return the genuine token with other claims under the old signature."""
        header, _, signature = self.parts()
        return f"{header}.{_json({**self.claims, **claims})}.{signature}"

    def parts(self) -> tuple[str, str, str]:
        """Return the genuine token's three parts."""
        header, claims, signature = self.real.split(".")
        return header, claims, signature


def _own_jwk(kid: str) -> Claims:
    numbers = _own_key().public_key().public_numbers()
    modulus = numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")
    return {"kty": "RSA", "n": b64(modulus), "e": b64(numbers.e.to_bytes(3, "big")), "alg": "RS256", "kid": kid}


def _es256(text: bytes) -> bytes:
    r, s = decode_dss_signature(ec.generate_private_key(ec.SECP256R1()).sign(text, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _ps256(text: bytes) -> bytes:
    salted = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    return _own_key().sign(text, salted, hashes.SHA256())


def _none(name: str) -> Callable[[Material], str]:
    return lambda m: m.forged({"alg": name}, sign=_nothing)


def _flipped(text: str, at: int) -> str:
    return text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]


def _with_header(m: Material, **header: object) -> str:
    _, claims, signature = m.parts()
    return f"{_json({**m.header, **header})}.{claims}.{signature}"


def _duplicate_claims(m: Material) -> str:
    """Return a token whose text has the audience twice: readers differ on which of them counts."""
    text = json.dumps(m.claims)[:-1] + ', "aud": "nobody", "exp": 1, ' + json.dumps(m.claims)[1:]
    head = f"{_json(m.header)}.{b64(text.encode())}"
    return f"{head}.{b64(rs256(_own_key())(head.encode()))}"


def _nested(m: Material) -> str:
    deep = b"[" * 5000 + b"]" * 5000
    head = f"{_json(m.header)}.{b64(deep)}"
    return f"{head}.{b64(rs256(_own_key())(head.encode()))}"


def _evil(kid: str, **header: object) -> Callable[[Material], str]:
    return lambda m: m.forged({"kid": kid, **header})


FORGERIES: Final[Mapping[str, Callable[[Material], str]]] = {
    # The algorithm: none at all, or another one with a key that everybody knows.
    "alg-none": _none("none"),
    "alg-None": _none("None"),
    "alg-nOnE": _none("nOnE"),
    "alg-NONE": _none("NONE"),
    "alg-empty": _none(""),
    "alg-missing": lambda m: encode({k: v for k, v in m.header.items() if k != "alg"}, m.claims, _nothing),
    "alg-null": lambda m: m.forged({"alg": None}, sign=_nothing),
    "alg-number": lambda m: m.forged({"alg": 256}),
    "alg-none-with-signature": lambda m: _with_header(m, alg="none"),
    "alg-lower-case": lambda m: _with_header(m, alg="rs256"),
    "hs256-public-pem": lambda m: m.forged({"alg": "HS256"}, sign=_hs(m.pem())),
    "hs256-public-pem-stripped": lambda m: m.forged({"alg": "HS256"}, sign=_hs(m.pem().strip())),
    "hs256-public-der": lambda m: m.forged({"alg": "HS256"}, sign=_hs(m.der())),
    "hs256-modulus": lambda m: m.forged({"alg": "HS256"}, sign=_hs(unb64(m.jwk["n"]))),
    "hs256-empty-key": lambda m: m.forged({"alg": "HS256"}, sign=_hs(b"")),
    "hs512-public-pem": lambda m: m.forged({"alg": "HS512"}, sign=_hs(m.pem(), "sha512")),
    "es256-own-key": lambda m: m.forged({"alg": "ES256"}, sign=_es256),
    "ps256-own-key": lambda m: m.forged({"alg": "PS256"}, sign=_ps256),
    "eddsa-own-key": lambda m: m.forged(
        {"alg": "EdDSA"}, sign=lambda text: ed25519.Ed25519PrivateKey.generate().sign(text)
    ),
    # The key: the attacker's, under a name or at an address of his choice.
    "own-key": lambda m: m.forged(),
    "own-key-no-kid": lambda m: encode({"alg": "RS256", "typ": "JWT"}, m.claims, rs256(_own_key())),
    "kid-unknown": _evil("nobody"),
    "kid-empty": _evil(""),
    "kid-traversal": lambda m: m.forged({"alg": "HS256", "kid": "../../../../../../dev/null"}, sign=_hs(b"")),
    "kid-url": _evil("https://evil.example/key"),
    "kid-quote": _evil("' OR '1'='1"),
    "kid-list": lambda m: m.forged({"kid": ["a", "b"]}),
    "jwk-in-header": lambda m: m.forged({"jwk": _own_jwk("own"), "kid": "own"}),
    "jku-in-header": _evil("own", jku="https://evil.example/jwks.json"),
    "x5u-in-header": _evil("own", x5u="https://evil.example/chain.pem"),
    "x5c-in-header": _evil("own", x5c=["MIIB"]),
    "crit-in-header": lambda m: m.forged({"crit": ["nobody"], "nobody": True}),
    # The signature: missing, short, of other bytes, with more behind it.
    "signature-empty": lambda m: ".".join(m.parts()[:2]) + ".",
    "signature-missing": lambda m: ".".join(m.parts()[:2]),
    "signature-short": lambda m: m.real[:-20],
    "signature-flipped": lambda m: _flipped(m.real, len(m.real) - 40),
    "signature-zeros": lambda m: m.forged(sign=lambda _: bytes(256)),
    "signature-of-another": lambda m: ".".join(m.parts()[:2]) + "." + m.other.split(".")[2],
    "trailing-bytes": lambda m: m.real + b64(b"more"),
    "trailing-part": lambda m: f"{m.real}.e30",
    "five-parts": lambda m: f"{m.real}.e30.e30",
    "token-twice": lambda m: f"{m.real}{m.real}",
    # The claims: others under the genuine signature, or both.
    "claims-of-another-api": lambda m: m.tampered(sub="root", azp="api-client"),
    "claims-later-expiry": lambda m: m.tampered(exp=m.claims["exp"] + 3600),
    "claims-no-expiry": lambda m: m.tampered(exp=None),
    "claims-more-groups": lambda m: m.tampered(groups=["platform-admins"]),
    "claims-for-us": lambda m: Material(m.other, m.real, m.jwk).tampered(aud=m.claims["aud"]),
    "claims-duplicate": _duplicate_claims,
    "claims-nested": _nested,
    "claims-no-object": lambda m: f"{m.parts()[0]}.{_json([1])}.{m.parts()[2]}",
    # The size: as large as a header may be, and larger.
    "size-16-kib": lambda m: m.forged(claims={"padding": "a" * 12 * _KIB}),
    "size-64-kib": lambda m: m.forged(claims={"padding": "a" * 48 * _KIB}),
    "size-1-mib": lambda m: m.forged(claims={"padding": "a" * 768 * _KIB}),
    # No token at all.
    "text": lambda _: "hello",
    "dots": lambda _: "..",
    "not-base64": lambda _: "%%%.%%%.%%%",
    "not-json": lambda _: f"{b64(b'hello')}.{b64(b'hello')}.{b64(b'hello')}",
    "not-ascii": lambda _: "é.é.é",
}
"""Name -> the token. None of them is signed by the realm as it stands."""

TOO_LARGE: Final = frozenset({"size-64-kib", "size-1-mib"})
"""More than any header may be: refused for that."""
