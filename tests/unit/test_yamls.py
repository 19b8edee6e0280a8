"""YAML as Kubernetes reads it."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from betelgeuse import yamls
from betelgeuse.errors import UsageError

PRINTABLE = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | PRINTABLE,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(PRINTABLE, inner, max_size=4),
    max_leaves=15,
)


@given(st.dictionaries(PRINTABLE, JSON, min_size=1))
@example({"0E0": "1e3", "on": "0o7", "a": "x\n", "b": " x\n y"})
def test_what_is_written_is_read(document: dict[str, Any]) -> None:
    """Any plain data survives being written and read."""
    assert yamls.parse(yamls.dump([document]), "x") == [document]


@given(st.text())
def test_any_text_is_yaml_or_one_line(text: str) -> None:
    """No text whatsoever makes the reader fail in another way."""
    try:
        yamls.parse(text, "x")
    except UsageError as error:
        assert str(error).startswith("x:")  # noqa: PT017 - either outcome is right
        assert len(str(error).splitlines()) == 1  # noqa: PT017 - as above


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("2026-01-01", "2026-01-01"),
        ("12:30:45", "12:30:45"),
        ("0644", 420),
        ("0o644", 420),
        ("0x1F", 31),
        ("-7", -7),
        ("+7", 7),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("089", 89.0),
        ("1_000", "1_000"),
        ("~", None),
        ("=", "="),
        ("1.2.3", "1.2.3"),
    ],
)
def test_scalars_are_kubernetes_scalars(text: str, value: object) -> None:
    """Versions, dates, durations and switches stay text; file modes are octal."""
    [found] = yamls.parse(f"a: {text}", "x")

    assert found == {"a": value}
    assert type(found["a"]) is type(value)


def test_errors_name_the_line() -> None:
    """A malformed document names file and line."""
    with pytest.raises(UsageError, match=r"base/x\.yaml:3: not valid YAML: could not find expected ':'"):
        yamls.parse("a: 1\nb\nc\n", "base/x.yaml")
    with pytest.raises(UsageError, match=r"base/x\.yaml:2: not valid YAML"):
        yamls.parse("a: 1\nb: !!python/object:os.system {}\n", "base/x.yaml")


def test_empty_documents_are_none() -> None:
    """Separators without content are no documents."""
    assert yamls.parse("---\n---\na: 1\n---\n", "x") == [{"a": 1}]
