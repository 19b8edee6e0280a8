"""Kafka killed under writes: it is back by itself, and every message that it acknowledged is there."""

import threading
import time
import uuid
from typing import Any, Final

import pytest

from betelgeuse.tree import Ref
from conformance import stores
from conformance.drills.pods import strike, uid
from conformance.inside import Inside
from conformance.kafka import CLIENT
from conformance.site import Site
from conformance.stores import account
from conformance.verdict import require

_POD: Final = Ref("Pod", "broker", "kafka-0", "v1")
_BEFORE: Final = 3.0
"""Seconds of writing before the blow."""
_BACK: Final = 120.0
"""A pod made anew, its logs read again; a busy machine takes its time."""
_WRITE: Final = """
from confluent_kafka import TopicPartition
faults, done, number = [], {}, 0
producer = Producer({
    "acks": "all", "enable.idempotence": True, "message.timeout.ms": 1000 * values["patience"], "linger.ms": 0,
} | settings(faults))
start = time.monotonic()
def told(number):
    def note(error, message):
        if error is None:
            done[number] = (time.monotonic() - start, message.partition(), message.offset())
    return note
# Until it writes again for three seconds after a silence of at least one.
def gap():
    times = sorted(when for when, _, _ in done.values())
    return max(((later - earlier, later) for earlier, later in zip(times, times[1:])), default=(0.0, 0.0))
while time.monotonic() - start < values["patience"]:
    producer.produce("research.events", f"{values['mark']}-{number}", on_delivery=told(number))
    number += 1
    producer.poll(0.02)
    if number % 50 == 0:
        longest, back = gap()
        if longest > 1 and time.monotonic() - start > back + 3:
            break
producer.flush(30)
wanted = {f"{values['mark']}-{n}" for n in done}
first = {}
for _, partition, offset in done.values():
    first[partition] = min(offset, first.get(partition, offset))
consumer = Consumer({"group.id": "research-drill", "enable.auto.commit": False} | settings([]))
consumer.assign([TopicPartition("research.events", partition, offset) for partition, offset in first.items()])
found, quiet = set(), time.monotonic()
while not wanted <= found and time.monotonic() - quiet < 15:
    message = consumer.poll(0.5)
    if message is not None and message.error() is None:
        found.add(message.value().decode())
        quiet = time.monotonic()
consumer.close()
result = {"sent": number, "acknowledged": len(wanted), "lost": len(wanted - found), "silence": gap()[0]}
"""


@pytest.mark.feature("store-kafka")
def test_what_was_acknowledged_survives_the_pod(site: Site, inside: Inside) -> None:
    """A pod killed without notice is replaced, and the new one has every message that the old one acknowledged."""
    seen: dict[str, Any] = {}
    with stores.client(site, inside) as pod:

        def write() -> None:
            mark = f"drill-{uuid.uuid4().hex[:12]}"
            keys = account(site, "kafka", "research")
            seen.update(pod.run(CLIENT + _WRITE, timeout=2 * _BACK, keys=keys, mark=mark, patience=int(_BACK)))

        thread = threading.Thread(target=write)
        thread.start()
        time.sleep(_BEFORE)
        old = uid(site, _POD)
        strike(site, _POD)
        thread.join()

    told = (
        f"{seen.get('acknowledged', 0)} of {seen.get('sent', 0)} messages acknowledged, "
        f"{seen.get('lost', 'unknown')} of them lost, no answer for {seen.get('silence', 0.0):.1f} s"
    )
    site.facts["Kafka killed"] = told
    require(
        seen.get("lost") == 0 and seen["acknowledged"] > 0 and seen["silence"] > 1 and uid(site, _POD) not in {"", old},
        where="pod broker/kafka-0, killed under writes",
        want=f"another pod within {_BACK:.0f} s, with every acknowledged message",
        got=told,
        reproduce="kubectl -n broker get pods,events",
    )
