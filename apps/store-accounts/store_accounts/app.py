"""The WSGI application: whether every account is as declared, for probes and people."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from .keeper import Keeper

Start = Callable[[str, list[tuple[str, str]]], object]
_STUCK: Final = 600.0
"""Seconds without a whole round after which the process counts as stuck: clients have timeouts of their own."""


def application(keeper: Keeper) -> Callable[[Mapping[str, Any], Start], Iterable[bytes]]:
    """Return the application: /livez, /readyz, and what is known at /."""

    def answer(environ: Mapping[str, Any], start: Start) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        good, known = keeper.report()
        if path == "/livez":
            good, known = keeper.alive(_STUCK), {}
        if path not in {"/", "/livez", "/readyz"}:
            start("404 Not Found", [("Content-Length", "0")])
            return []
        body = json.dumps(known, indent=1).encode() + b"\n"
        status = "200 OK" if good or path == "/" else "503 Service Unavailable"
        start(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    return answer
