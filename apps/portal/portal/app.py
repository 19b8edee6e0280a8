"""The WSGI application: a page with its style and script, read only."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from .cluster import ClusterError
from .page import SCRIPT, STYLE, notice, overview
from .person import person
from .services import Service

Start = Callable[[str, list[tuple[str, str]]], object]

_HTML: Final = "text/html; charset=utf-8"
_NOWHERE: Final = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
SECURITY: Final = (
    # One style sheet and one script of our own; no frame, no form, no other origin.
    ("Content-Security-Policy", f"default-src 'none'; style-src 'self'; script-src 'self'; {_NOWHERE}"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
)


class Portal:
    """The application around whoever can list the services."""

    def __init__(self, services: Callable[[], list[Service]]) -> None:
        """`services` raises ClusterError when it cannot answer."""
        self._services = services
        here = Path(__file__)
        self._files = {
            STYLE: ("text/css; charset=utf-8", here.with_name("style.css").read_bytes()),
            SCRIPT: ("text/javascript; charset=utf-8", here.with_name("script.js").read_bytes()),
        }

    def __call__(self, environ: Mapping[str, Any], start: Start) -> Iterable[bytes]:
        """Answer one request."""
        method = environ["REQUEST_METHOD"]
        status, kind, body, extra = self._answer(method, environ.get("PATH_INFO", ""), environ)
        caching = "max-age=3600" if environ.get("PATH_INFO") in self._files else "no-store"
        start(
            status,
            [
                ("Content-Type", kind),
                ("Content-Length", str(len(body))),
                ("Cache-Control", caching),
                *extra,
                *SECURITY,
            ],
        )
        return [] if method == "HEAD" else [body]

    def _answer(
        self, method: str, path: str, environ: Mapping[str, Any]
    ) -> tuple[str, str, bytes, list[tuple[str, str]]]:
        """Return status, type, body and further headers."""
        if method not in {"GET", "HEAD"}:
            return "405 Method Not Allowed", _HTML, notice("Only for reading"), [("Allow", "GET, HEAD")]
        if path == "/healthz":
            return "200 OK", "text/plain; charset=utf-8", b"ok\n", []
        if path in self._files:
            return "200 OK", *self._files[path], []
        if path != "/":
            return "404 Not Found", _HTML, notice("No such page"), []
        who = person(environ)
        try:
            return "200 OK", _HTML, overview(self._services(), who), []
        except ClusterError as error:
            return "503 Service Unavailable", _HTML, overview(None, who, str(error)), [("Retry-After", "5")]
