"""Serve on port 8080 until told to stop; the APIs are in the file that APIS names."""

import json
import os
import sys
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from serving import begin, serve

from .app import Application, Host
from .check import Checker
from .health import PATIENCE, Health, pods
from .places import Places, active
from .protocol import Api
from .sessions import asked
from .tracing import traced

BODY: Final = 4 * 1024 * 1024
"""Bytes of a body: the gateway passes on no more."""
_OK: Final = 200


def configured(text: str) -> dict[str, Api]:
    """Return the APIs of a configuration, by host; raise ValueError or TypeError, in words, for one that is none."""
    found = json.loads(text)
    return {host: Api(**{**fields, "paths": tuple(fields["paths"])}) for host, fields in found.items()}


def models(server: str) -> Callable[[], list[dict[str, Any]]]:
    """Return how to ask a model server which models it has."""
    parts = urlsplit(server)

    def ask() -> list[dict[str, Any]]:
        connection = HTTPConnection(parts.hostname or "", parts.port or 80, timeout=PATIENCE)
        try:
            connection.request("GET", "/v1/models")
            response = connection.getresponse()
            text = response.read()
        except HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()
        if response.status != _OK:
            raise OSError(response.status)
        return list(json.loads(text)["data"])

    return ask


def application(text: str) -> Application:
    """Return the application of a configuration."""

    def made(api: Api) -> Host:
        places = Places(api.places, active(api.server))
        sessions = asked(api.sessions) if api.sessions else None
        return Host(Checker(api), Health(pods(api.server)), models(api.server), places, sessions)

    return Application({host: made(api) for host, api in configured(text).items()})


def main() -> None:
    """Answer as long as nobody ends it."""
    begin()
    file = os.environ.get("APIS", "")
    try:
        made = application(Path(file).read_text("utf-8"))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        sys.exit(f"APIS={file}: {type(error).__name__}: {error}; it is set in the Deployment")
    # Waitress refuses a body of just so many.
    serve(traced(made), threads=8, body=BODY + 1)


if __name__ == "__main__":
    main()
