"""What our services count of themselves."""

from collections.abc import Iterable
from typing import Any
from urllib.request import urlopen
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from prometheus_client import REGISTRY
from serving import metrics

from tests.ports import free_port


def application(environ: dict[str, Any], start: Any) -> Iterable[bytes]:  # noqa: ANN401 - WSGI's own
    """Answer with the status that the path names; raise where it names none."""
    status = {"/ok": "200 OK", "/no": "404 Not Found", "/healthz": "200 OK"}[environ["PATH_INFO"]]
    start(status, [("Content-Type", "text/plain")])
    return [b"said"]


def _ask(path: str) -> bytes:
    environ: dict[str, Any] = {"SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": ""}
    setup_testing_defaults(environ)
    answered = validator(metrics.counted(application))(environ, lambda *_: lambda _: None)
    try:
        return b"".join(answered)
    finally:
        getattr(answered, "close", lambda: None)()


def _count(status: str) -> float:
    return REGISTRY.get_sample_value("http_requests_total", {"status": status}) or 0.0


def _timed() -> float:
    return REGISTRY.get_sample_value("http_request_duration_seconds_count") or 0.0


@pytest.mark.parametrize(("path", "status"), [("/ok", "200"), ("/no", "404")])
def test_answers_are_counted_by_status(path: str, status: str) -> None:
    """One more of its status, one more time taken, and the answer as it was."""
    before, timed = _count(status), _timed()

    assert _ask(path) == b"said"
    assert (_count(status), _timed()) == (before + 1, timed + 1)


def test_an_application_that_raises_counts_as_an_error() -> None:
    """The server answers 500 for it."""
    before = _count("500")

    with pytest.raises(KeyError):
        _ask("/unknown")
    assert _count("500") == before + 1


def test_the_kubelet_does_not_count() -> None:
    """Its questions would hide those of people."""
    before = _timed()

    assert _ask("/healthz") == b"said"
    assert _timed() == before


def test_told_on_a_port_of_its_own() -> None:
    """In Prometheus's text, with the process's own memory."""
    port = free_port()
    _ask("/ok")

    metrics.tell(port)

    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    assert 'http_requests_total{status="200"}' in text
    assert "process_resident_memory_bytes" in text
