"""Read messages one by one, start what they ask for, and tell Kafka only then how far it got."""

import logging
import time
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from confluent_kafka import KafkaError, KafkaException
from prometheus_client import Counter, Gauge
from serving.cluster import ClusterError

from .messages import MessageError, Obj, Place, wanted, workflow

MESSAGES: Final = Counter("workflow_trigger_messages", "Messages read, by what became of them.", ["outcome"])
ASKED: Final = Gauge("workflow_trigger_asked_timestamp_seconds", "When Kafka was last asked for messages.")
STUCK: Final = Gauge("workflow_trigger_stuck", "Whether a message waits for the API server.")
for _outcome in ("started", "repeated", "refused"):
    MESSAGES.labels(_outcome)
_LOG: Final = logging.getLogger("workflow_trigger")


class Message(Protocol):
    """A message of Kafka's client."""

    def error(self) -> KafkaError | None:
        """Return what is wrong, instead of a message."""

    def value(self) -> bytes | None:
        """Return what was written."""

    def topic(self) -> str | None:
        """Return where it was read."""

    def partition(self) -> int | None:
        """Return in which part of it."""

    def offset(self) -> int | None:
        """Return how far into that."""

    def timestamp(self) -> tuple[int, int]:
        """Return the kind of its time, and the time in milliseconds."""


class Consumer(Protocol):
    """What is asked for messages."""

    def poll(self, timeout: float) -> Message | None:
        """Return the next, None where none came in time."""

    def commit(self, *, message: Any, asynchronous: Literal[False]) -> object:  # noqa: ANN401 - Kafka's own
        """Tell Kafka that a message is dealt with."""


class Starts(Protocol):
    """What starts workflows."""

    def check(self, template: str) -> None:
        """MessageError where messages may not start a template."""

    def start(self, workflow: Obj) -> bool:
        """Start a workflow; False where it is there already."""


def settings(account: Path, group: str) -> dict[str, Any]:
    """Return what Kafka's client is told, by the files of an account."""
    said = {
        name: (account / name).read_text("utf-8").strip() for name in ("host", "port", "user", "password", "ca.crt")
    }
    return {
        "bootstrap.servers": f"{said['host']}:{said['port']}",
        "security.protocol": "sasl_ssl",
        "ssl.ca.pem": said["ca.crt"],
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": said["user"],
        "sasl.password": said["password"],
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    }


class Follower:
    """Deals with the messages of one consumer."""

    def __init__(self, consumer: Consumer, workflows: Starts, pause: float = 5.0) -> None:
        """`pause`: seconds until the API server is asked again for the same message."""
        self._consumer, self._workflows, self._pause = consumer, workflows, pause

    def forever(self) -> None:
        """Follow, until told to stop."""
        while True:
            self.once()

    def once(self) -> None:
        """Deal with the next message, if one comes within a second."""
        message = self._consumer.poll(1.0)
        ASKED.set_to_current_time()
        if message is None:
            return
        if (error := message.error()) is not None:
            _LOG.warning("Kafka: %s", error)
            return
        place = Place(message.topic() or "", message.partition() or 0, message.offset() or 0, message.timestamp()[1])
        while not self._dealt_with(message.value(), place):
            STUCK.set(1)
            time.sleep(self._pause)
        STUCK.set(0)
        try:
            self._consumer.commit(message=message, asynchronous=False)
        except KafkaException as error:
            # It will be read again, and its workflow found.
            _LOG.warning("%s is dealt with, and Kafka could not be told: %s", place, error)

    def _dealt_with(self, value: bytes | None, place: Place) -> bool:
        """Do what a message asks for; False where the API server must be asked again."""
        try:
            asked = wanted(value)
            self._workflows.check(asked.template)
            started = self._workflows.start(made := workflow(asked, place))
        except MessageError as error:
            _LOG.warning("%s is passed over: it %s", place, error)
            MESSAGES.labels("refused").inc()
        except ClusterError as error:
            _LOG.warning("%s waits: %s", place, error)
            return False
        else:
            outcome = "started" if started else "repeated"
            _LOG.info("%s: %s %s", place, outcome, made["metadata"]["name"])
            MESSAGES.labels(outcome).inc()
        return True
