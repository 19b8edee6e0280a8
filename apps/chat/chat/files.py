"""The files of the pages, read once: they are part of the image, and nothing changes them."""

import base64
import gzip
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

INDEX: Final = "index.html"
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".ttf": "font/ttf",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
}
_PLAIN: Final = ("text/", "application/", "image/svg")
"""Types that grow smaller when they are compressed."""
_NAMED_BY_CONTENT: Final = "/immutable/"
_SCRIPT: Final = re.compile(rb"<script(\s[^>]*)?>(.*?)</script>", re.DOTALL | re.IGNORECASE)


class FolderError(Exception):
    """A folder that holds no pages; the text may be shown to a person."""


@dataclass(frozen=True, slots=True)
class File:
    """One file, ready to be sent."""

    kind: str
    body: bytes
    packed: bytes
    """The same as gzip; empty where that would not be shorter."""
    tag: str
    """Changes with the content."""
    lasting: bool
    """Whether its name changes with its content, so that a browser need never ask again."""


def read(folder: Path) -> dict[str, File]:
    """Return the files of a folder by their path in an address; `/` is the page itself.

    Raises FolderError where the page is missing, or a file is of a kind that nobody has named here.
    """
    found: dict[str, File] = {}
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        name = path.relative_to(folder).as_posix()
        if path.suffix not in _TYPES:
            message = f"{path}: nobody knows what type a file *{path.suffix} is of; apps/chat/chat/files.py names them"
            raise FolderError(message)
        found["/" if name == INDEX else f"/{name}"] = _file(f"/{name}", path.read_bytes(), _TYPES[path.suffix])
    if "/" not in found:
        message = f"{folder / INDEX} does not exist; programs/chat-pages makes it"
        raise FolderError(message)
    return found


def _file(name: str, body: bytes, kind: str) -> File:
    packed = gzip.compress(body, mtime=0) if kind.startswith(_PLAIN) else b""
    return File(
        kind=kind,
        body=body,
        packed=packed if len(packed) < len(body) else b"",
        tag=f'"{hashlib.sha256(body).hexdigest()[:32]}"',
        lasting=_NAMED_BY_CONTENT in name,
    )


def inline_scripts(page: bytes) -> list[str]:
    """Return the scripts that stand in a page itself, each as a source of a content security policy."""
    bodies = [body for attributes, body in _SCRIPT.findall(page) if b"src=" not in attributes]
    return [f"'sha256-{base64.b64encode(hashlib.sha256(body).digest()).decode()}'" for body in bodies]
