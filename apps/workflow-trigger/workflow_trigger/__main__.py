"""Follow the topic until told to stop."""

import logging
import os
from pathlib import Path
from typing import Final

from confluent_kafka import Consumer
from serving import begin
from serving.metrics import tell

from .cluster import Workflows
from .follow import Follower, settings

ACCOUNT: Final = Path("/account")


def main() -> None:
    """Read the topic and the namespace of workflows from the environment, and answer Prometheus beside it."""
    begin(logging.INFO)
    tell()
    consumer = Consumer(settings(ACCOUNT, os.environ["GROUP"]))
    consumer.subscribe([os.environ["TOPIC"]])
    try:
        Follower(consumer, Workflows(os.environ["NAMESPACE"])).forever()
    finally:
        # Leaves the group at once: whoever follows need not wait for it.
        consumer.close()


if __name__ == "__main__":
    main()
