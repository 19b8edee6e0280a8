"""The API server, asked by a program in a pod with the pod's own token."""

import json
import os
import ssl
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, Final, cast

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_SECONDS: Final = 5.0
"""An API server that answers later than this is as good as away."""
_OK: Final = 200


class ClusterError(Exception):
    """The API server could not be asked; the text may be shown to a person."""


def listed(path: str, account: Path = ACCOUNT) -> list[dict[str, Any]]:
    """Return the objects of a list; ClusterError when the API server does not answer with one."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], int(os.environ["KUBERNETES_SERVICE_PORT"])
    connection: HTTPSConnection | None = None
    try:
        context = ssl.create_default_context(cafile=str(account / "ca.crt"))
        connection = HTTPSConnection(host, port, timeout=_SECONDS, context=context)
        # Read each time: the kubelet replaces the token before it expires.
        token = (account / "token").read_text("utf-8").strip()
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}", "Accept": "application/json"})
        response = connection.getresponse()
        body = response.read()
        if response.status != _OK:
            what = path.partition("?")[0].rpartition("/")[2]
            message = f"the API server answered {response.status} to a list of {what}"
            raise ClusterError(message)
        return cast("list[dict[str, Any]]", json.loads(body)["items"])
    except (OSError, HTTPException, ValueError, KeyError) as error:
        message = f"the API server does not answer ({type(error).__name__})"
        raise ClusterError(message) from error
    finally:
        if connection is not None:
            connection.close()
