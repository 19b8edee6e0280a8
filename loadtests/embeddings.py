"""Programs that embed texts, a few in each request.

python -m locust -f loadtests/embeddings.py --headless --host https://embeddings.DOMAIN
"""

import json
import random
import time
from pathlib import Path

from locust import task

from loadtests import report
from loadtests.client import ApiUser
from loadtests.profiles.smoke import Smoke

__all__ = ["Embedder", "Smoke"]

SCENARIO = json.loads((Path(__file__).parent / "scenarios" / "embed.json").read_text())
RUN = report.report_for("embeddings", "smoke")


class Embedder(ApiUser):
    """One program."""

    @task
    def embed(self) -> None:
        """Embed a batch of texts, each with a number of its own: no cache can have seen it."""
        texts = random.choices(SCENARIO["texts"], k=SCENARIO["batch"])  # noqa: S311 - no secret
        body: dict[str, object] = {"input": [f"{text} ({random.randrange(10**6)})" for text in texts]}  # noqa: S311
        began = time.perf_counter()
        try:
            vectors = self.post("/v1/embeddings", body).json()["data"]
            if len(vectors) != len(texts):
                message = f"{len(vectors)} vectors for {len(texts)} texts"
                raise RuntimeError(message)  # noqa: TRY301 - counted like what the server says
        except Exception as error:  # noqa: BLE001 - whatever a server or a network does wrong is a failed request
            RUN.add_failure()
            self.fail("batch", began, error)
            return
        seconds = time.perf_counter() - began
        RUN.add_batch(len(texts), seconds)
        self.fire("batch", seconds)
