"""What browsers and monitors ask of the HTTP listener besides GET and POST: HEAD, and CORS."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp

from brokerpool.gateway.server import Gateway
from tests.gateway_client import KEY, gateway
from tests.rehearsal import until

CHART, EVIL = "https://chart.example", "https://evil.example"


async def ask(
    served_by: Gateway, method: str, path: str, *, json: Any = None, **headers: str
) -> tuple[int, Mapping[str, str], bytes]:
    async with (
        aiohttp.ClientSession() as http,
        http.request(
            method,
            served_by.http_url.replace("0.0.0.0", "127.0.0.1") + path,
            json=json,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
            allow_redirects=False,
        ) as answer,
    ):
        return answer.status, answer.headers, await answer.read()


def cors(headers: Mapping[str, str]) -> dict[str, str]:
    """Return what an answer tells a browser about pages of other origins."""
    start = "access-control-"
    return {k.lower().removeprefix(start): v for k, v in headers.items() if k.lower().startswith(start)}


def test_head_is_answered_as_get_without_a_body_wherever_get_is_and_by_the_same_rules() -> None:
    async def main() -> None:
        async with gateway(BROKERPOOL_HTTP_HOST="0.0.0.0") as (_, served_by):
            instruments = f"/api/v1/instruments?apikey={KEY}"
            for path in (
                *("/health", "/health/live", "/health/ready", "/docs", "/openapi.json", "/nowhere"),
                *("/dashboard", "/dashboard/static/", "/metrics", "/stats", "/journal", "/explain/NSE:INFY"),
                *(instruments, f"{instruments}&format=csv", "/api/v1/instruments", "/api/v1/ping"),
            ):
                for keyed in ({}, {"X_API_KEY": KEY}):
                    status, got, body = await ask(served_by, "GET", path, **keyed)
                    headed = await ask(served_by, "HEAD", path, **keyed)
                    assert (headed[0], headed[2]) == (status, b""), path
                    assert body or status != 200
                    steady = {"Date", "Content-Length"}
                    assert {k: v for k, v in headed[1].items() if k not in steady} == {
                        k: v for k, v in got.items() if k not in steady
                    }
            assert (await ask(served_by, "DELETE", "/health"))[1]["Allow"] == "GET, HEAD"
            assert (await ask(served_by, "GET", "/api/v1/ping"))[1]["Allow"] == "POST"

    asyncio.run(main())


def test_head_of_a_stream_ends_at_once_and_the_connection_serves_the_next_request() -> None:
    async def main() -> None:
        async with gateway() as (_, served_by), aiohttp.ClientSession() as http:
            key = {"Authorization": f"Bearer {KEY}"}
            for _ in range(3):
                async with (
                    asyncio.timeout(3),
                    http.head(f"{served_by.http_url}/dashboard/stream", headers=key) as head,
                ):
                    assert head.status == 200
            await until(lambda: not served_by._broadcast._viewers)
            async with http.get(f"{served_by.http_url}/health/live") as answer:
                assert answer.status == 200

    asyncio.run(main())


def test_an_allowed_page_is_allowed_in_every_answer_and_another_in_none() -> None:
    async def main() -> None:
        limits = {
            "BROKERPOOL_ALLOWED_ORIGINS": f"https://other.example, {CHART}:443/",
            "API_RATE_LIMIT": "20 per hour",
        }
        async with gateway(BROKERPOOL_HTTP_HOST="0.0.0.0", **limits) as (_, served_by):
            served_by._health.stats = None  # type: ignore[method-assign, assignment]  # a fault of our own
            keyed = {"apikey": KEY}
            requests: dict[int, tuple[str, str, Any]] = {
                200: ("POST", "/api/v1/ping", keyed),
                400: ("POST", "/api/v1/quotes", keyed),
                401: ("GET", "/stats", None),
                403: ("POST", "/api/v1/ping", {"apikey": "wrong"}),
                404: ("GET", "/health/nowhere", None),
                405: ("GET", "/api/v1/ping", None),
                413: ("POST", "/api/v1/ping", {"apikey": "x" * 300_000}),
                500: ("GET", "/stats", None),
            }
            for origin, allowed in (
                (CHART, True),
                ("http://127.0.0.1:3000", True),
                (EVIL, False),
                (None, False),
            ):
                for status, (method, path, body) in requests.items():
                    page = {"Origin": origin} if origin else {}
                    if status == 500:
                        page["X_API_KEY"] = KEY
                    answered = await ask(served_by, method, path, json=body, **page)
                    assert answered[0] == (403 if origin == EVIL else status), (origin, path)
                    assert "Origin" in answered[1]["Vary"]
                    assert cors(answered[1]) == (
                        {
                            "allow-origin": origin,
                            "allow-credentials": "true",
                            "expose-headers": "Retry-After, ETag",
                        }
                        if allowed
                        else {}
                    ), (origin, status)
            for _ in range(21):
                limited = await ask(served_by, "POST", "/api/v1/ping", json=keyed, Origin=CHART)
            assert (limited[0], cors(limited[1])["allow-origin"]) == (429, CHART)
            assert limited[1]["Retry-After"]

    asyncio.run(main())


def test_before_a_request_with_a_key_a_browser_is_told_that_an_allowed_page_may_send_it() -> None:
    async def main() -> None:
        async with gateway(BROKERPOOL_ALLOWED_ORIGINS=CHART, BROKERPOOL_HTTP_HOST="0.0.0.0") as (
            _,
            served_by,
        ):
            asks = {
                "Access_Control_Request_Method": "POST",
                "Access_Control_Request_Headers": "authorization,content-type,x-api-key,traceparent",
                "Access_Control_Request_Private_Network": "true",
            }
            for path in ("/api/v1/history", "/stats", "/dashboard/stream"):
                status, headers, body = await ask(served_by, "OPTIONS", path, Origin=CHART, **asks)
                assert (status, body) == (204, b"")
                assert cors(headers) == {
                    "allow-origin": CHART,
                    "allow-credentials": "true",
                    "allow-methods": "GET, HEAD, POST",
                    "allow-headers": "authorization,content-type,x-api-key,traceparent",
                    "allow-private-network": "true",
                    "max-age": "600",
                    "expose-headers": "Retry-After, ETag",
                }
                for strangers in (
                    {"Origin": EVIL},
                    {"Origin": CHART, "Host": "evil.example"},
                    {"Origin": "null"},
                ):
                    status, headers, _ = await ask(served_by, "OPTIONS", path, **strangers, **asks)
                    assert (status, cors(headers)) == (403, {}), strangers
            # What is no question of a browser's is a request as any other.
            assert (await ask(served_by, "OPTIONS", "/api/v1/history", Origin=CHART))[0] == 405

    asyncio.run(main())


def test_where_every_page_may_ask_none_may_use_what_the_browser_keeps_for_its_user() -> None:
    async def main() -> None:
        async with gateway(BROKERPOOL_ALLOWED_ORIGINS=f"*, {CHART}") as (_, served_by):
            for origin, allowed in {
                EVIL: {"allow-origin": "*"},
                "null": {"allow-origin": "*"},
                CHART: {"allow-origin": CHART, "allow-credentials": "true"},
            }.items():
                headers = (await ask(served_by, "GET", "/health/live", Origin=origin))[1]
                assert cors(headers) == {**allowed, "expose-headers": "Retry-After, ETag"}
                # It asks from this machine, and yet is somebody else's.
                assert (await ask(served_by, "GET", "/stats", Origin=origin))[0] == 401
                assert (await ask(served_by, "GET", "/stats", Origin=origin, X_API_KEY=KEY))[0] == 200
            assert (await ask(served_by, "GET", "/stats", Origin=served_by.http_url))[0] == 200

    asyncio.run(main())
