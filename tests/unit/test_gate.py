"""The guards beside the gateway: whose session has ended, and which proxy waits in vain."""

import json
from collections.abc import Callable
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from images.gate.gate import proxy, sessions
from images.gate.gate.proxy import PATIENCE, AdminError, Watch, look, warming
from images.gate.gate.sessions import ENDED, KEEP, REST, Sessions, application, userinfo


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


DUMP = {"configs": [{"@type": "x", "name": "kubernetes://ai/llm"}]}


class Proxy:
    """An admin interface that shows these dumps by turns, and counts how often it was told to quit."""

    def __init__(self, *dumps: object) -> None:
        """The last dump stays."""
        self.dumps, self.quits = list(dumps), 0

    def __call__(self, method: str, path: str) -> bytes:
        """Answer one request."""
        if method == "POST":
            assert path == "/quitquitquit"
            self.quits += 1
            return b"OK\n"
        return json.dumps(self.dumps.pop(0) if len(self.dumps) > 1 else self.dumps[0]).encode()


def test_secret_on_its_way_is_waited_for() -> None:
    """A secret may take a while; one that comes is forgotten."""
    watch, envoy = Watch(), Proxy(DUMP, DUMP, {}, DUMP)

    for now in (0.0, PATIENCE - 1, PATIENCE, PATIENCE + 1, 2 * PATIENCE):
        assert look(watch, envoy, now) == set()
    assert envoy.quits == 0


def test_starved_proxy_is_told_to_quit_ever_more_seldom() -> None:
    """A secret that never comes ends the proxy after PATIENCE, then after twice as long, with a limit."""
    watch, envoy = Watch(), Proxy(DUMP)
    quits = [now for now in range(4000) if look(watch, envoy, float(now))]

    gaps = [late - early for early, late in zip([0, *quits], quits, strict=False)]
    assert [round(gap / PATIENCE) for gap in gaps[:5]] == [1, 2, 4, 8, 16]
    assert max(gaps) <= proxy.LONGEST + 1
    assert envoy.quits == len(quits)


def test_patience_comes_back_when_all_is_well() -> None:
    """After a start that helped, the next loss is seen as soon as the first was; a moment without one is not enough."""
    watch, envoy = Watch(), Proxy(DUMP)
    assert look(watch, envoy, 0.0) == set()
    assert look(watch, envoy, PATIENCE)
    assert watch.patience == 2 * PATIENCE

    envoy.dumps = [{}]
    look(watch, envoy, PATIENCE + 1)
    assert watch.patience == 2 * PATIENCE
    look(watch, envoy, 4 * PATIENCE)
    assert watch.patience == PATIENCE


def test_names_are_those_of_the_dump() -> None:
    """A dump without secrets has none; names are as Envoy writes them."""
    assert warming({}) == set()
    assert warming(DUMP) == {"kubernetes://ai/llm"}


def test_admin_that_does_not_answer_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that starts, or answers nonsense, is no reason to end the watch."""
    server, port = served(lambda _: 503)
    monkeypatch.setattr(proxy, "_ADMIN", ("127.0.0.1", port))
    with pytest.raises(AdminError, match="503"):
        proxy.admin("GET", "/config_dump")
    server.shutdown()
    server.server_close()
    with pytest.raises(AdminError, match="refused"):
        proxy.admin("GET", "/config_dump")
