"""Spans of the calls to the broker, for whoever collects them with OpenTelemetry."""

from __future__ import annotations

import time
from collections.abc import Callable

try:
    from opentelemetry.trace import SpanKind, Status, StatusCode, get_tracer
except ModuleNotFoundError:  # it comes with the extra "otel"
    INSTALLED = False
else:
    INSTALLED = True

_SERVER_ERROR = 500


def tracer(broker: str) -> Callable[[str, int | None, float, int], None]:
    """Return what makes one span of each call that has ended: method and path, status, seconds, attempts.

    Names are those of OpenTelemetry's HTTP conventions. Neither query, headers nor body is in a span. Until
    the process sets up an exporter, as `opentelemetry-instrument` does, spans go nowhere and cost next to
    nothing. Only where OpenTelemetry is INSTALLED.
    """
    spans = get_tracer("brokerpool")

    def carried(call: str, status: int | None, seconds: float, attempts: int) -> None:
        method, _, path = call.partition(" ")
        end = time.time_ns()
        attributes: dict[str, str | int] = {
            "http.request.method": method,
            "url.path": path,
            "http.request.resend_count": max(0, attempts - 1),
            "peer.service": broker,
        }
        if status is not None:
            attributes["http.response.status_code"] = status
        span = spans.start_span(
            call, kind=SpanKind.CLIENT, attributes=attributes, start_time=end - int(seconds * 1e9)
        )
        if status is None or status >= _SERVER_ERROR:
            span.set_status(Status(StatusCode.ERROR))
        span.end(end)

    return carried
