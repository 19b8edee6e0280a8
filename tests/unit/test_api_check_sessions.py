"""The check before a model that people ask from a page: whether their session lives comes first."""

import json
import logging
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest
from api_check.app import Application, Host
from api_check.check import Checker
from api_check.health import Health
from api_check.places import Places
from api_check.protocol import Api
from api_check.sessions import REST, asked

from tests.unit.http_server import serving
from tests.unit.test_api_check import CHAT, HELLO, answered

PAGE = Api((CHAT,), "http://llm:8080", 4, 4096)
QUESTION = json.dumps(HELLO).encode()


def _app(*, alive: bool, loading: bool = False) -> Application:
    health = Health(lambda: [503 if loading else 200])
    sessions = (lambda _: None) if alive else (lambda _: ("text/html", b"<p>ended"))
    return Application({"chat": Host(Checker(PAGE), health, list, Places(0, lambda: None), sessions)})


def _ask(app: Application, path: str, body: bytes = b"") -> tuple[str, bytes]:
    status, _, found = answered(app, f"/check{path}", body, host="chat.example.org")
    return status, found


def test_living_session_asks_as_a_program_does() -> None:
    """What is of the protocol passes, and the rest is refused by its field."""
    app = _app(alive=True)

    assert _ask(app, CHAT, QUESTION)[0] == "200 OK"
    status, body = _ask(app, CHAT, json.dumps({**HELLO, "n": 9}).encode())
    assert (status, json.loads(body)["error"]["param"]) == ("400 Bad Request", "n")


@pytest.mark.parametrize(("path", "body"), [("/", b""), ("/_app/x.js", b""), ("/props", b""), (CHAT, QUESTION)])
def test_ended_session_opens_nothing(path: str, body: bytes) -> None:
    """Neither the page nor the model; the answer is session-check's."""
    assert _ask(_app(alive=False), path, body) == ("401 Unauthorized", b"<p>ended")


def test_page_is_there_while_the_model_is_loaded() -> None:
    """What is asked of the model waits, the page's files do not."""
    app = _app(alive=True, loading=True)

    assert _ask(app, "/")[0] == "200 OK"
    assert _ask(app, CHAT, QUESTION)[0].startswith("425")


@pytest.fixture
def server() -> Iterator[str]:
    """Return the address of a session-check for which one token's session has ended, and which fails at another."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status = {"Bearer ended": 401, "Bearer broken": 500}.get(self.headers["Authorization"], 200)
            body = b"<p>ended" if status == 401 else b""
            self.send_response(status)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the class names it
            """Say nothing."""

    with serving(Handler) as address:
        yield address


def test_session_check_is_asked(server: str) -> None:
    """With the token; an ended session is told as there."""
    assert asked(server)("Bearer living") is None
    assert asked(server)("Bearer ended") == ("text/html", b"<p>ended")


def test_without_an_answer_the_token_counts(server: str, caplog: pytest.LogCaptureFixture) -> None:
    """An outage shuts nobody out, and is told in the log, without the token."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"

    with caplog.at_level(logging.WARNING):
        assert asked(nobody)("Bearer secret") is None
        assert asked(server)("Bearer broken") is None

    assert [record.getMessage() for record in caplog.records] == [
        "session-check does not answer (ConnectionRefusedError): the token alone counts for 5 s",
        "session-check answers 500: the token alone counts",
    ]


def test_silence_holds_nobody_up(caplog: pytest.LogCaptureFixture) -> None:
    """Who has not answered is asked again REST seconds later: of three questions the one within is not asked."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
    now = [10.0]
    ask = asked(nobody, lambda: now[0])

    with caplog.at_level(logging.WARNING):
        for later in (0.0, REST - 0.1, REST):
            now[0] = 10.0 + later
            assert ask("Bearer living") is None

    assert len(caplog.records) == 2


@pytest.mark.parametrize("address", ["session-check", "https://session-check", "http://"])
def test_wrong_address_is_told(address: str) -> None:
    """Before anything is served."""
    with pytest.raises(ValueError, match="expected http://HOST"):
        asked(address)
