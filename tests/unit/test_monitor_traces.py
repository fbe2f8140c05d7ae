"""OpenTelemetry spans of the calls to the broker: one a call, with its facts and no secret."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from brokerpool.monitor.traces import tracer
from brokerpool.simulator import FaultOrder, Refuse
from tests.gateway_client import KEY, gateway

EXPORTER = InMemorySpanExporter()
PROVIDER = TracerProvider()
PROVIDER.add_span_processor(SimpleSpanProcessor(EXPORTER))
trace.set_tracer_provider(PROVIDER)


@pytest.fixture(autouse=True)
def _no_spans_of_others() -> None:
    EXPORTER.clear()


def test_each_call_to_the_broker_is_a_span_that_lasted_as_long_as_the_call() -> None:
    async def main() -> None:
        async with gateway() as (broker, served_by), aiohttp.ClientSession(served_by.http_url) as http:
            body = {"apikey": KEY, "symbol": "INFY", "exchange": "NSE"}
            await broker.throw(FaultOrder(refuse_http=Refuse(503, count=1, path="/quote")))
            began = time.time_ns()
            async with http.post("/api/v1/quotes", json=body) as answer:
                assert answer.status == 200
            [span] = [span for span in EXPORTER.get_finished_spans() if span.name == "GET /quote"]
            assert span.kind is SpanKind.CLIENT
            assert span.attributes == {
                "http.request.method": "GET",
                "url.path": "/quote",
                "http.request.resend_count": 1,
                "http.response.status_code": 200,
                "peer.service": "zerodha",
            }
            assert span.status.status_code is StatusCode.UNSET
            assert began - 1_000_000 < (span.start_time or 0) < (span.end_time or 0) <= time.time_ns()
            told = span.to_json()
            assert broker.access_token not in told
            assert "INFY" not in told, "the query is no part of it"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("status", "expected"), [(None, StatusCode.ERROR), (503, StatusCode.ERROR), (429, StatusCode.UNSET)]
)
def test_a_call_without_an_answer_or_with_a_server_error_is_marked(
    status: int | None, expected: StatusCode
) -> None:
    tracer("zerodha")("POST /orders/regular", status, 0.25, 3)
    [span] = EXPORTER.get_finished_spans()
    assert span.status.status_code is expected
    assert (span.end_time or 0) - (span.start_time or 0) == 250_000_000
    assert span.attributes is not None
    assert span.attributes["http.request.resend_count"] == 2
    assert span.attributes.get("http.response.status_code") == status
