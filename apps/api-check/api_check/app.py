"""The WSGI application: the gateway asks below /check, clients get what the model server has not."""

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from .body import InvalidError
from .check import Checker
from .health import Health
from .places import Places
from .sessions import Sessions

Start = Callable[[str, list[tuple[str, str]]], object]
Models = Callable[[], list[dict[str, Any]]]
"""The models that a server lists; OSError or ValueError when it does not."""

CHECK: Final = "/check"
MODELS: Final = "/v1/models/"
_JSON: Final = "application/json"
_LOG: Final = logging.getLogger("api_check")


@dataclass(frozen=True)
class Host:
    """One API as the application sees it."""

    checker: Checker
    health: Health
    models: Models
    places: Places
    sessions: Sessions | None = None
    """For a page, behind a login; None for an API."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: status, and what its body holds."""

    status: str
    body: bytes = b""
    kind: str = _JSON


def refusal(status: str, message: str, kind: str, code: str, param: str = "") -> Answer:
    """Return an error in OpenAI's form."""
    error = {"message": message, "type": kind, "param": param or None, "code": code}
    # A field's name may hold what is no character.
    return Answer(status, json.dumps({"error": error}).encode())


LOADING: Final = refusal("425 Too Early", "the model is being loaded; try again", "loading", "loading")
"""The gateway makes 503 with Retry-After of it: an authorizer's own 5xx would count as no answer."""


WAIT: Final = refusal(
    "429 Too Many Requests", "another client waits for this place; try again", "rate_limit", "rate_limit_exceeded"
)
"""The gateway tells it in words of its own, with Retry-After."""


class Application:
    """The application for some hosts, by their first label."""

    def __init__(self, hosts: Mapping[str, Host]) -> None:
        """Keep the hosts."""
        self._hosts = dict(hosts)

    def __call__(self, environ: Mapping[str, Any], start: Start) -> Iterable[bytes]:
        """Answer one request."""
        answer = self._answer(environ)
        length = str(len(answer.body))
        headers = [("Content-Type", answer.kind), ("Content-Length", length), ("Cache-Control", "no-store")]
        start(answer.status, headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]

    def _answer(self, environ: Mapping[str, Any]) -> Answer:
        path = environ.get("PATH_INFO", "").encode("latin-1", "replace").decode("utf-8", "replace")
        if path == "/healthz":
            return Answer("200 OK", b"ok\n", "text/plain")
        host = self._hosts.get(environ.get("HTTP_HOST", "").partition(".")[0])
        if host is None:
            return refusal("404 Not Found", "no such API", "invalid_request_error", "not_found")
        if path.startswith(f"{CHECK}/"):
            return self._check(host, path.removeprefix(CHECK), environ)
        if path.startswith(MODELS) and environ["REQUEST_METHOD"] in {"GET", "HEAD"}:
            return _model(host, path.removeprefix(MODELS))
        message = "there is no such path, or not with this method"
        return refusal("404 Not Found", message, "invalid_request_error", "not_found")

    def _check(self, host: Host, path: str, environ: Mapping[str, Any]) -> Answer:
        if host.sessions is not None:
            if (ended := host.sessions(environ.get("HTTP_AUTHORIZATION", ""))) is not None:
                return Answer("401 Unauthorized", ended[1], ended[0])
            if not host.checker.knows(path):
                # A file of the page, which is there whatever the model does.
                return Answer("200 OK", kind="text/plain")
        if host.health.loading():
            return LOADING
        if environ["REQUEST_METHOD"] == "POST":
            length = int(environ.get("CONTENT_LENGTH") or 0)
            try:
                host.checker.check(path, environ["wsgi.input"].read(length))
            except InvalidError as error:
                return refusal("400 Bad Request", str(error), "invalid_request_error", error.code, error.param)
            if not host.places.admits(environ.get("HTTP_X_CLIENT_ID", "")):
                return WAIT
        return Answer("200 OK", kind="text/plain")


def _model(host: Host, name: str) -> Answer:
    try:
        models = host.models()
    except (OSError, ValueError) as error:
        _LOG.warning("the model server lists no models: %s", type(error).__name__)
        return refusal("503 Service Unavailable", "the model server does not answer; try again", "unavailable", "away")
    for model in models:
        if model.get("id") == name:
            return Answer("200 OK", json.dumps(model).encode())
    message = f"there is no model {quote(name[:100], safe=' ')}; /v1/models lists those there are"
    return refusal("404 Not Found", message, "invalid_request_error", "model_not_found", "model")
