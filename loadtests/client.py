"""What users of both APIs have in common: one kept connection, a token, a request that is ready before it is due."""

import itertools
import json
import time
from contextlib import suppress
from typing import Any, Final

from locust import User, task

from loadtests.connection import Failure, connection
from loadtests.locusts import current
from loadtests.tokens import Tokens

# Seconds before a user of a closed loop tries again: a server that refuses at once is not to be flooded.
PATIENCE: Final = 1.0
PATIENCE_MOST: Final = 10.0
TOKENS: Final = Tokens()
_NUMBERS: Final = itertools.count()


class ApiUser(User):
    """A person or program. Addresses and secrets come from the environment, never from argv (see README.md)."""

    abstract = True

    def on_start(self) -> None:
        """Open the connection that this user keeps: a handshake is no part of an answer's latency."""
        self.run_now = current()
        self.connection = connection(self.host or "")
        self.number, self.asked = next(_NUMBERS), 0
        # What is wrong here the first request will say, and be counted.
        with suppress(Failure, OSError):
            self.headers()
            self.connection.connect()

    def on_stop(self) -> None:
        """Close the connection."""
        self.connection.close()

    def ask(self, body: dict[str, Any], encoded: bytes, intended: float) -> dict[str, float]:
        """Send a request, note what came, and return durations for Locust's table; Failure when it went wrong."""
        raise NotImplementedError

    @task
    def turn(self) -> None:
        """Make one request ready, wait until it is due, and see it through."""
        run = self.run_now
        body = run.order.scenario.request(run.order.seed, f"{run.worker}/{self.number}", self.asked)
        encoded = json.dumps(body).encode()
        self.asked += 1
        intended = run.begin()
        try:
            durations = self.ask(body, encoded, intended)
        except Failure as error:
            now = time.perf_counter()
            run.recorder.add_failure(now, error.cause)
            self._fire("failed", now - intended, error)
            if run.order.loop == "closed":
                time.sleep(min(max(PATIENCE, error.retry_after), PATIENCE_MOST))
            return
        for name, seconds in durations.items():
            self._fire(name, seconds)

    def headers(self) -> dict[str, str]:
        """Return what names the caller; Failure when there is no token to be had."""
        try:
            token = TOKENS.get()
        except (RuntimeError, OSError) as error:
            cause = "no token"
            raise Failure(cause, str(error)) from None
        return {"Authorization": f"Bearer {token}"} if token else {}

    def _fire(self, name: str, seconds: float, error: Exception | None = None) -> None:
        self.environment.events.request.fire(
            request_type="", name=name, response_time=seconds * 1000, response_length=0, exception=error, context={}
        )
