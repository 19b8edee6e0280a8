"""The guard beside the gateway: whose session has ended."""

from collections.abc import Callable
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
import session_check as sessions
from hypothesis import given
from hypothesis import strategies as st
from session_check import ENDED, KEEP, REST, Sessions, application, userinfo


class Realm:
    """What Keycloak says, what it was asked, and what time it is."""

    def __init__(self, says: int | Exception = 200) -> None:
        """`says`: a status, or what asking raises."""
        self.says = says
        self.asked: list[str] = []
        self.now = 0.0
        self.sessions = Sessions(self.ask, lambda: self.now)

    def ask(self, token: str) -> int:
        """Answer as told."""
        self.asked.append(token)
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


def test_living_session_is_asked_for_once_in_a_while() -> None:
    """Within KEEP an answer is good; after it Keycloak is asked again."""
    realm = Realm()

    assert all(realm.sessions.alive("t") for _ in range(3))
    assert realm.asked == ["t"]
    realm.now = KEEP
    assert realm.sessions.alive("t")
    assert realm.asked == ["t", "t"]


@pytest.mark.parametrize("status", [401, 403])
def test_ended_session_stays_ended(status: int) -> None:
    """A session that Keycloak has ended is refused, without another question, also while Keycloak is away."""
    realm = Realm(status)

    assert not realm.sessions.alive("t")
    realm.says, realm.now = OSError("gone"), 10 * KEEP
    assert realm.sessions.alive("other")
    assert not realm.sessions.alive("t")
    assert realm.asked == ["t", "other"]


@pytest.mark.parametrize("trouble", [OSError("refused"), HTTPException("cut"), 500, 503, 302])
def test_outage_shuts_nobody_out(trouble: int | Exception, caplog: pytest.LogCaptureFixture) -> None:
    """Without an answer tokens alone count; Keycloak has rest, then the next question finds out."""
    realm = Realm(trouble)

    assert realm.sessions.alive("geheim")
    assert realm.sessions.alive("another")
    assert realm.asked == ["geheim"]
    assert "Keycloak" in caplog.text
    assert "geheim" not in caplog.text
    realm.now, realm.says = REST, 401
    assert not realm.sessions.alive("geheim")


@given(tokens=st.lists(st.sampled_from("abcdef"), max_size=30))
def test_memory_is_bounded(tokens: list[str]) -> None:
    """However many tokens come, only so many are remembered, and the latest among them."""
    realm = Realm()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sessions, "MEMORY", 3)
        for token in tokens:
            assert realm.sessions.alive(token)

        asked = len(realm.asked)
        for token in list(dict.fromkeys(reversed(tokens)))[:1]:
            assert realm.sessions.alive(token)

    assert len(realm.asked) == asked
    assert len(realm.sessions._until) <= 3


def answered(realm: Realm, authorization: str = "", path: str = "/") -> tuple[str, dict[str, str], bytes]:
    """Return the application's answer to one request."""
    environ: dict[str, Any] = {
        "HTTP_AUTHORIZATION": authorization,
        "PATH_INFO": path,
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
    }
    setup_testing_defaults(environ)
    seen: list[Any] = []

    def start(status: str, headers: list[tuple[str, str]], _: object = None, /) -> Callable[[bytes], object]:
        seen.extend([status, headers])
        return lambda _: None

    parts: Any = validator(application(realm.sessions))(environ, start)
    body = b"".join(parts)
    parts.close()
    return seen[0], dict(seen[1]), body


def test_application_says_yes_or_shows_the_way() -> None:
    """200 for a living session; 401 with a page that leads to a new login for everything else."""
    assert answered(Realm(), "Bearer t")[0] == "200 OK"
    for realm, given_ in ((Realm(401), "Bearer t"), (Realm(), "Basic t"), (Realm(), "Bearer "), (Realm(), "")):
        status, headers, body = answered(realm, given_)

        assert status == "401 Unauthorized"
        assert body == ENDED
        assert headers["Cache-Control"] == "no-store"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert answered(Realm(401), path="/healthz")[0] == "200 OK"


def served(answer: Callable[[BaseHTTPRequestHandler], int]) -> tuple[ThreadingHTTPServer, int]:
    """Serve on a port of its own; `answer` returns the status."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(answer(self))
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the class names it
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    return server, server.server_address[1]


def test_userinfo_is_asked_with_the_token() -> None:
    """The token goes along as the bearer's, to the path of the setting; the status comes back."""
    server, port = served(lambda got: 200 if (got.path, got.headers["Authorization"]) == ("/u", "Bearer t") else 401)
    try:
        ask = userinfo(f"http://127.0.0.1:{port}/u")
        assert (ask("t"), ask("x")) == (200, 401)
    finally:
        server.shutdown()
        server.server_close()
    with pytest.raises(OSError, match="refused"):
        ask("t")


@pytest.mark.parametrize("address", ["", "keycloak", "https://keycloak/u"])
def test_wrong_setting_is_one_line(address: str) -> None:
    """A setting that cannot be meant is named."""
    with pytest.raises(ValueError, match=r"USERINFO=.*expected http://"):
        userinfo(address)
