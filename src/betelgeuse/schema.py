"""Strict validation of rendered objects, offline: unknown fields, wrong types, missing fields, broken bounds.

Built-in kinds are checked against Kubernetes' own OpenAPI document, which its pinned Go module carries; custom
resources against the CRDs of the same tree. A walker over structural schemas instead of a JSON Schema library, because
the API server's rules differ (it refuses unknown fields below `anyOf`, has int-or-string, embedded objects and keyed
lists), and because walking megabytes of CRDs costs seconds there and milliseconds here. What needs a server (CEL rules,
defaults, admission) is the business of the server-side dry run.
"""

import base64
import binascii
import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from betelgeuse.kube import Obj, describe
from betelgeuse.settings import suggest

Schema = Mapping[str, Any]
Gvk = tuple[str, str]
"""apiVersion and kind."""

_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_QUANTITY: Final = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_NUMBER: Final = re.compile(r"[+-]?(\d+|\d+\.\d*|\.\d+)([eE][+-]?\d+|m|k|[MGTPE]|[KMGTPE]i|[nu])?")
_BOUNDS: Final[Mapping[str, tuple[int, int]]] = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}
_TYPES: Final[Mapping[str, Callable[[Any], bool]]] = {
    "array": lambda value: isinstance(value, list),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: (
        (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer())
    ),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "string": lambda value: isinstance(value, str),
}
_KNOWN_FORMATS: Final[Mapping[str, Callable[[str], object]]] = {
    "byte": lambda text: base64.b64decode(text, validate=True),
    "cidr": ipaddress.ip_network,
    "date-time": datetime.fromisoformat,
    "ipv4": ipaddress.IPv4Address,
    "ipv6": ipaddress.IPv6Address,
}


@dataclass(frozen=True)
class Catalog:
    """Schemas by apiVersion and kind."""

    definitions: Mapping[str, Schema]
    """Named schemas that `$ref` points to."""
    kinds: Mapping[Gvk, Schema] = field(default_factory=dict)

    def with_crds(self, objects: Iterable[Obj]) -> "Catalog":
        """Return a catalogue that also knows the kinds which CRDs among the objects define."""
        found: dict[Gvk, Schema] = {}
        for crd in objects:
            if crd.get("kind") == "CustomResourceDefinition":
                spec = crd["spec"]
                for version in spec["versions"]:
                    if version.get("served"):
                        schema = dict(version.get("schema", {}).get("openAPIV3Schema", {}))
                        # apiVersion, kind and metadata are implied in every custom resource.
                        schema["x-kubernetes-embedded-resource"] = True
                        found[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = schema
        return Catalog(self.definitions, {**self.kinds, **found})

    def problems(self, obj: Obj) -> list[str]:
        """Return what is wrong with an object, one line each; an empty list when nothing is."""
        gvk = (str(obj.get("apiVersion", "")), str(obj.get("kind", "")))
        schema = self.kinds.get(gvk)
        if schema is None:
            near = suggest(gvk[1], [kind for version, kind in self.kinds if version == gvk[0]])
            return [
                f"{describe(obj)}: neither Kubernetes nor a CRD of the tree has a kind {gvk[1]!r} in {gvk[0]!r}{near}"
            ]
        return [f"{describe(obj)}: {text}" for text in self._walk(obj, schema, "")]

    def _walk(self, value: Any, schema: Schema, at: str) -> Iterator[str]:  # noqa: ANN401 - any JSON value
        if (ref := schema.get("$ref")) is not None:
            name = ref.rpartition("/")[2]
            target = self.definitions[name]
            if name == _QUANTITY:
                yield from _quantity(value, at)
            elif target.get("properties") or target.get("type") != "object":
                yield from self._walk(value, target, at)
            # Else a definition without properties, such as RawExtension: whatever it holds is free.
            return
        if value is None:
            # Go reads null as absent; a nullable field means it. For required fields `_object` has its own say.
            return
        if schema.get("x-kubernetes-int-or-string") or schema.get("format") == "int-or-string":
            if not isinstance(value, int | str) or isinstance(value, bool):
                yield _wrong(at, "an integer or a string", value)
            # Patterns of such a field bind only its strings; bounds only its integers.
            yield from _bounds(value, schema, at)
            return
        kind = schema.get("type")
        if kind is not None and not _TYPES[kind](value):
            yield _wrong(at, _article(kind), value)
            return
        if isinstance(value, dict):
            yield from self._object(value, schema, at)
        elif isinstance(value, list):
            yield from self._array(value, schema, at)
        yield from _bounds(value, schema, at)
        yield from self._logic(value, schema, at)

    def _object(self, value: dict[str, Any], schema: Schema, at: str) -> Iterator[str]:
        known: Mapping[str, Schema] = schema.get("properties", {})
        extra = schema.get("additionalProperties")
        if schema.get("x-kubernetes-embedded-resource"):
            known = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, **known}
            known = {**known, "metadata": {"$ref": _META}}
        free = extra is True or schema.get("x-kubernetes-preserve-unknown-fields") or schema.keys() <= {"description"}
        for key, item in value.items():
            below = f"{at}.{key}" if at else str(key)
            if key in known:
                yield from self._walk(item, known[key], below)
            elif isinstance(extra, Mapping):
                yield from self._walk(item, extra, f"{at}[{key}]")
            elif not free:
                yield f"{below}: unknown field{suggest(str(key), known)}"
        for key in schema.get("required", ()):
            if value.get(key) is None and not (key in value and known.get(key, {}).get("nullable")):
                yield f"{at or 'object'}: required field {key!r} is missing"

    def _array(self, value: list[Any], schema: Schema, at: str) -> Iterator[str]:
        items: Schema = schema.get("items", {})
        for index, item in enumerate(value):
            yield from self._walk(item, items, f"{at}[{index}]")
        resolved = self.definitions[items["$ref"].rpartition("/")[2]] if "$ref" in items else items
        seen: set[str] = set()
        for index, item in enumerate(value):
            key = _identity(item, schema, resolved)
            if key is not None and key in seen:
                yield f"{at}[{index}]: duplicate of an earlier entry ({key})"
            seen.add(key or "")

    def _logic(self, value: Any, schema: Schema, at: str) -> Iterator[str]:  # noqa: ANN401 - any JSON value
        def holds(branch: Schema) -> bool:
            return next(self._values(value, branch, at), None) is None

        for branch in schema.get("allOf", ()):
            yield from self._values(value, branch, at)
        if (branches := schema.get("anyOf")) and not any(map(holds, branches)):
            yield f"{at}: none of the {len(branches)} allowed forms fits: {_shown(value)}"
        if (branches := schema.get("oneOf")) and (fits := sum(map(holds, branches))) != 1:
            yield f"{at}: exactly one of {len(branches)} forms must fit, {fits} do: {_shown(value)}"
        if (branch := schema.get("not")) is not None and holds(branch):
            yield f"{at}: has a form that is excluded: {_shown(value)}"

    def _values(self, value: Any, schema: Schema, at: str) -> Iterator[str]:  # noqa: ANN401 - any JSON value
        """Check a branch of allOf, anyOf, oneOf or not: it restricts values and says nothing about unknown fields."""
        if "type" in schema and not _TYPES[schema["type"]](value):
            yield _wrong(at, _article(schema["type"]), value)
            return
        yield from _bounds(value, schema, at)
        yield from self._logic(value, schema, at)
        if isinstance(value, dict):
            for key in schema.get("required", ()):
                if key not in value:
                    yield f"{at or 'object'}: required field {key!r} is missing"
            for key, branch in schema.get("properties", {}).items():
                if key in value:
                    yield from self._values(value[key], branch, f"{at}.{key}" if at else key)
        if isinstance(value, list) and "items" in schema:
            for index, item in enumerate(value):
                yield from self._values(item, schema["items"], f"{at}[{index}]")


def _identity(item: Any, schema: Schema, items: Schema) -> str | None:  # noqa: ANN401 - any JSON value
    """Return what makes a list's entry unique, or None where the list allows duplicates."""
    match schema.get("x-kubernetes-list-type"):
        case "map" if isinstance(item, dict):
            properties = items.get("properties", {})
            keys = schema.get("x-kubernetes-list-map-keys", ())
            parts = {key: item.get(key, properties.get(key, {}).get("default")) for key in keys}
            return ", ".join(f"{key}={part}" for key, part in parts.items() if part is not None)
        case "set":
            return json.dumps(item, sort_keys=True)
    return json.dumps(item, sort_keys=True) if schema.get("uniqueItems") else None


def _bounds(value: Any, schema: Schema, at: str) -> Iterator[str]:  # noqa: ANN401 - any JSON value
    if "enum" in schema and value not in schema["enum"]:
        near = suggest(value, [str(each) for each in schema["enum"]]) if isinstance(value, str) else ""
        yield f"{at}: {_shown(value)} is none of {', '.join(map(str, schema['enum']))}{near}"
    match value:
        case bool():
            return
        case str():
            if "pattern" in schema and not _compiled(schema["pattern"]).search(value):
                yield f"{at}: {_shown(value)} does not match {schema['pattern']}"
            yield from _format(value, schema.get("format", ""), at)
            yield from _size(len(value), schema, ("minLength", "maxLength"), f"{at}: length")
        case int() | float():
            low, high = _BOUNDS.get(schema.get("format", ""), (float("-inf"), float("inf")))
            if not low <= value <= high:
                yield f"{at}: {value} does not fit into {schema['format']}"
            yield from _size(value, schema, ("minimum", "maximum"), f"{at}:")
            if (step := schema.get("multipleOf")) and value % step:
                yield f"{at}: {value} is no multiple of {step}"
        case list():
            yield from _size(len(value), schema, ("minItems", "maxItems"), f"{at}: number of entries")
        case dict():
            yield from _size(len(value), schema, ("minProperties", "maxProperties"), f"{at}: number of fields")


def _size(value: float, schema: Schema, names: tuple[str, str], what: str) -> Iterator[str]:
    low, high = schema.get(names[0]), schema.get(names[1])
    if low is not None and (value < low or (schema.get("exclusiveMinimum") and value == low)):
        yield f"{what} {value} is less than the allowed {low}"
    if high is not None and (value > high or (schema.get("exclusiveMaximum") and value == high)):
        yield f"{what} {value} is more than the allowed {high}"


def _format(value: str, name: str, at: str) -> Iterator[str]:
    if (parse := _KNOWN_FORMATS.get(name)) is not None:
        try:
            parse(value)
        except (ValueError, binascii.Error):
            yield f"{at}: {_shown(value)} is not of format {name}"


def _quantity(value: object, at: str) -> Iterator[str]:
    # The API server reads a bare number as a quantity too.
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number and not (isinstance(value, str) and _NUMBER.fullmatch(value)):
        yield _wrong(at, "a quantity such as 500m or 2Gi", value)


def _wrong(at: str, want: str, got: object) -> str:
    return f"{at or 'object'}: expected {want}, got {_shown(got)}"


def _article(kind: str) -> str:
    return f"{'an' if kind[0] in 'aio' else 'a'} {kind}"


def _shown(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 - fits on the line of a terminal


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    # Go's `\z` is Python's `\Z`; Go's `$` does not match before a final line feed, Python's does.
    return re.compile(re.sub(r"(?<!\\)\$$", r"\\Z", pattern.replace(r"\z", r"\Z")))


def builtin(document: Mapping[str, Any]) -> Catalog:
    """Read a Kubernetes OpenAPI v2 document."""
    definitions: Mapping[str, Schema] = document["definitions"]
    kinds: dict[Gvk, Schema] = {}
    for schema in definitions.values():
        gvks: Sequence[Mapping[str, str]] = schema.get("x-kubernetes-group-version-kind", ())
        for gvk in gvks:
            version = f"{gvk['group']}/{gvk['version']}" if gvk["group"] else gvk["version"]
            kinds[version, gvk["kind"]] = schema
    return Catalog(definitions, kinds)


def openapi_path() -> Path:
    """Return the OpenAPI document of the Kubernetes version we run: a file of its Go module, fetched if need be."""
    # Imported here: a caller with a document of its own needs no Go.
    from betelgeuse.builds import golang  # noqa: PLC0415 - see above
    from betelgeuse.programs import table  # noqa: PLC0415 - see above

    return golang.module_folder(table.program("kubernetes")) / "api" / "openapi-spec" / "swagger.json"


@cache
def kubernetes() -> Catalog:
    """Return the schemas of every kind Kubernetes itself serves."""
    return builtin(json.loads(openapi_path().read_bytes()))
