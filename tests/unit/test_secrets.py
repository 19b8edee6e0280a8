"""Secrets that are made once."""

import base64
import re
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import given
from hypothesis import strategies as st

from betelgeuse.errors import BetelgeuseError, UsageError
from betelgeuse.kube import Key, Obj, key_of
from betelgeuse.secrets import ANNOTATION, complete, ensure, password, recipes
from tests.unit.fakes import FakeKube, obj


def secret(recipe: str, name: str = "s", **rest: object) -> Obj:
    """Return a Secret of the tree."""
    return obj("v1", "Secret", name, "n", annotations={ANNOTATION: recipe}, **rest)


def nowhere(namespace: str, name: str, key: str) -> str | None:
    """Find nothing."""
    del namespace, name, key
    return None


def made(recipe: str) -> dict[str, str]:
    """Return the values a recipe gives, decoded."""
    data, _ = complete(secret(recipe), {}, nowhere)
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


@pytest.mark.parametrize(
    ("recipe", "pattern"),
    [
        ("hex:32", "[0-9a-f]{64}"),
        ("base64:32", "[A-Za-z0-9+/]{43}="),
        ("password:24", "[A-Za-z0-9]{24}"),
        ("literal:hello: world", "hello: world"),
        ("literal:", ""),
    ],
)
def test_each_recipe_has_its_form(recipe: str, pattern: str) -> None:
    """The value has the promised alphabet and length, and another one each time."""
    first, second = made(f"key: '{recipe}'")["key"], made(f"key: '{recipe}'")["key"]

    assert re.fullmatch(pattern, first)
    assert first != second or recipe.startswith("literal")


@given(st.integers(8, 64))
def test_passwords_hold_every_class(length: int) -> None:
    """Lower case, upper case and a digit are always there: no policy refuses it."""
    found = password(length)

    assert len(found) == length
    assert re.search("[a-z]", found)
    assert re.search("[A-Z]", found)
    assert re.search("[0-9]", found)


def test_selfsigned_is_its_own_ca() -> None:
    """The pair fits, names every name, outlives years, and is trusted by itself."""
    found = made("tls: selfsigned:web,web.n.svc,10.0.0.1")
    certificate = x509.load_pem_x509_certificate(found["tls.crt"].encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    key = load_pem_private_key(found["tls.key"].encode(), None)

    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.public_key() == certificate.public_key()
    assert names.get_values_for_type(x509.DNSName) == ["web", "web.n.svc"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.1"]
    assert found["ca.crt"] == found["tls.crt"]
    certificate.verify_directly_issued_by(certificate)
    assert certificate.not_valid_after_utc > datetime.now(UTC) + timedelta(days=3000)


def test_selfsigned_under_another_key() -> None:
    """Another key gives its own pair of names; a title is no name; a long name does not break the subject."""
    found = made(f"web: 'selfsigned:Our web server,{'a' * 60}.example.org'")

    assert sorted(found) == ["web.crt", "web.key"]
    assert made(f"x: selfsigned:{'a' * 60}.example.org")["x.crt"]


def test_existing_values_never_change() -> None:
    """What is there stays; only what is missing is made."""
    data, missing = complete(secret("a: hex:16\nb: hex:16"), {"a": "b2xk", "foreign": "eA=="}, nowhere)

    assert (data["a"], sorted(data), missing) == ("b2xk", ["a", "b"], [])


def test_half_a_pair_is_an_error() -> None:
    """A key without its certificate is not silently replaced."""
    with pytest.raises(BetelgeuseError, match=r"Secret n/s has tls\.crt but not ca\.crt, tls\.key; delete it"):
        complete(secret("tls: selfsigned:web"), {"tls.crt": "eA=="}, nowhere)


def test_copies_take_the_sources_value() -> None:
    """A copy is the other Secret's value; without a source it is reported as missing."""
    source = {("db", "app", "password"): "cHc="}
    found = complete(secret("pw: copy:db/app/password"), {}, lambda *where: source.get(where))

    assert found == ({"pw": "cHc="}, [])
    assert complete(secret("pw: copy:db/app/password"), {}, nowhere) == ({}, ["key password of Secret db/app"])


_BASIC = ".htpasswd: htpasswd:admin/password\npassword: password:24"


def test_htpasswd_is_what_apache_writes() -> None:
    """`htpasswd -nbs admin password` prints this line."""
    data, missing = complete(secret(_BASIC), {"password": base64.b64encode(b"password").decode()}, nowhere)

    assert base64.b64decode(data[".htpasswd"]) == b"admin:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n"
    assert missing == []


def test_htpasswd_follows_its_password() -> None:
    """Whatever became of the password, the next deploy makes the line anew, and only then."""
    fake = FakeKube()
    wanted = secret(_BASIC)
    ensure(fake.kube, [wanted], {})
    fake.log.clear()
    assert ensure(fake.kube, [wanted], dict(fake.objects)).generated == {}

    fake.objects[key_of(wanted)]["data"]["password"] = base64.b64encode(b"password").decode()
    found = ensure(fake.kube, [wanted], dict(fake.objects))

    assert found.generated == {key_of(wanted): [".htpasswd"]}
    assert b"W6ph5Mm5Pz8GgiULbPgzG37mj9g=" in base64.b64decode(fake.objects[key_of(wanted)]["data"][".htpasswd"])


BAD = [
    ("- a", "must be a map of key to recipe"),
    ("{}", "must be a map of key to recipe"),
    ("", "must be a map of key to recipe"),
    ("a: hex", "the recipe of 'a' is none of hex:…"),
    ("a: hexa:12", "the recipe of 'a' is none of hex:…"),
    ("a: hex:0", "the recipe of 'a' needs a size from 1 to 4096"),
    ("a: hex:99999999999999999999", "the recipe of 'a' needs a size"),
    ("a: password:7", "the recipe of 'a' needs a size from 8 to 4096"),
    ("a: copy:x/y", "the recipe of 'a' must be copy:<namespace>/<secret>/<key>"),
    ("a: copy:x//y", "the recipe of 'a' must be copy:<namespace>/<secret>/<key>"),
    ("a: htpasswd:admin", "the recipe of 'a' must be htpasswd:<user>/<key of the password>"),
    ("a: htpasswd:ad:min/b\nb: password:24", "the recipe of 'a' must be htpasswd:<user>/<key of the password>"),
    ("a: htpasswd:admin/b", "the recipe of 'a' needs a key 'b' with a recipe password:…"),
    ("a: htpasswd:admin/b\nb: literal:secret", "the recipe of 'a' needs a key 'b' with a recipe password:…"),
    ("tls: 'selfsigned:'", "the recipe of 'tls' must be selfsigned:"),
    ("a: [", "not valid YAML"),
]


@pytest.mark.parametrize(("recipe", "message"), BAD, ids=[recipe or "empty" for recipe, _ in BAD])
def test_wrong_recipes_are_named(recipe: str, message: str) -> None:
    """The message names the Secret, the key and what was expected."""
    with pytest.raises(UsageError) as caught:
        recipes(secret(recipe))

    assert message in str(caught.value)
    assert str(caught.value).startswith("Secret n/s: annotation betelgeuse.io/generate")


def test_a_wrong_recipe_does_not_leak() -> None:
    """A mistyped literal may be private: it is not repeated."""
    with pytest.raises(UsageError) as caught:
        recipes(secret("a: 'litteral:canary'"))

    assert "canary" not in str(caught.value)


def test_other_objects_have_no_recipes() -> None:
    """Only Secrets with the annotation are made."""
    assert recipes(obj("v1", "Secret", "s", "n")) == {}
    assert recipes(obj("v1", "ConfigMap", "s", "n", annotations={ANNOTATION: "a: hex:1"})) == {}


def test_ensure_makes_sources_before_copies() -> None:
    """Secrets that copy from generated ones come after them, with the same value."""
    fake = FakeKube()
    objects = [secret("pw: copy:n/source/pw", "copy"), secret("pw: password:24", "source")]

    found = ensure(fake.kube, objects, {})

    assert [key.name for _, key in fake.log] == ["source", "copy"]
    assert fake.objects[key_of(objects[0])]["data"] == fake.objects[key_of(objects[1])]["data"]
    assert found.generated == {key_of(objects[1]): ["pw"], key_of(objects[0]): ["pw"]}
    fake.log.clear()
    assert ensure(fake.kube, objects, dict(fake.objects)).generated == {}
    assert fake.log == []


def test_ensure_reports_what_has_no_source_yet() -> None:
    """The other keys are made already; the copy follows when its source is there."""
    fake = FakeKube()
    wanted = secret("a: hex:4\npw: copy:db/app/password")

    first = ensure(fake.kube, [wanted], {})
    fake.put(obj("v1", "Secret", "app", "db", data={"password": "cHc="}))
    second = ensure(fake.kube, [wanted], dict(fake.objects))

    assert first.waiting == {key_of(wanted): "key password of Secret db/app"}
    assert (second.generated, second.waiting) == ({key_of(wanted): ["pw"]}, {})
    assert sorted(fake.objects[key_of(wanted)]["data"]) == ["a", "pw"]


def test_type_is_kept() -> None:
    """A TLS Secret is made as one: its type cannot be changed later."""
    fake = FakeKube()
    ensure(fake.kube, [secret("tls: selfsigned:web", type="kubernetes.io/tls")], {})

    assert fake.objects[Key("", "Secret", "n", "s")]["type"] == "kubernetes.io/tls"


def test_circles_are_refused() -> None:
    """Two Secrets that copy from each other can never be made."""
    with pytest.raises(UsageError, match="copy from each other in a circle: Secret n/a, Secret n/b"):
        ensure(FakeKube().kube, [secret("x: copy:n/b/x", "a"), secret("x: copy:n/a/x", "b")], {})
