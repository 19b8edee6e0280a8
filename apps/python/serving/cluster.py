"""The API server, asked by a program in a pod with the pod's own token."""

import json
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any, Final, cast

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_SECONDS: Final = 5.0
"""An API server that answers later than this is as good as away."""
_OK: Final = 200


class ClusterError(Exception):
    """The API server could not be asked; the text may be shown to a person."""


@contextmanager
def asked(
    method: str,
    path: str,
    body: dict[str, Any] | None = None,
    account: Path = ACCOUNT,
    seconds: float = _SECONDS,
) -> Iterator[HTTPResponse]:
    """Ask, and give the answer of any status to be read; ClusterError when there is none, also while it is read.

    `seconds`: how long the API server may be silent.
    """
    connection: HTTPSConnection | None = None
    try:
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], int(os.environ["KUBERNETES_SERVICE_PORT"])
        context = ssl.create_default_context(cafile=str(account / "ca.crt"))
        connection = HTTPSConnection(host, port, timeout=seconds, context=context)
        # Read each time: the kubelet replaces the token before it expires.
        token = (account / "token").read_text("utf-8").strip()
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json", "Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        yield connection.getresponse()
    except (OSError, HTTPException, ValueError, KeyError) as error:
        message = f"the API server does not answer ({type(error).__name__})"
        raise ClusterError(message) from error
    finally:
        if connection is not None:
            connection.close()


@contextmanager
def answered(path: str, account: Path = ACCOUNT, seconds: float = _SECONDS) -> Iterator[HTTPResponse]:
    """Ask for something, and give the good answer to be read; ClusterError as `asked`, and for any other status."""
    with asked("GET", path, None, account, seconds) as response:
        if response.status != _OK:
            what = path.partition("?")[0].rpartition("/")[2]
            message = f"the API server answered {response.status} to a list of {what}"
            raise ClusterError(message)
        yield response


def listed(path: str, account: Path = ACCOUNT) -> list[dict[str, Any]]:
    """Return the objects of a list; ClusterError when the API server does not answer with one."""
    with answered(path, account) as response:
        return cast("list[dict[str, Any]]", json.loads(response.read())["items"])
