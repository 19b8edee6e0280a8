"""Kafka as a client sees it: what a pod with the client library runs."""

from typing import Final

CLIENT: Final = """
import uuid
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

keys = values["keys"]
FATAL = {KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError._ALL_BROKERS_DOWN}

def settings(faults, token="", **changed):
    said = {
        "bootstrap.servers": values.get("server") or f"{keys['host']}:{keys['port']}",
        "security.protocol": "sasl_ssl", "ssl.ca.pem": keys["ca.crt"], "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": keys["user"], "sasl.password": keys["password"], "error_cb": faults.append, "log_level": 0,
    }
    if token:
        said |= {"sasl.mechanism": "OAUTHBEARER", "oauth_cb": lambda _: (token, time.time() + 60)}
    return said | changed

def no_fault(faults):
    fault = next((fault for fault in faults if fault.code() in FATAL), None)
    if fault is not None:
        raise RuntimeError(f"{fault.name()}: {fault.str()}")

def send(topic, words, **changed):
    faults, told = [], []
    producer = Producer({"acks": "all"} | settings(faults, **changed))
    for word in words:
        producer.produce(topic, word, on_delivery=lambda error, _: told.append(error))
    until = time.monotonic() + 15
    while len(told) < len(words) and time.monotonic() < until:
        producer.poll(0.05)
        no_fault(faults)
    for error in told:
        if error is not None:
            raise KafkaException(error)
    return len(told)

def take(topic, group, wanted, **changed):
    faults, found, until = [], set(), time.monotonic() + 20
    consumer = Consumer({"group.id": group, "auto.offset.reset": "earliest"} | settings(faults, **changed))
    consumer.subscribe([topic])
    while not wanted <= found and time.monotonic() < until:
        message = consumer.poll(0.2)
        no_fault(faults)
        if message is not None and message.error() is not None:
            raise KafkaException(message.error())
        if message is not None:
            found.add(message.value().decode())
    consumer.close()
    return sorted(wanted & found)
"""
"""Python for the client's pod: `send(topic, words)` and `take(topic, group, wanted)`, as `values["keys"]` say."""
