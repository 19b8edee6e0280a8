"""Messages that start workflows: what they ask for, and that each starts one, whatever ends the program."""

import json
from pathlib import Path
from typing import Any, Literal

import pytest
from confluent_kafka import KafkaError
from prometheus_client import REGISTRY
from serving.cluster import ClusterError
from workflow_trigger import cluster as api
from workflow_trigger.cluster import LABEL, Workflows
from workflow_trigger.follow import Follower, settings
from workflow_trigger.messages import MessageError, Place, Wanted, name_of, wanted, workflow

Obj = dict[str, Any]
PLACE = Place("workflows.start", 0, 12, 1_790_000_000_000)


def text(**said: object) -> bytes:
    """A message."""
    return json.dumps(said).encode()


def test_message_is_read() -> None:
    """A template and its parameters; numbers are texts to a workflow."""
    assert wanted(text(template="train", parameters={"trees": 3, "data": "a b", "sure": True})) == Wanted(
        "train", {"trees": "3", "data": "a b", "sure": "true"}
    )
    assert wanted(text(template="train")) == Wanted("train")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "not JSON"),
        (b"\xff", "not JSON"),
        (b"[]", "no map"),
        (text(parameters={}), "no map of"),
        (text(template="train", command="rm"), "no map of"),
        (text(template="../secrets"), "names no template"),
        (text(template=3), "names no template"),
        (text(template="train", parameters=["a"]), "no map of names"),
        (text(template="train", parameters={"a b": "c"}), "no map of names"),
        (text(template="train", parameters={"a": {"b": "c"}}), "neither texts nor numbers"),
    ],
)
def test_other_messages_are_refused(value: bytes | None, why: str) -> None:
    """Whatever is not of the form says why."""
    with pytest.raises(MessageError, match=why):
        wanted(value)


def test_workflow_is_named_by_the_place() -> None:
    """The same message gives the same name, another place another; a name is never too long for a label."""
    names = {
        name_of("train", PLACE),
        name_of("train", Place("workflows.start", 1, 12, PLACE.timestamp)),
        name_of("train", Place("workflows.start", 0, 13, PLACE.timestamp)),
        # The topic was made anew, and counts from its beginning.
        name_of("train", Place("workflows.start", 0, 12, PLACE.timestamp + 1)),
    }

    assert len(names) == 4
    assert name_of("train", PLACE).startswith("train-0-12-")
    assert len(name_of("t" * 63, PLACE)) <= 63
    assert workflow(Wanted("train", {"b": "2", "a": "1"}), PLACE)["spec"] == {
        "workflowTemplateRef": {"name": "train"},
        "arguments": {"parameters": [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}]},
    }
    assert "arguments" not in workflow(Wanted("train"), PLACE)["spec"]


class Message:
    """A message as Kafka's client gives it."""

    def __init__(self, value: bytes, offset: int = 12, fault: KafkaError | None = None) -> None:
        """Keep what is told."""
        self._value, self._offset, self._fault = value, offset, fault

    def error(self) -> KafkaError | None:
        """Return the fault."""
        return self._fault

    def value(self) -> bytes:
        """Return the text."""
        return self._value

    def topic(self) -> str:
        """Return the topic."""
        return PLACE.topic

    def partition(self) -> int:
        """Return the only part."""
        return 0

    def offset(self) -> int:
        """Return the place."""
        return self._offset

    def timestamp(self) -> tuple[int, int]:
        """Return the time."""
        return 1, PLACE.timestamp


class Topic:
    """A consumer of some messages."""

    def __init__(self, *messages: Message) -> None:
        """Keep what will be read."""
        self.left, self.committed = list(messages), list[int]()

    def poll(self, _: float) -> Message | None:
        """Return the next."""
        return self.left.pop(0) if self.left else None

    def commit(self, *, message: Message, asynchronous: Literal[False]) -> None:
        """Note how far it is."""
        assert not asynchronous
        self.committed.append(message.offset())


class Argo:
    """Templates that messages may start, and the workflows there are."""

    def __init__(self, away: int = 0) -> None:
        """`away`: so many requests are not answered."""
        self.away, self.there = away, list[str]()

    def check(self, template: str) -> None:
        """Know one template."""
        if template != "train":
            message = "asks for another"
            raise MessageError(message)

    def start(self, made: Obj) -> bool:
        """Keep a workflow."""
        if self.away:
            self.away -= 1
            message = "away"
            raise ClusterError(message)
        name = made["metadata"]["name"]
        new = name not in self.there
        self.there += [name] if new else []
        return new


def _count(outcome: str) -> float:
    return REGISTRY.get_sample_value("workflow_trigger_messages_total", {"outcome": outcome}) or 0.0


def test_each_message_is_dealt_with_in_turn() -> None:
    """A good message starts a workflow, a bad one is passed over, nothing is committed before; none is no fault."""
    topic, argo, refused = Topic(Message(b"?", 1), Message(text(template="train"), 2)), Argo(), _count("refused")
    follower = Follower(topic, argo)
    for _ in range(3):
        follower.once()

    assert topic.committed == [1, 2]
    assert argo.there == [name_of("train", Place(PLACE.topic, 0, 2, PLACE.timestamp))]
    assert _count("refused") == refused + 1


def test_message_that_is_read_twice_starts_one_workflow() -> None:
    """After a crash between starting and committing, the workflow is found."""
    argo, repeated = Argo(), _count("repeated")
    for _ in range(2):
        Follower(Topic(Message(text(template="train"))), argo).once()

    assert len(argo.there) == 1
    assert _count("repeated") == repeated + 1


def test_message_waits_for_the_api_server() -> None:
    """A message is asked for again and again until the API server has taken it, and committed once."""
    topic, argo = Topic(Message(text(template="train"))), Argo(away=3)
    Follower(topic, argo, pause=0.0).once()

    assert len(argo.there) == 1
    assert topic.committed == [12]


def test_fault_of_kafka_is_no_message() -> None:
    """What Kafka's client tells of its connection is neither started nor committed."""
    topic, argo = Topic(Message(b"", fault=KafkaError(KafkaError._ALL_BROKERS_DOWN))), Argo()
    Follower(topic, argo).once()

    assert (topic.committed, argo.there) == ([], [])


ANSWERS: list[tuple[int, Obj, str]] = [
    (200, {"metadata": {"labels": {LABEL: "true"}}}, ""),
    (200, {"metadata": {}}, "MessageError"),
    (404, {}, "MessageError"),
    (403, {}, "ClusterError"),
    (500, {}, "ClusterError"),
]


@pytest.mark.parametrize(("status", "said", "error"), ANSWERS)
def test_template_is_looked_at(monkeypatch: pytest.MonkeyPatch, status: int, said: Obj, error: str) -> None:
    """A template without the label is as none; an API server that is in trouble is asked again."""
    monkeypatch.setattr(Workflows, "_ask", lambda *_: (status, said))
    got = ""
    try:
        Workflows("argo").check("train")
    except (MessageError, ClusterError) as raised:
        got = type(raised).__name__

    assert got == error


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (201, True),
        (409, False),
        (422, "MessageError"),
        (400, "MessageError"),
        (403, "ClusterError"),
        (503, "ClusterError"),
    ],
)
def test_answer_to_a_new_workflow(monkeypatch: pytest.MonkeyPatch, status: int, result: object) -> None:
    """Taken, there already, refused for what it is, or to be tried again."""
    monkeypatch.setattr(Workflows, "_ask", lambda *_: (status, {}))
    try:
        got: object = Workflows("argo").start({})
    except (MessageError, ClusterError) as raised:
        got = type(raised).__name__

    assert got == result


def test_api_server_that_is_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without an API server there is an error to wait on, and no other."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")

    with pytest.raises(ClusterError):
        api.Workflows("argo", tmp_path).check("train")


def test_account_is_read_from_files(tmp_path: Path) -> None:
    """The client is told of the account's files, and leaves committing to us."""
    for name in ("host", "port", "user", "password", "ca.crt"):
        (tmp_path / name).write_text(f"{name}!\n")
    said = settings(tmp_path, "workflows")

    assert said["bootstrap.servers"] == "host!:port!"
    assert said["sasl.password"] == "password!"
    assert said["enable.auto.commit"] is False
