"""What Prometheus is told, by the names that Qdrant gives it, to whoever has a key."""

import hmac
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from resource import getpagesize
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    Metric,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from .store import Store

Start = Callable[..., object]
Application = Callable[[Mapping[str, Any], Start], Iterable[bytes]]

PATH: Final = "/metrics"
_SECONDS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)
_POINTS: Final = ("delete", "search", "query", "scroll", "count", "payload")
"""What follows `points` where it is no id."""
_STRANGE: Final = ("404", "501")
"""Answers to what is not there, or not spoken: such paths may be anything."""


def endpoint(path: str) -> str:
    """Return a path without the names in it: there are then as many as the protocol has."""
    parts = path.strip("/").split("/")
    match parts:
        case ["collections", "aliases"]:
            pass
        case ["collections", _, *rest]:
            parts[1] = "{name}"
            if rest[:1] == ["index"] and len(rest) > 1:
                parts[3:] = ["{field_name}"]
            elif rest[:1] == ["points"] and len(rest) > 1 and rest[1] not in _POINTS:
                parts[3:] = ["{id}"]
    return "/" + "/".join(parts)


class _Holdings(Collector):
    """Counts what the store holds, at the moment it is asked."""

    def __init__(self, store: "Store", version: str) -> None:
        self._store, self._version = store, version

    def collect(self) -> Iterator[Metric]:
        names = self._store.names()
        about = GaugeMetricFamily("app_info", "The server.", labels=["name", "version"])
        about.add_metric(["qdrant", self._version], 1)
        yield about
        yield GaugeMetricFamily("collections_total", "Collections.", len(names))
        points = GaugeMetricFamily("collection_points", "Points of a collection.", labels=["id"])
        for name in names:
            points.add_metric([name], self._store.get(name).shard.info().points_count)
        yield points
        pages = int(Path("/proc/self/statm").read_text("utf-8").split()[1])
        yield GaugeMetricFamily("memory_resident_bytes", "Memory of the process.", pages * getpagesize())


class Watched:
    """An application whose answers are counted, and which tells that to Prometheus."""

    def __init__(self, application: Application, store: "Store", version: str, keys: Sequence[str]) -> None:
        """Each of the `keys` shows the metrics; an empty one is none."""
        self._application, self._keys = application, [key.encode() for key in keys if key]
        # When each series began is no number that anybody asks for.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._registry.register(_Holdings(store, version))
        labels = ("method", "endpoint", "status")
        self._answers = Counter("rest_responses", "Answers.", labels, registry=self._registry)
        self._duration = Histogram(
            "rest_responses_duration_seconds",
            "Seconds until an answer was ready.",
            labels[:2],
            buckets=_SECONDS,
            registry=self._registry,
        )

    def __call__(self, environ: Mapping[str, Any], start: Start) -> Iterable[bytes]:
        """Answer one request."""
        path, method = environ.get("PATH_INFO", ""), environ["REQUEST_METHOD"]
        if path == PATH and method == "GET":
            return self._tell(environ, start)
        begun, status = time.perf_counter(), "500"

        def noted(line: str, headers: list[tuple[str, str]]) -> object:
            nonlocal status
            status = line[:3]
            return start(line, headers)

        body = self._application(environ, noted)
        if path.startswith(("/collections", "/aliases")) and status not in _STRANGE:
            shape = endpoint(path)
            self._answers.labels(method, shape, status).inc()
            self._duration.labels(method, shape).observe(time.perf_counter() - begun)
        return body

    def _tell(self, environ: Mapping[str, Any], start: Start) -> Iterable[bytes]:
        bearer = environ.get("HTTP_AUTHORIZATION", "")
        given = environ.get("HTTP_API_KEY") or (bearer[7:] if bearer[:7].lower() == "bearer " else "")
        sent = given.encode("utf-8", "surrogateescape")
        if not any([hmac.compare_digest(sent, key) for key in self._keys]):  # noqa: C419 - as long for every key
            start("401 Unauthorized", [("Content-Type", "text/plain"), ("Content-Length", "0")])
            return []
        body = generate_latest(self._registry)
        start("200 OK", [("Content-Type", CONTENT_TYPE_LATEST), ("Content-Length", str(len(body)))])
        return [body]
