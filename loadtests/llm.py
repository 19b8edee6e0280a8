"""People who chat: each asks and reads the streamed answer to its end.

python -m locust -f loadtests/llm.py --headless --host https://llm.DOMAIN
"""

import time
from typing import Any

from loadtests.client import ApiUser
from loadtests.locusts import PlanShape, attach
from loadtests.measure import END_TO_END, FIRST_TOKEN, Answer

__all__ = ["Chatter", "PlanShape"]

attach("llm")


class Chatter(ApiUser):
    """One person."""

    def ask(self, body: dict[str, Any], encoded: bytes, intended: float) -> dict[str, float]:  # noqa: ARG002 - as every user's
        """Ask one question and time its answer."""
        answer = Answer(intended, time.perf_counter())
        self.connection.chat(encoded, self.headers(), answer, self.run_now.recorder.came)
        self.run_now.recorder.add_answer(answer)
        durations = answer.durations
        return {"first token": durations[FIRST_TOKEN], "answer": durations[END_TO_END]}
