"""Kafka's accounts: what a declaration gives, and what none may say."""

from typing import Any

import pytest
from confluent_kafka.admin import AclOperation, ResourcePatternType, ResourceType
from store_accounts.kafka_spec import checked, rights_of, topics_of
from store_accounts.model import Account, StoreError

_WHERE = "ml/research-kafka"


def _account(user: str = "research", **spec: object) -> Account:
    return Account(user, "secret", spec, _WHERE)


@pytest.mark.parametrize(
    ("retention", "milliseconds"),
    [("90s", "90000"), ("5m", "300000"), ("12h", "43200000"), ("7d", "604800000"), ("forever", "-1")],
)
def test_retention_is_a_duration(retention: str, milliseconds: str) -> None:
    """Retention is told in seconds, minutes, hours, days, or without an end."""
    account = _account(topics={"research.events": {"partitions": 3, "retention": retention}})

    assert topics_of(account) == {"research.events": (3, milliseconds)}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"topics": ["research.events"]}, "topics must be a map"),
        ({"topics": {"pipelines.events": {"partitions": 1, "retention": "1d"}}}, "must be research or begin with"),
        ({"topics": {"researcher": {"partitions": 1, "retention": "1d"}}}, "must be research or begin with"),
        ({"topics": {"research.a/b": {"partitions": 1, "retention": "1d"}}}, "must be research or begin with"),
        ({"topics": {5: {"partitions": 1, "retention": "1d"}}}, "must be research or begin with"),
        ({"topics": {"research": None}}, "needs partitions"),
        ({"topics": {"research": {"partitions": 0, "retention": "1d"}}}, "needs partitions"),
        ({"topics": {"research": {"partitions": 65, "retention": "1d"}}}, "needs partitions"),
        ({"topics": {"research": {"partitions": True, "retention": "1d"}}}, "needs partitions"),
        ({"topics": {"research": {"partitions": 1, "retention": "7"}}}, "needs partitions"),
        ({"topics": {"research": {"partitions": 1, "retention": "1d", "replicas": 3}}}, "nothing else"),
        ({"read": "pipelines.events"}, "read must be a list"),
    ],
)
def test_wrong_declarations_are_told(spec: dict[str, Any], words: str) -> None:
    """A declaration that is wrong is one line that names its Secret."""
    _, faults = checked([Account("research", "secret", spec, _WHERE)])

    assert len(faults) == 1
    assert _WHERE in faults[0]
    assert words in faults[0]


@pytest.mark.parametrize("user", ["CN=kafka-admin", "*", "Research", "", "a b"])
def test_no_account_is_a_super_user(user: str) -> None:
    """Users are plain words: the names of super users, and the one that means everybody, cannot be declared."""
    good, faults = checked([_account(user)])

    assert not good
    assert len(faults) == 1


def test_wrong_declaration_leaves_the_others() -> None:
    """What is right is brought about, whatever stands beside it."""
    good, faults = checked([_account(), _account("pipelines", topics=[])])

    assert list(good) == ["research"]
    assert len(faults) == 1


def test_owner_reads_and_writes_its_topics_only() -> None:
    """Rights to a declared topic are literal: another that begins like it is not meant."""
    rights = set(rights_of(_account(topics={"research.events": {"partitions": 1, "retention": "1d"}})))

    assert {(right.name, right.resource_pattern_type) for right in rights} == {
        ("research.events", ResourcePatternType.LITERAL)
    }
    assert {right.operation for right in rights} >= {AclOperation.READ, AclOperation.WRITE}
    assert not {right.operation for right in rights} & {AclOperation.ALL, AclOperation.ALTER, AclOperation.DELETE}


def test_star_at_the_end_is_a_prefix() -> None:
    """`audit.*` means every topic that begins so, `*` every topic, and then groups are seen, not joined."""
    prefix = set(rights_of(_account(read=["audit.*"])))
    every = set(rights_of(_account(read=["*"])))

    assert {(right.name, right.resource_pattern_type) for right in prefix} == {("audit.", ResourcePatternType.PREFIXED)}
    assert {(right.name, right.resource_pattern_type) for right in every} == {("*", ResourcePatternType.LITERAL)}
    assert {right.operation for right in every if right.restype == ResourceType.GROUP} == {AclOperation.DESCRIBE}


def test_topics_refuse_what_is_no_topic() -> None:
    """The pure reader raises for a wrong topic, with the Secret's name."""
    with pytest.raises(StoreError, match=_WHERE):
        topics_of(_account(topics={"other": {}}))
