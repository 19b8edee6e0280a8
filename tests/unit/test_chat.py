"""The page of the language model: files with their headers, and a policy that keeps the page to its own host."""

import base64
import gzip
import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from chat.app import Pages, policy
from chat.files import FolderError, inline_scripts, read

_SCRIPT = "\n\timport('./_app/immutable/bundle.js');\n"
_PAGE = f'<!doctype html><script>{_SCRIPT}</script><script src="./_app/x.js"></script>'
_LONG = "a { color: red }\n" * 100


@pytest.fixture
def pages(tmp_path: Path) -> Pages:
    """Serve a page with a style, a script and a picture."""
    (tmp_path / "_app" / "immutable").mkdir(parents=True)
    (tmp_path / "index.html").write_text(_PAGE, "utf-8")
    (tmp_path / "_app" / "immutable" / "style.css").write_text(_LONG, "utf-8")
    (tmp_path / "_app" / "version.json").write_text("{}", "utf-8")
    (tmp_path / "icon.png").write_bytes(b"\x89PNG" * 100)
    return Pages(read(tmp_path))


def _ask(pages: Pages, path: str, method: str = "GET", **headers: str) -> tuple[str, Mapping[str, str], bytes]:
    told: dict[str, Any] = {}

    def start(status: str, headers: list[tuple[str, str]]) -> None:
        told.update(status=status, headers=dict(headers))

    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, **{f"HTTP_{name}": text for name, text in headers.items()}}
    body = b"".join(pages(environ, start))
    return told["status"], told["headers"], body


def test_page_is_the_root(pages: Pages) -> None:
    """The page is asked for anew each time, and has no second address."""
    status, headers, body = _ask(pages, "/")

    assert (status, body.decode()) == ("200 OK", _PAGE)
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Cache-Control"] == "private, no-cache"
    assert _ask(pages, "/index.html")[0] == "404 Not Found"


@pytest.mark.parametrize(
    ("path", "kind", "caching"),
    [
        ("/_app/immutable/style.css", "text/css; charset=utf-8", "private, max-age=31536000, immutable"),
        ("/_app/version.json", "application/json", "private, no-cache"),
        ("/icon.png", "image/png", "private, no-cache"),
    ],
)
def test_files_have_their_type(pages: Pages, path: str, kind: str, caching: str) -> None:
    """What is named by its content is kept for good, the rest is asked for again."""
    status, headers, _ = _ask(pages, path)

    assert (status, headers["Content-Type"], headers["Cache-Control"]) == ("200 OK", kind, caching)


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [("gzip, br", True), ("br;q=1.0, gzip;q=0.8", True), ("gzip;q=0", False), ("gzip;q=0.0", False), ("br", False)],
)
def test_whoever_takes_gzip_gets_it(pages: Pages, accepted: str, *, packed: bool) -> None:
    """And nobody else; the content is the same."""
    _, headers, body = _ask(pages, "/_app/immutable/style.css", ACCEPT_ENCODING=accepted)

    assert ("Content-Encoding" in headers) is packed
    assert (gzip.decompress(body) if packed else body).decode() == _LONG
    assert headers["Content-Length"] == str(len(body))


def test_server_sends_from_memory(pages: Pages) -> None:
    """A server that sends files by itself is given one, so that it holds no copy of a large one."""
    given: list[bytes] = []

    def wrapper(file: io.BytesIO) -> list[bytes]:
        given.append(file.read())
        return given

    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "wsgi.file_wrapper": wrapper}
    body = pages(environ, lambda *_: None)

    assert list(body) == given == [_PAGE.encode()]
    assert list(pages({**environ, "REQUEST_METHOD": "HEAD"}, lambda *_: None)) == []


def test_pictures_are_not_packed(pages: Pages) -> None:
    """They are already, by their own format."""
    assert "Content-Encoding" not in _ask(pages, "/icon.png", ACCEPT_ENCODING="gzip")[1]


def test_what_a_browser_has_is_not_sent_again(pages: Pages) -> None:
    """304 without a body and without a length, as long as the content is the same."""
    tag = _ask(pages, "/")[1]["ETag"]

    status, headers, body = _ask(pages, "/", IF_NONE_MATCH=f'W/"other", {tag}')

    assert (status, body) == ("304 Not Modified", b"")
    assert "Content-Length" not in headers
    assert _ask(pages, "/", IF_NONE_MATCH='"other"')[0] == "200 OK"


def test_head_has_no_body(pages: Pages) -> None:
    """But the headers of GET."""
    status, headers, body = _ask(pages, "/", "HEAD")

    assert (status, body) == ("200 OK", b"")
    assert headers["Content-Length"] == str(len(_PAGE))


@pytest.mark.parametrize("path", ["/nowhere", "/../etc/passwd", "/_app/", "//", ""])
def test_what_is_no_file_is_not_there(pages: Pages, path: str) -> None:
    """Paths are looked up among those read at the start: none leads out of the folder."""
    assert _ask(pages, path)[0] == "404 Not Found"


def test_nothing_is_written(pages: Pages) -> None:
    """Any other method is refused, with those that there are."""
    status, headers, _ = _ask(pages, "/", "POST")

    assert (status, headers["Allow"]) == ("405 Method Not Allowed", "GET, HEAD")


@pytest.mark.parametrize("path", ["/", "/icon.png", "/nowhere", "/healthz"])
def test_every_answer_is_kept_to_its_host(pages: Pages, path: str) -> None:
    """Whatever is answered, by the same policy."""
    headers = _ask(pages, path)[1]

    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "connect-src 'self';" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_inline_scripts_are_named_by_content() -> None:
    """The hash is of exactly what stands between the tags; a script of a file needs none."""
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()

    assert inline_scripts(_PAGE.encode()) == [f"'sha256-{digest}'"]
    assert f"script-src 'self' 'sha256-{digest}';" in policy(_PAGE.encode())
    assert "script-src 'self';" in policy(b"<!doctype html>")


def test_folder_without_a_page_is_refused(tmp_path: Path) -> None:
    """The error says what makes it."""
    with pytest.raises(FolderError, match=r"index.html does not exist; programs/chat-pages makes it"):
        read(tmp_path)


def test_unknown_type_is_refused(tmp_path: Path) -> None:
    """Nothing is sent without a type: the start fails, not a visitor's browser."""
    (tmp_path / "index.html").write_text("", "utf-8")
    (tmp_path / "thing.xyz").write_text("", "utf-8")

    with pytest.raises(FolderError, match=r"thing.xyz: nobody knows what type a file \*.xyz is of"):
        read(tmp_path)
