"""The application's part of each trace, for the collector of OTEL_EXPORTER_OTLP_ENDPOINT; without one, for nobody."""

import os
from collections.abc import Iterable, Mapping
from typing import Any, Final

from serving import Application

_ASKED_BY_KUBELET: Final = "/healthz"
_CONTEXT: Final = ("traceparent", "tracestate")
_SERVERS_FAULT: Final = 500


def parent(environ: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers that say which trace a request is a part of."""
    return {name: environ[key] for name in _CONTEXT if (key := f"HTTP_{name.upper()}") in environ}


def attributes(environ: Mapping[str, Any]) -> dict[str, str]:
    """Return what is told of a request: no query, no body, and nothing of who asks."""
    return {
        "http.request.method": environ["REQUEST_METHOD"],
        "server.address": environ.get("HTTP_HOST", "").partition(":")[0],
        "url.path": environ.get("PATH_INFO", ""),
    }


def traced(application: Application, tracer: Any = None) -> Application:  # noqa: ANN401 - the library's, not always there
    """Return the application with a span around each request; the same application where nobody wants to know."""
    if tracer is None and "OTEL_EXPORTER_OTLP_ENDPOINT" not in os.environ:
        return application
    from opentelemetry.propagate import extract  # noqa: PLC0415 - costs memory, which core has no use for
    from opentelemetry.trace import SpanKind, StatusCode  # noqa: PLC0415

    tracer = tracer or _tracer()

    def around(environ: dict[str, Any], start: Any) -> Iterable[bytes]:  # noqa: ANN401 - as WSGI has it
        if environ.get("PATH_INFO") == _ASKED_BY_KUBELET:
            return application(environ, start)
        with tracer.start_as_current_span(
            "check", context=extract(parent(environ)), kind=SpanKind.SERVER, attributes=attributes(environ)
        ) as span:

            def begin(status: str, headers: list[tuple[str, str]], *rest: object) -> object:
                code = int(status[:3])
                span.set_attribute("http.response.status_code", code)
                if code >= _SERVERS_FAULT:
                    span.set_status(StatusCode.ERROR)
                return start(status, headers, *rest)

            return application(environ, begin)

    return around


def _tracer() -> Any:  # noqa: ANN401 - the library's, not always there
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    # Endpoint and name of the service come from the environment; what waits is sent at the end (atexit).
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider.get_tracer("api_check")
