"""People who chat: each asks, reads the streamed answer to its end, and asks again.

python -m locust -f loadtests/llm.py --headless --host https://llm.DOMAIN
"""

import json
import random
import time
from pathlib import Path

from locust import task

from loadtests import report
from loadtests.client import ApiUser
from loadtests.measure import Answer, events, text_of
from loadtests.profiles.smoke import Smoke

__all__ = ["Chatter", "Smoke"]

SCENARIO = json.loads((Path(__file__).parent / "scenarios" / "chat.json").read_text())
RUN = report.report_for("llm", "smoke")


class Chatter(ApiUser):
    """One person."""

    @task
    def chat(self) -> None:
        """Ask one question of the scenario and time its answer."""
        question = random.choice(SCENARIO["questions"])  # noqa: S311 - no secret
        body = {
            "messages": [{"role": "user", "content": question}],
            "max_tokens": SCENARIO["max_tokens"],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        answer = Answer(asked=time.perf_counter())
        try:
            self._read(body, answer)
        except Exception as error:  # noqa: BLE001 - whatever a server or a network does wrong is a failed request
            RUN.add_failure()
            self.fail("answer", answer.asked, error)
            return
        RUN.add_answer(answer)
        self.fire("first token", answer.time_to_first_token)
        self.fire("answer", answer.ended - answer.asked)

    def _read(self, body: dict[str, object], answer: Answer) -> None:
        with self.post("/v1/chat/completions", body, stream=True) as response:
            for event in events(response.iter_lines(chunk_size=None)):
                if "error" in event:
                    raise RuntimeError(event["error"])
                if text_of(event):
                    answer.pieces.append(time.perf_counter())
                if usage := event.get("usage"):
                    answer.tokens = usage["completion_tokens"]
        answer.ended = time.perf_counter()
        if not answer.pieces or not answer.tokens:
            message = "an answer without text or without usage"
            raise RuntimeError(message)
