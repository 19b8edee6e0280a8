"""YAML as Kubernetes reads it."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from betelgeuse import yamls
from betelgeuse.errors import UsageError
from betelgeuse.kube.command import kubectl
from betelgeuse.printable import printable
from betelgeuse.shell import run

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


def by_kubectl(data: dict[str, Any]) -> dict[str, Any]:
    """Return what kubectl understands of what we write."""
    document = {"apiVersion": "example.org/v1", "kind": "Any", "metadata": {"name": "a"}, "data": data}
    read = run([kubectl(), "label", "--local", "-f", "-", "-o", "json", "x=y"], input=yamls.dump([document]))
    found: dict[str, Any] = json.loads(read)["data"]
    return found


SIGNS = "01_eExXoObBnNyY.+-:"
WORDS = ("yes", "no", "on", "off", "true", "false", "null", "inf", ".inf", "-.inf", ".nan", "~", "=", "<<")
DATES = ("2001-1-1", "2001-01-01", "2001-01-01T01:02:03Z", "2001-1-1 1:2:3", "190:20:30", "1_0:2_0")


def test_kubectl_reads_text_as_text() -> None:
    """Every short text of the signs that numbers and switches are made of, each as a value and as a key."""
    short = ["".join(signs) for length in range(4) for signs in itertools.product(SIGNS, repeat=length)]
    # A trailing digit, underscore or exponent makes numbers of the longer ones.
    longer = [f"{start}{end}" for start in short if start for end in ("7", "_7", "e3", "e+_3", "F", ".5_")]
    words = [each for word in (*WORDS, *DATES) for each in (word, word.upper(), word.capitalize())]
    texts = {text: text for text in dict.fromkeys([*short, *longer, *words])}

    assert by_kubectl(texts) == texts


@settings(max_examples=15, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=30, max_size=60))
@example(
    [
        "\u2028",
        "a\x85b",
        "\ufeff",
        "\x00\x1b\x7f",
        "\ta\n",
        "\n",
        " \n a",
        "a\n\n",
        "\r\n",
        "...",
        "--- a",
        "# a",
        "a #b",
    ]
)
def test_kubectl_reads_what_we_mean(texts: list[str]) -> None:
    """Any text at all, with control characters and ends of lines of every kind."""
    data = {str(number): text for number, text in enumerate(texts)} | {f"k{text}": 1 for text in texts}

    assert by_kubectl(data) == data


@given(st.text())
@example("\x1b\u202e\x85\u2028\xad\xa0\r")
def test_what_is_shown_as_an_escape_means_the_same(text: str) -> None:
    """What a terminal must not get raw is quoted, so that its escape is read as the sign itself."""
    written = printable(yamls.dump([{"a": text, "b": [f"x{text}\n"]}]), "\n\t")

    assert yamls.parse(written, "x") == [{"a": text, "b": [f"x{text}\n"]}]
    assert written.translate({10: " ", 9: " "}).isprintable()


def test_kubectl_reads_numbers_and_switches() -> None:
    """What is no text stays none, and keeps its value."""
    data = {"a": [True, False, None, 0, -1, 2**63 - 1, -(2**63), 0.5, 1e-7, 1e20, -2.5e-300], "b": {}, "c": []}

    assert by_kubectl(data) == data


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
    with pytest.raises(UsageError, match=r"x:1: not valid YAML: .* constructor for a tag; a text .* quotes$"):
        yamls.parse("a: !Tr0ub4dor", "x")
    with pytest.raises(UsageError, match=r"base/x\.yaml:2: not valid YAML"):
        yamls.parse("a: 1\nb: !!python/object:os.system {}\n", "base/x.yaml")


def test_empty_documents_are_none() -> None:
    """Separators without content are no documents."""
    assert yamls.parse("---\n---\na: 1\n---\n", "x") == [{"a": 1}]
