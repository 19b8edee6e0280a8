"""Programs that embed texts, a few in each request.

python -m locust -f loadtests/embeddings.py --headless --host https://embeddings.DOMAIN
"""

import time
from typing import Any

from loadtests.client import ApiUser
from loadtests.locusts import PlanShape, attach
from loadtests.measure import END_TO_END, Batch

__all__ = ["Embedder", "PlanShape"]

attach("embeddings")


class Embedder(ApiUser):
    """One program."""

    def ask(self, body: dict[str, Any], encoded: bytes, intended: float) -> dict[str, float]:
        """Embed a batch of texts and time it."""
        batch = Batch(intended, time.perf_counter(), texts=len(body["input"]))
        self.connection.embed(encoded, self.headers(), batch)
        self.run_now.recorder.add_batch(batch)
        return {"batch": batch.durations[END_TO_END]}
