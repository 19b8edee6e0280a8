"""The watch beside each proxy: which proxy waits for a certificate in vain."""

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import certificate_watch as subject
import pytest
from certificate_watch import PATIENCE, AdminError, Watch, look, warming

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
    assert max(gaps) <= subject.LONGEST + 1
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
    monkeypatch.setattr(subject, "_ADMIN", ("127.0.0.1", port))
    with pytest.raises(AdminError, match="503"):
        subject.admin("GET", "/config_dump")
    server.shutdown()
    server.server_close()
    with pytest.raises(AdminError, match="refused"):
        subject.admin("GET", "/config_dump")
