"""Topics with their messages, and how far each consumer group has read.

A message may have another offset after a restore: retention and compaction leave gaps, a copy has none. So a group's
place is kept as the number of messages before it.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, ConsumerGroupTopicPartitions, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from store_accounts.kafka import SECONDS, settings
from store_accounts.model import Keys, StoreError

from . import frame

_INTERNAL: Final = "__"
_CONFIG: Final = ("retention.ms", "cleanup.policy", "retention.bytes", "max.message.bytes", "min.insync.replicas")
_FLUSH: Final = 60.0


def _topics(client: AdminClient) -> dict[str, list[int]]:
    found = client.list_topics(timeout=SECONDS).topics
    return {name: sorted(topic.partitions) for name, topic in found.items() if not name.startswith(_INTERNAL)}


def _config(client: AdminClient, topic: str) -> dict[str, str]:
    (future,) = client.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
    return {
        name: entry.value for name, entry in future.result(SECONDS).items() if name in _CONFIG and not entry.is_default
    }


def _messages(consumer: Consumer, topic: str, partition: int) -> Iterator[Message]:
    """Yield what a partition holds now."""
    place = TopicPartition(topic, partition, OFFSET_BEGINNING)
    first, end = consumer.get_watermark_offsets(place, SECONDS)
    if first == end:
        return
    consumer.assign([place])
    while (at := consumer.position([place])[0].offset) < end:
        message = consumer.poll(SECONDS)
        if message is None:
            # Offsets behind the last message may be marks of transactions, which no client sees.
            if consumer.position([place])[0].offset > at:
                continue
            message_text = f"{topic}/{partition}: nothing came for {SECONDS:.0f} s at offset {at} of {end}"
            raise StoreError(message_text)
        if error := message.error():
            raise StoreError(str(error))
        yield message


def _groups(client: AdminClient) -> dict[str, list[TopicPartition]]:
    """Return the committed places of every consumer group."""
    names = [group.group_id for group in client.list_consumer_groups().result(SECONDS).valid]
    found = {}
    for name in names:
        (future,) = client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(name)]).values()
        found[name] = [place for place in future.result(SECONDS).topic_partitions if place.offset >= 0]
    return found


def dump(admin: Keys, out: BinaryIO) -> None:
    """Print every topic, message and group."""
    writer = frame.Writer(out, "kafka")
    client = AdminClient(settings(admin))
    # The groups first: what is read later than this is read again after a restore, never left out.
    groups = _groups(client)
    before: Counter[tuple[str, str, int]] = Counter()
    consumer = Consumer(
        {**settings(admin), "group.id": "backup", "enable.auto.commit": False, "isolation.level": "read_committed"}
    )
    try:
        for topic, partitions in _topics(client).items():
            writer.put(topic=topic, partitions=len(partitions), config=_config(client, topic))
            for partition in partitions:
                places = {
                    name: place.offset
                    for name, group in groups.items()
                    for place in group
                    if (place.topic, place.partition) == (topic, partition)
                }
                for message in _messages(consumer, topic, partition):
                    _put(writer, message)
                    before.update(
                        (name, topic, partition) for name, offset in places.items() if (message.offset() or 0) < offset
                    )
    finally:
        consumer.close()
    for name, group in groups.items():
        for place in group:
            count = before[name, place.topic, place.partition]
            writer.put(group=name, topic=place.topic, partition=place.partition, before=count)
    writer.end()


def _put(writer: frame.Writer, message: Message) -> None:
    _, time = message.timestamp()
    headers: Any = message.headers() or []
    writer.put(
        partition=message.partition(),
        key=frame.text(message.key()),
        value=frame.text(message.value()),
        headers=[[name, frame.text(value)] for name, value in headers],
        time=time,
    )


def _made_anew(client: AdminClient, record: frame.Record, there: set[str]) -> None:
    topic = record["topic"]
    if topic in there:
        for future in client.delete_topics([topic]).values():
            future.result(SECONDS)
    for future in client.create_topics([NewTopic(topic, record["partitions"], config=record["config"])]).values():
        future.result(SECONDS)


def load(admin: Keys, source: BinaryIO) -> None:
    """Make the copy's topics anew with their messages, and set the groups' places."""
    client = AdminClient(settings(admin))
    there = set(_topics(client))
    lost: list[str] = []
    producer = Producer({**settings(admin), "enable.idempotence": True, "linger.ms": 20})
    topic, groups = "", dict[str, list[TopicPartition]]()
    for record in frame.read(source, "kafka"):
        if "group" in record:
            place = TopicPartition(record["topic"], record["partition"], record["before"])
            groups.setdefault(record["group"], []).append(place)
        elif "topic" in record:
            topic = record["topic"]
            _made_anew(client, record, there)
        else:
            _produce(producer, topic, record, lost)
    if producer.flush(_FLUSH) or lost:
        message = f"{len(lost)} messages were not taken, e.g. {lost[:1]}"
        raise StoreError(message)
    for name, places in groups.items():
        (future,) = client.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(name, places)]).values()
        future.result(SECONDS)


def _produce(producer: Producer, topic: str, record: frame.Record, lost: list[str]) -> None:
    while True:
        try:
            producer.produce(
                topic,
                partition=record["partition"],
                key=frame.data(record["key"]),
                value=frame.data(record["value"]),
                headers=[(name, frame.data(value)) for name, value in record["headers"]],
                timestamp=record["time"],
                on_delivery=lambda error, _: lost.append(str(error)) if error else None,
            )
        except BufferError:
            producer.poll(1)
        else:
            producer.poll(0)
            return
