"""How a user of the APIs connects: the key and the trusted roots come from the environment, never from argv."""

import os

from locust import HttpUser


class ApiUser(HttpUser):
    """A client with a key that trusts the platform's roots."""

    abstract = True

    def on_start(self) -> None:
        """Set up the connection that this user keeps."""
        if key := os.environ.get("BETELGEUSE_API_KEY"):
            self.client.headers["Authorization"] = f"Bearer {key}"
        if roots := os.environ.get("BETELGEUSE_CA"):
            self.client.verify = roots
