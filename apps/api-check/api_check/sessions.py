"""Whether the session behind a page's token still lives: asked of session-check, as the gateway asks for other pages.

The gateway asks one question about a request. Where people ask a model from a page behind the login, it asks it here,
and what it would have asked session-check is passed on. Without an answer the token alone counts, which the gateway has
verified: an outage must not shut out people who are at work.
"""

import logging
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from typing import Final
from urllib.parse import urlsplit

Ended = tuple[str, bytes]
"""The answer for a session that has ended: its type, and its body."""
Sessions = Callable[[str], Ended | None]
"""The header Authorization -> what to answer, None where the session lives or nobody knows."""

PATIENCE: Final = 3.0
"""Seconds for the answer, as the gateway has."""
REST: Final = 5.0
"""Seconds for which session-check is left alone after it has not answered: its silence holds up nobody."""
_ENDED: Final = 401
_OK: Final = 200
_LOG: Final = logging.getLogger("api_check")


def asked(address: str, clock: Callable[[], float] = time.monotonic) -> Sessions:
    """Return how to ask the session-check at `http://HOST[:PORT]`; ValueError for another address."""
    rest_until = 0.0
    parts = urlsplit(address)
    if parts.scheme != "http" or not parts.hostname:
        message = f"sessions {address}: expected http://HOST[:PORT]"
        raise ValueError(message)
    host, port = parts.hostname, parts.port or 80

    def ask(authorization: str) -> Ended | None:
        nonlocal rest_until
        if clock() < rest_until:
            return None
        connection = HTTPConnection(host, port, timeout=PATIENCE)
        try:
            connection.request("GET", "/", headers={"Authorization": authorization})
            response = connection.getresponse()
            kind, body = response.getheader("Content-Type", "text/plain"), response.read()
        except (OSError, HTTPException) as error:
            name = type(error).__name__
            _LOG.warning("session-check does not answer (%s): the token alone counts for %.0f s", name, REST)
            rest_until = clock() + REST
            return None
        finally:
            connection.close()
        if response.status == _ENDED:
            return kind, body
        if response.status != _OK:
            _LOG.warning("session-check answers %d: the token alone counts", response.status)
        return None

    return ask
