"""The API server, asked with the pod's own token: which routes there are, and what is ready behind them."""

import json
import os
import ssl
import threading
import time
from collections.abc import Callable
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, Final, cast

from .services import Service, services

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
ROUTES: Final = "/apis/gateway.networking.k8s.io/v1/httproutes"
SLICES: Final = "/apis/discovery.k8s.io/v1/endpointslices"
_SECONDS: Final = 5.0
"""An API server that answers later than this is as good as away; the page says so."""
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
            message = f"the API server answered {response.status} to a list of {path.rpartition('/')[2]}"
            raise ClusterError(message)
        return cast("list[dict[str, Any]]", json.loads(body)["items"])
    except (OSError, HTTPException, ValueError, KeyError) as error:
        message = f"the API server does not answer ({type(error).__name__})"
        raise ClusterError(message) from error
    finally:
        if connection is not None:
            connection.close()


class Discovery:
    """The services, asked for at most once in a while: however often the page is loaded, the API server rests."""

    def __init__(
        self,
        ask: Callable[[str], list[dict[str, Any]]] = listed,
        keep: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`keep`: seconds for which an answer is good."""
        self._ask, self._keep, self._clock = ask, keep, clock
        self._lock = threading.Lock()
        self._found: list[Service] | None = None
        self._until = 0.0

    def services(self) -> list[Service]:
        """Return the services; ClusterError when they cannot be had."""
        with self._lock:
            if self._found is None or self._clock() >= self._until:
                self._found = services(self._ask(ROUTES), self._ask(SLICES))
                self._until = self._clock() + self._keep
            return self._found
