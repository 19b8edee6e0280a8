"""Print a token got by a client's own key (OAuth 2.0 client credentials): `BETELGEUSE_TOKEN_COMMAND` of pods.

A process of its own, as for every token command: asking in a user's process would take time from the answers it times.
"""

import http.client
import json
import os
import sys
from base64 import b64encode
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from loadtests.connection import Failure, connection
from loadtests.scenario import InputError

ID: Final = "client-id"
KEY: Final = "client-secret"
_SECONDS: Final = 20.0
_FORM: Final = "application/x-www-form-urlencoded"


def fetch(url: str, folder: Path) -> str:
    """Return a token of the client whose id and key are files of a folder; RuntimeError with one line otherwise."""
    try:
        client, secret = ((folder / name).read_text("utf-8").strip() for name in (ID, KEY))
    except OSError as error:
        message = f"BETELGEUSE_CLIENT: cannot read {error.filename}: {error.strerror}"
        raise RuntimeError(message) from None
    server, host = connection(url), urlsplit(url).hostname
    # Shorter than a model's answers may take: users wait for it.
    server.timeout = _SECONDS
    basic = b64encode(f"{client}:{secret}".encode()).decode()
    headers = {"Content-Type": _FORM, "Accept": "application/json", "Authorization": f"Basic {basic}"}
    try:
        answer = json.loads(server.post("", b"grant_type=client_credentials", headers).read())
        return str(answer["access_token"])
    except (Failure, OSError, http.client.HTTPException) as error:
        message = f"{host} gives client {client} no token: {str(error) or type(error).__name__}"
    except (ValueError, KeyError, TypeError):
        message = f"{host} answered client {client} without a token"
    finally:
        server.close()
    raise RuntimeError(message)


def main() -> int:
    """Print the token, or why there is none."""
    try:
        token = fetch(os.environ.get("BETELGEUSE_TOKEN_URL", ""), Path(os.environ.get("BETELGEUSE_CLIENT", "")))
    except (RuntimeError, InputError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{token}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
