"""Whether the session behind an access token still lives: asked of Keycloak, answered to the gateway.

The gateway keeps no list of sessions: by itself it takes an access token for good until it expires, whoever signed out,
was disabled or lost the session meanwhile. So it asks here on every request of a login gate (Envoy's `ext_authz`). An
answer of Keycloak's is good for `KEEP` seconds. While Keycloak does not answer, the token alone counts, as it did
before: an outage must not shut out people who are at work.
"""

import hashlib
import logging
import os
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from http.client import HTTPConnection, HTTPException
from typing import Any, Final
from urllib.parse import urlsplit

from prometheus_client import Counter
from serving import begin, serve

Start = Callable[[str, list[tuple[str, str]]], object]
Ask = Callable[[str], int]
"""An access token -> the status with which Keycloak answers its bearer; OSError or HTTPException when it does not."""

KEEP: Final = 5.0
"""Seconds for which a living session is not asked for again."""
REST: Final = 5.0
"""Seconds for which Keycloak is left alone after it has not answered: nobody waits for it meanwhile."""
MEMORY: Final = 20_000
"""Tokens remembered, some 100 bytes each."""
_PATIENCE: Final = 2.0
_GONE: Final = frozenset({401, 403})
_OK: Final = 200
_LOG: Final = logging.getLogger("session_check")
UNANSWERED: Final = Counter("session_check_unanswered", "Questions that Keycloak did not answer: tokens alone counted.")

ENDED: Final = (
    b"<!doctype html>\n<html lang=en><meta charset=utf-8><title>Signed out</title>\n"
    b'<h1>This session has ended</h1>\n<p><a href="/oauth2/logout">Sign in again</a></p>\n</html>\n'
)
_HEADERS: Final = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    ("X-Content-Type-Options", "nosniff"),
)


class Sessions:
    """What is known of tokens; an ended session never lives again, a living one may have ended since."""

    def __init__(self, ask: Ask, clock: Callable[[], float] = time.monotonic) -> None:
        """`ask` is called from several threads."""
        self._ask, self._clock = ask, clock
        self._lock = threading.Lock()
        self._until: OrderedDict[bytes, float] = OrderedDict()
        """By the token's digest: until when its session is known to live; 0 for one that ended."""
        self._rest_until = 0.0

    def alive(self, token: str) -> bool:
        """Whether the session behind a token lives, or nothing else is known."""
        key, now = hashlib.sha256(token.encode()).digest(), self._clock()
        with self._lock:
            until = self._until.get(key)
            if until == 0:
                return False
            if (until is not None and now < until) or now < self._rest_until:
                return True
        status = self._answer(token)
        if status in _GONE:
            self._keep(key, 0)
            return False
        if status == _OK:
            self._keep(key, now + KEEP)
        else:
            with self._lock:
                self._rest_until = self._clock() + REST
        return True

    def _answer(self, token: str) -> int:
        """Return Keycloak's status; 0 when it does not answer."""
        try:
            status = self._ask(token)
        except (OSError, HTTPException) as error:
            UNANSWERED.inc()
            _LOG.warning("Keycloak does not answer (%s): tokens alone count for %.0f s", type(error).__name__, REST)
            return 0
        if status not in {_OK, *_GONE}:
            UNANSWERED.inc()
            _LOG.warning("Keycloak answers %d: tokens alone count for %.0f s", status, REST)
        return status

    def _keep(self, key: bytes, until: float) -> None:
        with self._lock:
            self._until[key] = until
            self._until.move_to_end(key)
            while len(self._until) > MEMORY:
                self._until.popitem(last=False)


def userinfo(address: str) -> Ask:
    """Return how to ask a realm's userinfo endpoint: it answers 200 as long as the token's session and user do."""
    parts = urlsplit(address)
    if parts.scheme != "http" or not parts.hostname:
        message = f"USERINFO={address}: expected http://host/path; it is set in the Deployment"
        raise ValueError(message)

    def ask(token: str) -> int:
        connection = HTTPConnection(parts.hostname or "", parts.port or 80, timeout=_PATIENCE)
        try:
            connection.request("GET", parts.path, headers={"Authorization": f"Bearer {token}"})
            response = connection.getresponse()
            response.read()
            return response.status
        finally:
            connection.close()

    return ask


def application(sessions: Sessions) -> Callable[[Mapping[str, Any], Start], Iterable[bytes]]:
    """Return the WSGI application: 200 for a living session, else 401 with a page that leads to a new login."""

    def answer(environ: Mapping[str, Any], start: Start) -> Iterable[bytes]:
        if environ.get("PATH_INFO") == "/healthz":
            start("200 OK", [("Content-Type", "text/plain")])
            return [b"ok\n"]
        scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() == "bearer" and token and sessions.alive(token):
            start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "0")])
            return []
        start("401 Unauthorized", [("Content-Length", str(len(ENDED))), *_HEADERS])
        return [ENDED]

    return answer


def main() -> None:
    """Serve on port 8080 until told to stop; the realm's userinfo address is in the environment as USERINFO."""
    begin()
    try:
        sessions = Sessions(userinfo(os.environ.get("USERINFO", "")))
    except ValueError as error:
        sys.exit(str(error))
    serve(application(sessions), threads=8)


if __name__ == "__main__":
    main()
