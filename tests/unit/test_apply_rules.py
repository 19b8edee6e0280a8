"""The decisions of an apply."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from betelgeuse.apply_rules import (
    Conflict,
    alike,
    conflicts_of,
    covers,
    ours,
    owned_fields,
    prepared,
    record,
    same,
    settled,
    transient,
)
from betelgeuse.errors import BetelgeuseError
from betelgeuse.kube import UnknownKindError, UnreachableError, digest, key_of
from tests.unit.fakes import obj, refused

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = {"manager": "betelgeuse", "operation": "Apply", "fieldsV1": {"f:data": {}}}
LIVE = obj("v1", "ConfigMap", "c", "n", data={"a": "1"}, managedFields=[FIELDS], uid="u1")
WANTED = obj("v1", "ConfigMap", "c", "n", data={"a": "1"})


@given(JSON)
def test_everything_covers_itself(value: object) -> None:
    """A value is in place when it is there."""
    assert covers(value, copy.deepcopy(value))


@given(st.dictionaries(st.text(max_size=5), JSON), st.dictionaries(st.text(max_size=5), JSON))
def test_defaults_of_the_server_do_not_matter(wanted: dict[str, Any], more: dict[str, Any]) -> None:
    """Keys that the server added are no difference."""
    assert covers(wanted, {**more, **wanted})


@pytest.mark.parametrize(
    ("wanted", "found"),
    [({"a": 1}, {"a": 2}), ({"a": 1}, {}), ([1], [1, 2]), ([1], "1"), ({"a": 1}, [1]), (1, True), ("1", 1), (None, 0)],
)
def test_differences_are_seen(wanted: object, found: object) -> None:
    """A changed value, a missing key, a longer list, another type."""
    assert not covers(wanted, found)


def test_settled_needs_all_three_proofs() -> None:
    """A request is spared only when the wish, the ownership and the values are those of last time."""
    proof = record(WANTED, LIVE)
    stolen = copy.deepcopy(LIVE)
    stolen["metadata"]["managedFields"] = [{**FIELDS, "fieldsV1": {}}]
    other = copy.deepcopy(LIVE)
    other["data"]["a"] = "2"

    assert settled(WANTED, LIVE, proof)
    assert not settled(WANTED, LIVE, "")
    assert not settled(WANTED, None, proof)
    assert not settled(WANTED, stolen, proof)
    assert not settled(WANTED, other, proof)
    assert not settled(obj("v1", "ConfigMap", "c", "n", data={}), LIVE, proof)


def test_prepared_leaves_out_what_only_the_server_says() -> None:
    """Generators write empty status and creationTimestamp; they are not applied."""
    generated = obj("v1", "X", "a", creationTimestamp=None, status={})

    assert prepared(generated) == obj("v1", "X", "a")
    assert prepared(WANTED) is WANTED


def test_ours() -> None:
    """Our manager, or the recorded uid; unclaimed only when a killed apply left no uid."""
    bare = obj("v1", "ServiceAccount", "s", "n", uid="u1")
    foreign = obj("v1", "ConfigMap", "c", "n", managedFields=[{"manager": "kubectl"}], uid="u2")

    assert ours(LIVE, "")
    assert ours(bare, "a:b:u1")
    assert ours(bare, "")
    assert not ours(bare, "a:b:u9")
    assert not ours(foreign, "")
    assert not ours(foreign, "a:b:u1")


def test_owned_fields_are_those_applied() -> None:
    """Only our Apply entry of the object itself counts."""
    scale = {**FIELDS, "subresource": "scale"}
    update = {**FIELDS, "operation": "Update"}

    assert owned_fields(obj("v1", "X", "a", managedFields=[scale, update, FIELDS])) == {"f:data": {}}
    assert owned_fields(obj("v1", "X", "a")) is None


def test_same_ignores_what_controllers_write() -> None:
    """Status, versions and ownership change on their own; everything else is a change."""
    before = {**LIVE, "status": {"x": 1}, "metadata": {**LIVE["metadata"], "resourceVersion": "1", "generation": 1}}
    after = {**LIVE, "status": {"x": 2}, "metadata": {**LIVE["metadata"], "resourceVersion": "2", "generation": 2}}

    assert same(before, after)
    assert same(before, {**before, "data": {"a": "9"}})
    assert not alike(before, {**before, "data": {"a": "9"}})
    assert not same(before, {**after, "data": {"a": "9"}})


def test_key_is_free_of_the_version() -> None:
    """The same object under another version is the same object."""
    assert key_of(obj("x.org/v1", "Lamp", "a", "n")) == key_of(obj("x.org/v2", "Lamp", "a", "n"))
    assert [str(key_of(entry)) for entry in (LIVE, obj("v1", "Namespace", "n"))] == ["ConfigMap n/c", "Namespace n"]
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


def cause(message: str, field: str = ".spec.replicas", reason: str = "FieldManagerConflict") -> dict[str, str]:
    """Return one cause of a 409."""
    return {"reason": reason, "message": message, "field": field}


def test_conflicts_are_read() -> None:
    """Field and manager are taken from the causes."""
    causes = [cause('conflict with "kubectl-edit" using apps/v1'), cause('conflict with "vpa" using v1', ".x")]
    causes.append(cause("other", reason="Other"))

    assert conflicts_of(refused(409, "", causes)) == [Conflict(".spec.replicas", "kubectl-edit"), Conflict(".x", "vpa")]
    assert conflicts_of(refused(422, "", causes)) == []


CUSTOM = {("x.org", "Lamp")}
LAMP = obj("x.org/v1", "Lamp", "a", "n")
REASONS = [
    (UnreachableError("x"), "the API server does not answer"),
    (UnknownKindError("x", 404), "the CRD of Lamp is not served yet"),
    (
        refused(500, 'Internal error: failed calling webhook "w.x.org": failed to call webhook: Post "https://x"'),
        "webhook w.x.org not answering yet",
    ),
    (
        refused(
            500, 'failed calling webhook "w.x.org": failed to call webhook: Post "https://x?timeout=10s": x509: no CA'
        ),
        "webhook w.x.org not answering yet (x509: no CA)",
    ),
    (refused(500, "conversion webhook for x.org/v1, Kind=Lamp failed: Post"), "webhook x.org/v1 not answering yet"),
    (refused(403, "namespace n because it is being terminated"), "its namespace is still being deleted"),
    (refused(503, "apiserver is shutting down"), "the API server is busy"),
    (refused(404, "the server could not find the requested resource"), "Lamp not served yet"),
    (refused(409, "the object has been modified"), "the object changed at the same moment"),
]


@pytest.mark.parametrize(("error", "reason"), REASONS, ids=[reason for _, reason in REASONS])
def test_every_retry_has_a_name(error: Exception, reason: str) -> None:
    """What is worth another try is named."""
    found = transient(error, CUSTOM, LAMP)

    assert found is not None
    assert found.reason == reason


@pytest.mark.parametrize(
    "error",
    [
        refused(400, 'admission webhook "w" denied the request: no'),
        refused(400, 'failed calling webhook "w": it does not support dry run'),
        refused(422, "spec.x: Invalid value"),
        refused(409, "conflict", [cause('conflict with "x"')]),
        UnknownKindError("x", 404),
        BetelgeuseError("x"),
    ],
)
def test_nothing_else_is_retried(error: Exception) -> None:
    """A refusal is final."""
    assert transient(error, set(), LAMP) is None
