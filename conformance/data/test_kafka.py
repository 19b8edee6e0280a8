"""Kafka: an account has its own topics over TLS, inside and through the gateway, and nothing else."""

import uuid
from typing import Any

import pytest

from conformance.kafka import CLIENT
from conformance.site import Site
from conformance.stores import Client, account, server
from conformance.timeouts import TIMEOUTS
from conformance.verdict import require, require_none

pytestmark = pytest.mark.feature("store-kafka")

_ROUND = """
words = [f"{values['mark']}-{n}" for n in range(20)]
send(values["topic"], words)
result = take(values["topic"], values["group"], set(words)) == sorted(words)
"""
_TRY = """
def call(way):
    changed = dict(way["changed"])
    topic, group = way["topic"], way["group"]
    word = values["mark"] + "-" + uuid.uuid4().hex
    if group:
        return take(topic, group, {word}, **changed)
    return send(topic, [word], **changed)
result = [attempt(call, way) for way in values["ways"]]
"""
_ADMIN = """
from confluent_kafka.admin import (
    AclBinding, AclOperation, AclPermissionType, AdminClient, NewTopic, ResourcePatternType, ResourceType,
)
client = AdminClient(settings([]))
right = AclBinding(
    ResourceType.TOPIC, "pipelines.events", ResourcePatternType.LITERAL, f"User:{keys['user']}", "*",
    AclOperation.READ, AclPermissionType.ALLOW,
)
asked = {
    "make a topic": client.create_topics([NewTopic(values["mark"], 1)])[values["mark"]],
    "delete a topic": client.delete_topics(["research.events"])["research.events"],
    "give itself a right": client.create_acls([right])[right],
}
result = {name: attempt(future.result, 10) for name, future in asked.items()}
"""
_NONE = "eyJhbGciOiJub25lIn0"
"""{"alg":"none"}"""
_OPEN = "kubectl -n broker logs kafka-0; docs/how-to/kafka.md has a client's settings"
_INSIDE = "inside"
_PLACES = (_INSIDE, "through the gateway")
Way = dict[str, Any]


def _outside(site: Site) -> str:
    host = server(site, "kafka")
    return f"{host.name}:{host.port}"


def _mark() -> str:
    return f"conformance-{uuid.uuid4().hex[:12]}"


def _way(topic: str = "research.events", group: str = "", **changed: object) -> Way:
    return {"topic": topic, "group": group, "changed": {name.replace("_", "."): it for name, it in changed.items()}}


def _refused(site: Site) -> list[tuple[str, Way, str]]:
    """Return what must be refused, and the word by which it is."""
    wrong = "x" + account(site, "kafka", "research")["password"]
    plain = {"security_protocol": "plaintext"}
    return [
        ("another password", _way(sasl_password=wrong), "_AUTHENTICATION"),
        ("another user", _way(sasl_username="pipelines"), "_AUTHENTICATION"),
        ("the administrator's name", _way(sasl_username="CN=kafka-admin"), "_AUTHENTICATION"),
        ("no password", _way(security_protocol="ssl"), "_ALL_BROKERS_DOWN"),
        ("clear text", _way(**plain), "_ALL_BROKERS_DOWN"),
        ("clear text with a password", _way(security_protocol="sasl_plaintext"), "_ALL_BROKERS_DOWN"),
        ("another mechanism", _way(sasl_mechanism="PLAIN"), "_AUTHENTICATION"),
        ("writing another's topic", _way("pipelines.events"), "authorization failed"),
        ("reading another's topic", _way("pipelines.events", "research"), "authorization failed"),
        ("another's consumer group", _way(group="pipelines"), "authorization failed"),
        ("a topic that nobody declared", _way(_mark()), "authorization failed"),
        ("Kafka's own topic", _way("__consumer_offsets"), "authorization failed"),
    ]


def _refused_right(got: dict[str, Any]) -> bool:
    """Whether a call failed for want of a right; servers and clients spell it in two ways."""
    return "authorization failed" in str(got.get("text", "")).lower().replace("_", " ")


def _tell(named: list[tuple[str, Way, str]], seen: list[dict[str, Any]], longest: float) -> list[str]:
    return [
        f"{name}: {got}"
        for (name, _, word), got in zip(named, seen, strict=True)
        if word.lower() not in got.get("text", "").lower() or got["seconds"] > longest
    ]


@pytest.mark.parametrize("place", _PLACES)
def test_messages_are_written_and_read(site: Site, client: Client, stranger: Client, place: str) -> None:
    """A client writes with acks=all and reads what it wrote, the certificate verified in full."""
    address, pod = ("", client) if place == _INSIDE else (_outside(site), stranger)
    keys, mark = account(site, "kafka", "research"), _mark()

    seen = pod.run(
        CLIENT + _ROUND, keys=keys, server=address, topic="research.events", group=f"research-{mark}", mark=mark
    )

    require(seen, where=address or keys["host"], want="20 messages written and read", got=seen, reproduce=_OPEN)


@pytest.mark.parametrize("place", _PLACES)
def test_everything_else_is_refused(site: Site, client: Client, stranger: Client, place: str) -> None:
    """Other passwords and names, none, clear text, others' topics and groups, undeclared topics are refused."""
    address, pod = ("", client) if place == _INSIDE else (_outside(site), stranger)
    named = _refused(site)
    ways = [_way(), *(way for _, way, _ in named)]
    control, *seen = pod.run(
        CLIENT + _TRY, keys=account(site, "kafka", "research"), server=address, mark=_mark(), ways=ways
    )

    require(control.get("value") == 1, where="kafka.broker", want="one message", got=control, reproduce=_OPEN)
    require_none(
        _tell(named, seen, TIMEOUTS.connect),
        where=f"{address or 'kafka.broker'}, account research",
        want=f"refused by the server within {TIMEOUTS.connect:.0f} s",
        reproduce=_OPEN,
    )


def test_program_comes_by_its_token(site: Site, client: Client) -> None:
    """A token of the realm for the audience kafka opens its client's topics alone; bent and others' tokens nothing."""
    token = site.identity.token("kafka").reveal()
    head, body, signature = token.split(".")
    other = site.identity.token("llm").reveal()
    named = [
        ("a token for another audience", _way("pipelines.events", token=other), "_AUTHENTICATION"),
        ("a bent token", _way("pipelines.events", token=f"{head}.{body}.{signature[::-1]}"), "_AUTHENTICATION"),
        ("an unsigned token", _way("pipelines.events", token=f"{_NONE}.{body}."), "_AUTHENTICATION"),
        ("another's topic", _way("research.events", token=token), "authorization failed"),
    ]
    ways = [_way("pipelines.events", token=token), *(way for _, way, _ in named)]
    keys = account(site, "kafka", "pipelines")

    control, *seen = client.run(CLIENT + _TRY, keys=keys, mark=_mark(), ways=ways)

    require(control.get("value") == 1, where="kafka.broker", want="one message", got=control, reproduce=_OPEN)
    require_none(
        _tell(named, seen, TIMEOUTS.connect), where="kafka.broker", want="refused by the server", reproduce=_OPEN
    )


@pytest.mark.parametrize("user", ["research", "kafka-ui"])
def test_accounts_change_nothing_of_the_server(site: Site, client: Client, user: str) -> None:
    """No account makes or deletes topics or gives rights; what the interface offers, its own account may not do."""
    seen = client.run(CLIENT + _ADMIN, keys=account(site, "kafka", user), mark=_mark())

    require_none(
        [f"{name}: {got}" for name, got in seen.items() if not _refused_right(got)],
        where=f"kafka.broker, account {user}",
        want="authorization failed",
        reproduce=_OPEN,
    )
