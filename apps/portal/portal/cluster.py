"""Which services there are, and what is ready behind them: asked of the API server."""

import threading
import time
from collections.abc import Callable
from typing import Any, Final

from serving.cluster import ClusterError, listed

from .services import Service, World, services

__all__ = ["LISTENERS", "NAMESPACES", "POLICIES", "ROUTES", "SLICES", "TCP", "ClusterError", "Discovery", "listed"]

_GATEWAY: Final = "/apis/gateway.networking.k8s.io/v1"
ROUTES: Final = f"{_GATEWAY}/httproutes"
LISTENERS: Final = f"{_GATEWAY}/listenersets"
TCP: Final = (f"{_GATEWAY}/tcproutes", f"{_GATEWAY}/tlsroutes")
POLICIES: Final = "/apis/gateway.envoyproxy.io/v1alpha1/securitypolicies"
SLICES: Final = "/apis/discovery.k8s.io/v1/endpointslices"
NAMESPACES: Final = "/api/v1/namespaces"


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
                self._found = services(self._world())
                self._until = self._clock() + self._keep
            return self._found

    def _world(self) -> World:
        return World(
            routes=self._ask(ROUTES),
            slices=self._ask(SLICES),
            tcp=[route for path in TCP for route in self._ask(path)],
            listeners=self._ask(LISTENERS),
            policies=self._ask(POLICIES),
            namespaces=self._ask(NAMESPACES),
        )
