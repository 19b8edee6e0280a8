"""Which services there are, and what is ready behind them: asked of the API server."""

import threading
import time
from collections.abc import Callable
from typing import Any, Final

from serving.cluster import ClusterError, listed

from .services import Service, services

__all__ = ["ROUTES", "SLICES", "ClusterError", "Discovery", "listed"]

ROUTES: Final = "/apis/gateway.networking.k8s.io/v1/httproutes"
SLICES: Final = "/apis/discovery.k8s.io/v1/endpointslices"


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
