"""The schema walker: what it refuses, what it must let pass, and that a JSON Schema library agrees."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from betelgeuse import paths, schema
from betelgeuse.programs import table
from betelgeuse.programs.model import Program

DOCUMENT: dict[str, Any] = {
    "definitions": {
        "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "creationTimestamp": {"type": "string", "format": "date-time"},
            },
        },
        "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": "string"},
        "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": "string", "format": "int-or-string"},
        "io.k8s.apimachinery.pkg.runtime.RawExtension": {"type": "object"},
        "Port": {
            "type": "object",
            "required": ["number"],
            "properties": {
                "number": {"type": "integer", "format": "int32"},
                "protocol": {"type": "string", "default": "TCP"},
                "target": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.util.intstr.IntOrString"},
            },
        },
        "Thing": {
            "type": "object",
            "x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "Thing"}],
            "properties": {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "metadata": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"},
                "ports": {
                    "type": "array",
                    "items": {"$ref": "#/definitions/Port"},
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["number", "protocol"],
                },
                "limits": {
                    "type": "object",
                    "additionalProperties": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.api.resource.Quantity"},
                },
                "data": {"type": "object", "additionalProperties": {"type": "string", "format": "byte"}},
                "raw": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.runtime.RawExtension"},
                "replicas": {"type": "integer", "format": "int32"},
                "ratio": {"type": "number"},
                "paused": {"type": "boolean"},
            },
        },
    }
}

CRD: dict[str, Any] = {
    "kind": "CustomResourceDefinition",
    "spec": {
        "group": "example.org",
        "names": {"kind": "Widget"},
        "versions": [
            {"name": "v1alpha1", "served": False},
            {
                "name": "v1",
                "served": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "required": ["spec"],
                        "properties": {
                            "spec": {
                                "type": "object",
                                "required": ["mode"],
                                "properties": {
                                    "mode": {"type": "string", "enum": ["Fast", "Safe"]},
                                    "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5, "minLength": 2},
                                    "count": {"type": "integer", "minimum": 1, "maximum": 9, "multipleOf": 2},
                                    "share": {
                                        "type": "number",
                                        "minimum": 0,
                                        "exclusiveMinimum": True,
                                        "exclusiveMaximum": True,
                                        "maximum": 1,
                                    },
                                    "size": {
                                        "x-kubernetes-int-or-string": True,
                                        "pattern": "^[0-9]+%$",
                                        "anyOf": [{"type": "integer"}, {"type": "string"}],
                                    },
                                    "free": {
                                        "type": "object",
                                        "x-kubernetes-preserve-unknown-fields": True,
                                        "properties": {"known": {"type": "string"}},
                                    },
                                    "empty": {"type": "object"},
                                    "maybe": {"type": "string", "nullable": True},
                                    "names": {
                                        "type": "array",
                                        "items": {"type": "string"},
                                        "x-kubernetes-list-type": "set",
                                        "maxItems": 3,
                                        "minItems": 1,
                                    },
                                    "unique": {"type": "array", "items": {"type": "integer"}, "uniqueItems": True},
                                    "template": {
                                        "type": "object",
                                        "x-kubernetes-embedded-resource": True,
                                        "properties": {"spec": {"type": "object"}},
                                    },
                                    "address": {"type": "string", "format": "ipv4"},
                                    "subnet": {"type": "string", "format": "cidr"},
                                    "labels": {
                                        "type": "object",
                                        "additionalProperties": {"type": "string"},
                                        "maxProperties": 2,
                                    },
                                    "choice": {
                                        "type": "object",
                                        "properties": {
                                            "a": {"type": "string"},
                                            "b": {"type": "string"},
                                            "list": {"type": "array", "items": {"type": "string"}},
                                        },
                                        "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
                                        "allOf": [{"properties": {"list": {"items": {"enum": ["x", "y"]}}}}],
                                        "not": {"properties": {"a": {"enum": ["forbidden"]}}, "required": ["a"]},
                                    },
                                },
                            },
                        },
                    }
                },
            },
        ],
    },
}

CATALOG = schema.builtin(DOCUMENT).with_crds([CRD, {"kind": "ConfigMap"}])


def thing(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    """A built-in object."""
    return {"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "x"}, **fields}


def widget(**spec: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    """A custom resource."""
    return {
        "apiVersion": "example.org/v1",
        "kind": "Widget",
        "metadata": {"name": "x"},
        "spec": {"mode": "Fast", **spec},
    }


GOOD = {
    "everything": thing(
        ports=[{"number": 1}, {"number": 1, "protocol": "UDP", "target": "http"}, {"number": 2, "target": 8080}],
        limits={"cpu": "500m", "memory": "1.5Gi", "pods": 3, "small": "1e3"},
        data={"key": "aGk="},
        raw={"any": {"thing": [1]}},
        replicas=3,
        ratio=1,
        paused=False,
    ),
    "null is absent": thing(replicas=None, metadata={"name": "x", "creationTimestamp": None}),
    "integral float": thing(replicas=2.0),
    "embedded metadata": widget(
        template={"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"a": "b"}}, "spec": {}}
    ),
    "preserved": widget(free={"known": "x", "unknown": {"deep": 1}}),
    "int or string": widget(size=5) | {},
    "percentage": widget(size="50%"),
    "nullable": widget(maybe=None),
    "bounds": widget(
        name="abc", count=4, share=0.5, names=["a", "b"], unique=[1, 2], address="10.0.0.1", subnet="10.0.0.0/8"
    ),
    "one of": widget(choice={"a": "x", "list": ["x", "y"]}),
    "empty object": widget(empty={}),
}

BAD = {
    "unknown kind": ({"apiVersion": "v1", "kind": "Thingy", "metadata": {"name": "x"}}, "did you mean 'Thing'?"),
    "version not served": (
        widget() | {"apiVersion": "example.org/v1alpha1"},
        "has a kind 'Widget' in 'example.org/v1alpha1'",
    ),
    "typo": (thing(replica=1), "replica: unknown field; did you mean 'replicas'?"),
    "deep typo": (
        thing(ports=[{"number": 1, "protcol": "TCP"}]),
        "ports[0].protcol: unknown field; did you mean 'protocol'?",
    ),
    "typo in metadata": (thing(metadata={"nmae": "x"}), "metadata.nmae: unknown field"),
    "typo in a custom resource's metadata": (
        widget() | {"metadata": {"name": "x", "label": {}}},
        "metadata.label: unknown field",
    ),
    "string for integer": (thing(replicas="3"), 'replicas: expected an integer, got "3"'),
    "boolean for integer": (thing(replicas=True), "replicas: expected an integer, got true"),
    "fraction for integer": (thing(replicas=1.5), "expected an integer"),
    "string for boolean": (thing(paused="yes"), "expected a boolean"),
    "integer in labels": (thing(metadata={"labels": {"a": 1}}), "metadata.labels[a]: expected a string, got 1"),
    "object for array": (thing(ports={}), "ports: expected an array"),
    "missing": (thing(ports=[{}]), "ports[0]: required field 'number' is missing"),
    "null for a required field": (thing(ports=[{"number": None}]), "required field 'number' is missing"),
    "too big": (thing(replicas=2**31), "does not fit into int32"),
    "duplicate with default": (thing(ports=[{"number": 1}, {"number": 1, "protocol": "TCP"}]), "ports[1]: duplicate"),
    "quantity": (thing(limits={"cpu": "half"}), "limits[cpu]: expected a quantity"),
    "quantity boolean": (thing(limits={"cpu": True}), "expected a quantity"),
    "base64": (thing(data={"key": "not base64"}), "not of format byte"),
    "list for int-or-string": (thing(ports=[{"number": 1, "target": []}]), "an integer or a string"),
    "date": (thing(metadata={"creationTimestamp": "yesterday"}), "not of format date-time"),
    "missing spec": (
        {"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "x"}},
        "'spec' is missing",
    ),
    "enum": (widget(mode="fast"), "spec.mode: \"fast\" is none of Fast, Safe; did you mean 'Fast'?"),
    "pattern": (widget(name="ABC"), "does not match"),
    "pattern before a line feed": (widget(name="abc\n"), "does not match"),
    "short": (widget(name="a"), "length 1 is less than the allowed 2"),
    "long": (widget(name="abcdef"), "length 6 is more than the allowed 5"),
    "low": (widget(count=0), "0 is less than the allowed 1"),
    "high": (widget(count=10), "10 is more than the allowed 9"),
    "odd": (widget(count=3), "no multiple of 2"),
    "exclusive minimum": (widget(share=0), "less than the allowed 0"),
    "exclusive maximum": (widget(share=1), "more than the allowed 1"),
    "percentage": (widget(size="50"), "does not match"),
    "unknown in an empty object": (widget(empty={"x": 1}), "spec.empty.x: unknown field"),
    "type below preserved": (widget(free={"known": 1}), "spec.free.known: expected a string"),
    "set": (widget(names=["a", "a"]), "spec.names[1]: duplicate"),
    "too many": (widget(names=list("abcd")), "number of entries 4 is more"),
    "too few": (widget(names=[]), "number of entries 0 is less"),
    "not unique": (widget(unique=[1, 1]), "duplicate"),
    "address": (widget(address="10.0.0.256"), "not of format ipv4"),
    "subnet": (widget(subnet="10.0.0.1/8"), "not of format cidr"),
    "too many fields": (widget(labels={"a": "", "b": "", "c": ""}), "number of fields 3 is more"),
    "none of": (widget(choice={}), "exactly one of 2 forms must fit, 0 do"),
    "both of": (widget(choice={"a": "x", "b": "y"}), "exactly one of 2 forms must fit, 2 do"),
    "excluded": (widget(choice={"a": "forbidden"}), "has a form that is excluded"),
    "value below allOf": (widget(choice={"a": "x", "list": ["z"]}), 'spec.choice.list[0]: "z" is none of x, y'),
}


@pytest.mark.parametrize("obj", GOOD.values(), ids=GOOD)
def test_what_the_api_server_takes_passes(obj: dict[str, Any]) -> None:
    """No false alarm."""
    assert CATALOG.problems(obj) == []


@pytest.mark.parametrize(("obj", "expected"), BAD.values(), ids=BAD)
def test_what_the_api_server_refuses_is_named(obj: dict[str, Any], expected: str) -> None:
    """One line says which object, which field and what is wrong with it."""
    problems = CATALOG.problems(obj)

    assert len(problems) == 1, problems
    assert expected in problems[0]
    assert "\n" not in problems[0]


def test_the_line_begins_with_the_object() -> None:
    """As kubectl would name it."""
    assert CATALOG.problems(thing(replica=1))[0].startswith("Thing x: replica")


def test_alternatives_restrict_values_only() -> None:
    """None of anyOf's branches fitting is one problem."""
    catalog = schema.Catalog(
        {},
        {
            ("v1", "A"): {
                "anyOf": [{"required": ["a"]}, {"type": "string"}],
                "x-kubernetes-preserve-unknown-fields": True,
            }
        },
    )

    assert "none of the 2 allowed forms fits" in catalog.problems({"apiVersion": "v1", "kind": "A"})[0]


def _closed(node: Mapping[str, Any]) -> dict[str, Any]:
    """Our structural schema as plain JSON Schema: what is not declared is refused."""
    plain = dict(node)
    if "properties" in plain:
        plain["properties"] = {name: _closed(child) for name, child in plain["properties"].items()}
        plain["additionalProperties"] = False
    if "items" in plain:
        plain["items"] = _closed(plain["items"])
    return plain


_NAMES = st.sampled_from(["a", "b", "c"])
_LEAVES = st.one_of(
    st.just({"type": "boolean"}),
    st.builds(lambda low: {"type": "integer", "minimum": low, "maximum": low + 3}, st.integers(-3, 3)),
    st.builds(lambda length: {"type": "string", "maxLength": length}, st.integers(0, 3)),
    st.builds(
        lambda pick: {"type": "string", "enum": pick},
        st.lists(st.sampled_from(["", "x", "y"]), min_size=1, unique=True),
    ),
)
_SCHEMAS = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda items, top: {"type": "array", "items": items, "maxItems": top}, inner, st.integers(0, 3)),
        st.builds(
            lambda properties, required: {
                "type": "object",
                "properties": properties,
                "required": sorted(required & set(properties)),
            },
            st.dictionaries(_NAMES, inner, min_size=1),
            st.sets(_NAMES),
        ),
    ),
    max_leaves=6,
)
_VALUES = st.recursive(
    st.booleans() | st.integers(-5, 5) | st.text("xyz", max_size=4) | st.floats(-2, 2, allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_NAMES | st.just("other"), inner),
    max_leaves=8,
)


@given(node=_SCHEMAS, value=_VALUES)
def test_a_json_schema_library_agrees(node: dict[str, Any], value: object) -> None:
    """Where both have the same rules, our walker and jsonschema say the same."""
    catalog = schema.Catalog({})
    ours = not list(catalog._walk(value, node, ""))

    assert ours == jsonschema.Draft4Validator(_closed(node)).is_valid(value)


def test_the_document_is_the_one_of_the_pinned_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """programs/kubernetes decides, and Go's checksums with it."""
    asked: list[Program] = []

    def module_folder(program: Program) -> Path:
        asked.append(program)
        return paths.ROOT / "module"

    monkeypatch.setattr("betelgeuse.builds.golang.module_folder", module_folder)

    assert schema.openapi_path() == paths.ROOT / "module" / "api" / "openapi-spec" / "swagger.json"
    assert asked == [table.program("kubernetes")]


def test_the_catalogue_is_read_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The megabytes are parsed at the first use."""
    (tmp_path / "swagger.json").write_text(json.dumps(DOCUMENT))
    monkeypatch.setattr(schema, "openapi_path", lambda: tmp_path / "swagger.json")
    schema.kubernetes.cache_clear()

    assert ("v1", "Thing") in schema.kubernetes().kinds
    assert schema.kubernetes() is schema.kubernetes()
    schema.kubernetes.cache_clear()
