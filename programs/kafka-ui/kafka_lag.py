# ruff: noqa: INP001 - a module of an image: the folder is on the path there
"""How far each consumer group of Kafka is behind, for Prometheus: the broker itself does not tell."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

SECONDS: Final = 5.0
"""For an answer of Kafka's; Prometheus waits for ten."""
_OWN: Final = "kaskade-"
"""Groups of the pages themselves."""
_LOG: Final = logging.getLogger("kafka_lag")


class Lag(Collector):
    """Asks Kafka for every group's place in every topic, and for the topics' ends, when it is asked itself."""

    def __init__(self, account: Path) -> None:
        """Log in by the files of that folder."""
        self._account = account
        self._client: AdminClient | None = None

    def describe(self) -> list[Metric]:
        """Return nothing: registering must not ask Kafka."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the lag by group, topic and partition, and whether it is known."""
        known = GaugeMetricFamily("kafka_consumer_lag_up", "Whether Kafka told about its groups.")
        lag = GaugeMetricFamily(
            "kafka_consumer_lag", "Messages not read yet.", labels=["consumer_group", "topic", "partition"]
        )
        try:
            for group, place, behind in self._behind():
                lag.add_metric([group, place.topic, str(place.partition)], behind)
        except (KafkaException, TimeoutError) as error:
            _LOG.warning("Kafka does not tell about its groups: %s", error)
            known.add_metric([], 0)
        else:
            known.add_metric([], 1)
        yield from (known, lag)

    def _behind(self) -> Iterator[tuple[str, TopicPartition, int]]:
        client = self._client = self._client or AdminClient(settings(self._account))
        groups = [one.group_id for one in client.list_consumer_groups(request_timeout=SECONDS).result(SECONDS).valid]
        places: dict[str, list[TopicPartition]] = {}
        for group in groups:
            if not group.startswith(_OWN):
                # One group a request: that is all the library takes.
                asked = client.list_consumer_group_offsets(
                    [ConsumerGroupTopicPartitions(group)], request_timeout=SECONDS
                )
                places[group] = [one for one in asked[group].result(SECONDS).topic_partitions if one.offset >= 0]
        wanted = {TopicPartition(one.topic, one.partition): OffsetSpec.latest() for of in places.values() for one in of}
        if not wanted:
            return
        answers = client.list_offsets(wanted, request_timeout=SECONDS)
        ends = {(one.topic, one.partition): future.result(SECONDS).offset for one, future in answers.items()}
        for group, found in places.items():
            for one in found:
                yield group, one, max(0, ends[one.topic, one.partition] - one.offset)


def settings(account: Path) -> dict[str, Any]:
    """Return what the client is told: where Kafka is, and who asks."""
    host, port, user, password = ((account / key).read_text("utf-8") for key in ("host", "port", "user", "password"))
    return {
        "bootstrap.servers": f"{host}:{port}",
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": str(account / "ca.crt"),
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": user,
        "sasl.password": password,
        # Faults are told by what fails.
        "log_level": 3,
    }
