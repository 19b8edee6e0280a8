"""What a service counts of itself, for Prometheus, on a port of its own: no route and no client leads there."""

import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from prometheus_client import Counter, Histogram, start_http_server

Start = Callable[..., object]
Application = Callable[[dict[str, Any], Any], Iterable[bytes]]

PORT: Final = 9090
HEALTH: Final = "/healthz"
"""Where the kubelet asks: what it hears tells nothing about those who use the service."""

REQUESTS: Final = Counter("http_requests", "Requests answered, by the status of the answer.", ["status"])
DURATION: Final = Histogram(
    "http_request_duration_seconds",
    "Seconds until an answer was ready.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
_FAILED: Final = "500"


def counted(application: Application) -> Application:
    """Return the application, each of its answers counted and its time taken."""

    def answer(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        if environ.get("PATH_INFO") == HEALTH:
            return application(environ, start)
        # An application that raises is answered 500 by the server.
        status, begun = _FAILED, time.perf_counter()

        def noted(line: str, headers: list[tuple[str, str]], *trouble: Any) -> object:  # noqa: ANN401 - WSGI's own
            nonlocal status
            status = line[:3]
            return start(line, headers, *trouble)

        try:
            return application(environ, noted)
        finally:
            DURATION.observe(time.perf_counter() - begun)
            REQUESTS.labels(status).inc()

    return answer


def tell(port: int = PORT) -> None:
    """Answer Prometheus, beside the service, from a thread of its own."""
    start_http_server(port)
