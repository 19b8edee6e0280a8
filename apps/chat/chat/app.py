"""The WSGI application: the files of the pages, read only."""

import io
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from .files import File, inline_scripts

Start = Callable[[str, list[tuple[str, str]]], object]

_TEXT: Final = "text/plain; charset=utf-8"


def policy(page: bytes) -> str:
    """Return the content security policy of a page: whatever it shows or asks for is of its own host.

    Scripts are files, and those that the page itself holds, by their content. Styles may stand in elements: formulas
    and diagrams are drawn with them. What a person adds to a conversation is `data:` or `blob:`.
    """
    sources = {
        "default-src": "'none'",
        "script-src": " ".join(["'self'", *inline_scripts(page)]),
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data: blob:",
        "media-src": "'self' data: blob:",
        "font-src": "'self' data:",
        "connect-src": "'self'",
        # The reader of PDF files is a script that the page starts beside itself.
        "worker-src": "'self' blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {allowed}" for name, allowed in sources.items())


class Pages:
    """The application around files by their path."""

    def __init__(self, files: Mapping[str, File]) -> None:
        """Keep the files; the page is among them."""
        self._files = files
        self._security = (
            ("Content-Security-Policy", policy(files["/"].body)),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
        )

    def __call__(self, environ: Mapping[str, Any], start: Start) -> Iterable[bytes]:
        """Answer one request."""
        method = environ["REQUEST_METHOD"]
        status, body, headers = self._answer(method, environ.get("PATH_INFO", ""), environ)
        # An answer 304 has no body, and its length would be another's.
        length = [] if status.startswith("304") else [("Content-Length", str(len(body)))]
        start(status, [*headers, *length, *self._security])
        if method == "HEAD" or not body:
            return []
        # Sent from where it lies: what waitress holds for a client by itself is a temporary file from 1 MiB on, and the
        # root is read-only.
        wrapper: Callable[[io.BytesIO], Iterable[bytes]] | None = environ.get("wsgi.file_wrapper")
        return [body] if wrapper is None else wrapper(io.BytesIO(body))

    def _answer(self, method: str, path: str, environ: Mapping[str, Any]) -> tuple[str, bytes, list[tuple[str, str]]]:
        """Return status, body and headers."""
        if method not in {"GET", "HEAD"}:
            return _refusal("405 Method Not Allowed", ("Allow", "GET, HEAD"))
        if path == "/healthz":
            return "200 OK", b"ok\n", [("Content-Type", _TEXT), ("Cache-Control", "no-store")]
        file = self._files.get(path)
        if file is None:
            return _refusal("404 Not Found")
        caching = "private, max-age=31536000, immutable" if file.lasting else "private, no-cache"
        headers = [("ETag", file.tag), ("Cache-Control", caching), ("Vary", "Accept-Encoding")]
        if file.tag in environ.get("HTTP_IF_NONE_MATCH", ""):
            return "304 Not Modified", b"", headers
        headers.append(("Content-Type", file.kind))
        if file.packed and _takes_gzip(environ.get("HTTP_ACCEPT_ENCODING", "")):
            return "200 OK", file.packed, [*headers, ("Content-Encoding", "gzip")]
        return "200 OK", file.body, headers


def _refusal(status: str, *headers: tuple[str, str]) -> tuple[str, bytes, list[tuple[str, str]]]:
    return status, f"{status[4:]}\n".encode(), [("Content-Type", _TEXT), ("Cache-Control", "no-store"), *headers]


def _takes_gzip(accepted: str) -> bool:
    """Whether a client takes gzip: it names it, and not with the weight 0."""
    offers = (each.replace(" ", "").lower().partition(";q=") for each in accepted.split(","))
    return any(name == "gzip" and (not weight or weight.strip("0.")) for name, _, weight in offers)
