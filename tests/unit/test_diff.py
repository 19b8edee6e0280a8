"""The diff people read."""

from hypothesis import given
from hypothesis import strategies as st

from betelgeuse.diff import masked, quiet, unified
from tests.unit.fakes import obj

VALUES = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.text("ABCDEFGHIJKLMNOP", min_size=12, max_size=12))


def test_only_what_changes_shows() -> None:
    """A changed value is two lines; what the server writes on its own is none."""
    before = obj("v1", "ConfigMap", "c", "n", data={"a": "1", "b": "x"}, uid="1", generation=1, status={"x": 1})
    after = obj("v1", "ConfigMap", "c", "n", data={"a": "2", "b": "x"}, uid="1", generation=2)
    lines = unified(before, after).splitlines()

    assert lines[:2] == ["--- ConfigMap n/c (live)", "+++ ConfigMap n/c (tree)"]
    assert [line for line in lines[2:] if line[0] in "+-"] == ["-  a: '1'", "+  a: '2'"]
    assert unified(before, {**before, "status": {"x": 2}}) == ""


def test_new_and_deleted_objects() -> None:
    """An absent side is named."""
    config = obj("v1", "ConfigMap", "c", "n", data={"text": "one\ntwo\n"})

    assert unified(None, config).startswith("--- (absent)\n+++ ConfigMap n/c (tree)")
    assert "+  text: |\n+    one\n+    two" in unified(None, config)
    assert "+++ (deleted)" in unified(config, None)
    assert unified(None, None) == ""


def test_annotations_of_tools_are_noise() -> None:
    """The last-applied copy of the object never shows: it repeats a Secret's values."""
    noisy = {"kubectl.kubernetes.io/last-applied-configuration": "{canary}"}

    assert "annotations" not in quiet(obj("v1", "Secret", "s", "n", annotations=noisy))["metadata"]
    assert quiet(obj("v1", "X", "s", annotations={**noisy, "a": "b"}))["metadata"]["annotations"] == {"a": "b"}


@given(VALUES, VALUES, st.sampled_from(["data", "stringData"]))
def test_no_secret_value_ever_shows(old: dict[str, str], new: dict[str, str], part: str) -> None:
    """Whatever the values are, none is in the diff, and a change still is."""
    before, after = obj("v1", "Secret", "s", "n", **{part: old}), obj("v1", "Secret", "s", "n", **{part: new})
    text = unified(before, after)

    assert not [value for value in {*old.values(), *new.values()} if value in text]
    assert bool(text) == (old != new)
    assert not [value for value in new.values() if value in unified(None, after)]


def test_masks_tell_changed_from_unchanged() -> None:
    """A value that stays is three stars; one that changes says before and after."""
    before, after = masked(
        obj("v1", "Secret", "s", data={"a": "1", "b": "2"}), obj("v1", "Secret", "s", data={"a": "1", "b": "3"})
    )

    assert before is not None
    assert after is not None
    assert before["data"] == {"a": "***", "b": "*** (before)"}
    assert after["data"] == {"a": "***", "b": "*** (after)"}


def test_private_keys_anywhere_are_hidden() -> None:
    """A private key in a ConfigMap is a mistake; the diff does not spread it."""
    pem = "-----BEGIN EC PRIVATE KEY-----\ncanary\n-----END EC PRIVATE KEY-----\n"

    assert "canary" not in unified(None, obj("v1", "ConfigMap", "c", data={"k": pem}))
