"""How a user of the APIs connects: token and trusted roots come from the environment, never from argv."""

import os
import time

import requests
from locust import User

from loadtests.tokens import Tokens

# Longer than the gateway lets a request run: whoever gives up first should be the platform.
TIMEOUT = 660.0
# Seconds before the next try after a failure.
PATIENCE = 1.0
TOKENS = Tokens()


class ApiUser(User):
    """A client with a token that trusts the platform's roots and keeps one connection.

    Locust's own HttpUser counts a streamed answer as done when its headers are there, hence a plain session.
    """

    abstract = True

    def on_start(self) -> None:
        """Set up the connection that this user keeps."""
        self.session = requests.Session()
        # Neither a proxy nor roots of the machine's own: what is measured is said here.
        self.session.trust_env = False
        if roots := os.environ.get("BETELGEUSE_CA"):
            self.session.verify = roots

    def on_stop(self) -> None:
        """Close the connection."""
        self.session.close()

    def post(self, path: str, body: dict[str, object], *, stream: bool = False) -> requests.Response:
        """Post JSON; an answer that is not 200 raises."""
        url = f"{(self.host or '').rstrip('/')}{path}"
        headers = {"Authorization": f"Bearer {token}"} if (token := TOKENS.get()) else {}
        response = self.session.post(
            url, json=body, headers=headers, stream=stream, timeout=TIMEOUT, allow_redirects=False
        )
        if response.status_code != requests.codes.ok:
            message = f"{response.status_code} {response.text[:200]}"
            raise RuntimeError(message)
        return response

    def fail(self, name: str, began: float, error: Exception) -> None:
        """Show a failed request, and wait as a person would: a server that refuses at once is not to be flooded."""
        self.fire(name, time.perf_counter() - began, error)
        time.sleep(PATIENCE)

    def fire(self, name: str, seconds: float, error: Exception | None = None) -> None:
        """Show a duration in Locust's table and charts."""
        self.environment.events.request.fire(
            request_type="", name=name, response_time=seconds * 1000, response_length=0, exception=error, context={}
        )
