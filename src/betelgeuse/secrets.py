"""Secrets made once in the cluster: never in git, in arguments or in logs, and changed by a rotation only.

A Secret of the tree carries no data, only the annotation `betelgeuse.io/generate`: a YAML map of key -> recipe:

| recipe                     | value                                                             |
|----------------------------|-------------------------------------------------------------------|
| `hex:32`                   | 32 random bytes in hexadecimal (64 characters)                    |
| `base64:32`                | 32 random bytes in base64                                         |
| `password:24`              | 24 letters and digits, of each class at least one                 |
| `selfsigned:cn,name,...`   | under the key `tls`: tls.crt, tls.key and ca.crt, its own CA      |
| `copy:namespace/name/key`  | the value of another Secret (also one that a controller makes)    |
| `literal:text`             | the text, for what is no secret but must lie beside one           |
| `htpasswd:user/key`        | the user's line for Basic Auth, from the password under that key  |

A rotation (rotation.py) writes new values, the time, and for a while the old value of a key as `previous-<key>`. Copies
of a rotated Secret follow it; other copies stay as they are.
"""

import base64
import hashlib
import secrets as random
import string
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from betelgeuse import yamls
from betelgeuse.apply_rules import SECRETS_MANAGER
from betelgeuse.certificate import self_signed
from betelgeuse.errors import BetelgeuseError, UsageError
from betelgeuse.kube import Key, Kube, Obj, describe, key_of

ANNOTATION: Final = "betelgeuse.io/generate"
ROTATED: Final = "betelgeuse.io/rotated"
"""Annotation of a Secret in the cluster: when its values were last made anew."""
PREVIOUS: Final = "previous-"
"""Begins the key under which a rotation keeps an old value until everybody knows the new one."""
RECIPES: Final = ("hex", "base64", "password", "selfsigned", "copy", "literal", "htpasswd")
_MAX_SIZE: Final = 4096
_MIN_PASSWORD: Final = 8
_COPY_PARTS: Final = 3


@dataclass(frozen=True)
class Recipe:
    """How one key of a Secret comes into being."""

    kind: str
    argument: str


@dataclass
class Made:
    """What a run did; names only, never values."""

    generated: dict[Key, list[str]] = field(default_factory=dict)
    waiting: dict[Key, str] = field(default_factory=dict)
    """Secrets whose source does not exist yet, with what they wait for."""


def _size(argument: str, least: int) -> int:
    if not (argument.isascii() and argument.isdigit() and least <= int(argument[:6]) <= _MAX_SIZE):
        message = f"needs a size from {least} to {_MAX_SIZE}"
        raise ValueError(message)
    return int(argument)


def password(length: int) -> str:
    """Return letters and digits only: safe in URLs, shells and configuration files alike."""
    alphabet = string.ascii_letters + string.digits
    while True:
        candidate = "".join(random.choice(alphabet) for _ in range(length))
        classes = (str.islower, str.isupper, str.isdigit)
        if all(any(map(holds, candidate)) for holds in classes):
            return candidate


_SIMPLE: Final[Mapping[str, Callable[[str], str]]] = {
    "hex": lambda argument: random.token_hex(_size(argument, 1)),
    "base64": lambda argument: base64.b64encode(random.token_bytes(_size(argument, 1))).decode(),
    "password": lambda argument: password(_size(argument, _MIN_PASSWORD)),
    "literal": lambda argument: argument,
}


def _recipe(text: object) -> Recipe:
    kind, colon, argument = str(text).partition(":")
    if not colon or kind not in RECIPES:
        message = f"is none of {', '.join(f'{name}:…' for name in RECIPES)}"
        raise ValueError(message)
    if kind == "copy" and (len(argument.split("/")) != _COPY_PARTS or not all(argument.split("/"))):
        message = "must be copy:<namespace>/<secret>/<key>"
        raise ValueError(message)
    if kind == "selfsigned" and not all(argument.split(",")):
        message = "must be selfsigned:<common name>,<dns name>,…"
        raise ValueError(message)
    if kind == "htpasswd" and (argument.count("/") != 1 or ":" in argument or not all(argument.split("/"))):
        message = "must be htpasswd:<user>/<key of the password>"
        raise ValueError(message)
    if kind in {"hex", "base64", "password"}:
        _size(argument, _MIN_PASSWORD if kind == "password" else 1)
    return Recipe(kind, argument)


def recipes(obj: Mapping[str, Any]) -> dict[str, Recipe]:
    """Return what a Secret of the tree asks for; empty when it asks for nothing."""
    text = (obj["metadata"].get("annotations") or {}).get(ANNOTATION)
    if obj.get("kind") != "Secret" or text is None:
        return {}
    where = f"{describe(obj)}: annotation {ANNOTATION}"
    documents = yamls.parse(str(text), where)
    if len(documents) != 1 or not isinstance(documents[0], dict) or not documents[0]:
        message = f"{where} must be a map of key to recipe, e.g. `password: password:24`"
        raise UsageError(message)
    found: dict[str, Recipe] = {}
    for key, recipe in documents[0].items():
        try:
            found[str(key)] = _recipe(recipe)
        except ValueError as error:
            # The text behind `literal:` may be private; the kind is enough to find the place.
            message = f"{where}: the recipe of {key!r} {error}"
            raise UsageError(message) from None
    for key, one in found.items():
        source = one.argument.rpartition("/")[2]
        # A hash without salt protects long random passwords only, so it is made of no other.
        if one.kind == "htpasswd" and (source not in found or found[source].kind != "password"):
            message = f"{where}: the recipe of {key!r} needs a key {source!r} with a recipe password:…"
            raise UsageError(message)
    return found


def _htpasswd(user: str, password: str) -> str:
    """Return a line of an htpasswd file; SHA-1 is the only hash that Envoy's Basic Auth reads."""
    digest = hashlib.sha1(password.encode(), usedforsecurity=False).digest()
    return f"{user}:{{SHA}}{base64.b64encode(digest).decode()}\n"


def produced(key: str, recipe: Recipe) -> tuple[str, ...]:
    """Return the data keys a recipe fills."""
    if recipe.kind != "selfsigned":
        return (key,)
    return (f"{key}.crt", f"{key}.key", "ca.crt") if key == "tls" else (f"{key}.crt", f"{key}.key")


Lookup = Callable[[str, str, str], str | None]
"""(namespace, secret, key) -> the base64 value, or None when it does not exist."""


def complete(obj: Obj, existing: Mapping[str, str], lookup: Lookup) -> tuple[dict[str, str], list[str]]:
    """Return the data a Secret must have (base64; existing values win) and the copies that have no source yet."""
    data: dict[str, str] = {}
    missing: list[str] = []
    wanted = recipes(obj)
    # What is derived comes last, and follows the password it is made of.
    for key, recipe in sorted(wanted.items(), key=lambda item: item[1].kind == "htpasswd"):
        names = produced(key, recipe)
        present = [name for name in names if existing.get(name)]
        if recipe.kind == "htpasswd":
            user, source = recipe.argument.split("/")
            line = _htpasswd(user, base64.b64decode(data[source]).decode())
            data[key] = base64.b64encode(line.encode()).decode()
        elif len(present) == len(names):
            data |= {name: existing[name] for name in names}
        elif present:
            absent = ", ".join(sorted(set(names) - set(present)))
            message = f"{describe(obj)} has {', '.join(present)} but not {absent}; delete it to have both made anew"
            raise BetelgeuseError(message)
        elif recipe.kind == "copy":
            namespace, name, source = recipe.argument.split("/")
            value = lookup(namespace, name, source)
            if value is None:
                missing.append(f"key {source} of Secret {namespace}/{name}")
            else:
                data[key] = value
        elif recipe.kind == "selfsigned":
            common, *rest = recipe.argument.split(",")
            certificate, private = self_signed(common, rest)
            values = (certificate, private, certificate)
            data |= {name: base64.b64encode(pem).decode() for name, pem in zip(names, values, strict=False)}
        else:
            data[key] = base64.b64encode(_SIMPLE[recipe.kind](recipe.argument).encode()).decode()
    return data, missing


def _in_order(objects: Iterable[Obj]) -> list[Obj]:
    """Return the Secrets to make, sources before the copies of them; refuse circles."""
    todo = {key_of(obj): obj for obj in objects if recipes(obj)}
    done: list[Obj] = []
    while todo:
        ready = [key for key, obj in todo.items() if not _sources(obj) & (set(todo) - {key})]
        if not ready:
            names = ", ".join(map(str, sorted(todo)))
            message = f"annotation {ANNOTATION}: these copy from each other in a circle: {names}"
            raise UsageError(message)
        done += [todo.pop(key) for key in ready]
    return done


def _sources(obj: Obj) -> set[Key]:
    parts = [recipe.argument.split("/") for recipe in recipes(obj).values() if recipe.kind == "copy"]
    return {Key("", "Secret", namespace, name) for namespace, name, _ in parts}


def stamp(live: Mapping[str, Any] | None) -> str:
    """Return when a Secret of the cluster was rotated, empty for never."""
    return str(((live or {}).get("metadata", {}).get("annotations") or {}).get(ROTATED, ""))


def write(kube: Kube, obj: Obj, data: Mapping[str, str], rotated: str = "") -> Obj:
    """Set a Secret's values (base64): exactly these of ours, so what is left out is removed."""
    meta = {"name": obj["metadata"]["name"], "namespace": obj["metadata"]["namespace"]}
    marks = {"annotations": {ROTATED: rotated}} if rotated else {}
    wanted = {"apiVersion": "v1", "kind": "Secret", "metadata": meta | marks, "type": obj.get("type", "Opaque")}
    # A person's edit of a generated value is taken back only here, where the value is meant to change.
    return kube.server_side_apply(wanted | {"data": dict(data)}, SECRETS_MANAGER, force=bool(rotated))


def outdated(obj: Obj, live: Mapping[Key, Obj]) -> list[str]:
    """Return the copies of a Secret whose source was rotated and has another value now."""
    existing = (live.get(key_of(obj)) or {}).get("data") or {}
    found = []
    for name, recipe in recipes(obj).items():
        if recipe.kind == "copy" and name in existing:
            namespace, source, key = recipe.argument.split("/")
            origin = live.get(Key("", "Secret", namespace, source))
            value = ((origin or {}).get("data") or {}).get(key)
            if stamp(origin) and value and value != existing[name]:
                found.append(name)
    return found


def ensure(kube: Kube, objects: Iterable[Obj], live: Mapping[Key, Obj]) -> Made:
    """Make what is missing. `live` holds the cluster's Secrets as listed before; it spares a request each."""
    made, known = Made(), dict(live)

    def lookup(namespace: str, name: str, key: str) -> str | None:
        identity = Key("", "Secret", namespace, name)
        if identity not in known:
            known[identity] = kube.get("v1", "Secret", name, namespace) or {}
        return (known[identity].get("data") or {}).get(key)

    for obj in _in_order(objects):
        identity = key_of(obj)
        existing = (known.get(identity) or {}).get("data") or {}
        stale = outdated(obj, known)
        data, missing = complete(obj, {name: existing[name] for name in existing if name not in stale}, lookup)
        if missing:
            made.waiting[identity] = missing[0]
        fresh = sorted(key for key in data if data[key] != existing.get(key))
        if fresh:
            times = [stamp(known.get(identity)), *(stamp(known.get(source)) for source in _sources(obj) if stale)]
            kept = {name: value for name, value in existing.items() if name.startswith(PREVIOUS)}
            known[identity] = write(kube, obj, data | kept, max(times))
            made.generated[identity] = fresh
    return made
