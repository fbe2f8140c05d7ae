"""The REST endpoints over real sockets, with the simulated broker behind them."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from brokerpool.simulator import FaultOrder
from tests.gateway_client import KEY
from tests.rehearsal import until
from tests.unit.rest_program import INFY, NOPE, Answer, asked, serving

FAULTY: list[tuple[str, dict[str, Any], int, str, set[str]]] = [
    ("quotes", NOPE, 400, "SYMBOL_NOT_FOUND", set()),
    ("quotes", {"symbol": "INFY"}, 400, "INVALID_PARAMETERS", {"exchange"}),
    ("quotes", {"symbol": 7, "exchange": "X"}, 400, "INVALID_PARAMETERS", {"symbol", "exchange"}),
    ("depth", NOPE, 400, "SYMBOL_NOT_FOUND", set()),
    ("multiquotes", {"symbols": []}, 400, "INVALID_PARAMETERS", {"symbols"}),
    ("multiquotes", {"symbols": [{"symbol": "A"}]}, 400, "INVALID_PARAMETERS", {"symbols.0.exchange"}),
    ("symbol", NOPE, 404, "SYMBOL_NOT_FOUND", set()),
    ("search", {"query": " "}, 400, "INVALID_PARAMETERS", {"query"}),
    (
        "expiry",
        {"symbol": "X", "exchange": "NSE", "instrumenttype": "x"},
        400,
        "INVALID_PARAMETERS",
        {"exchange", "instrumenttype"},
    ),
]


def test_a_faulty_request_is_told_by_field_and_an_unknown_symbol_by_code() -> None:
    async def main() -> None:
        async with serving() as (_, _, program):
            for name, body, status, code, fields in FAULTY:
                answer = await program.post(name, **body)
                told = answer.json
                assert (answer.status, told["status"], told["code"]) == (status, "error", code), name
                assert set(told["message"]) == fields if fields else isinstance(told["message"], str)
                assert KEY not in answer.text

    asyncio.run(main())


def test_a_wrong_key_is_refused_everywhere_and_the_slash_at_the_end_is_optional() -> None:
    async def main() -> None:
        async with serving() as (broker, _, program):
            for name, body in (("quotes", INFY), ("depth", INFY), ("symbol", INFY), ("ping", {})):
                answer = await program.post(name, key="wrong", **body)
                assert (answer.status, answer.json["code"]) == (403, "AUTHENTICATION_ERROR"), name
            assert (await program.get("instruments", apikey="wrong")).status == 403
            assert asked(broker) == 0
            pong = await program.post("ping/")
            assert pong.text == '{"status":"success","data":{"message":"pong","broker":"zerodha"}}'

    asyncio.run(main())


def test_more_requests_than_the_limit_are_told_when_to_come_back_and_wrong_keys_slow_nobody() -> None:
    async def main() -> None:
        async with serving(API_RATE_LIMIT="3 per hour") as (_, _, program):
            wrong = [(await program.post("ping", key="wrong")).status for _ in range(4)]
            faulty = await program.post("quotes")
            assert [*wrong, faulty.status] == [403, 403, 403, 429, 429]
            assert [(await program.post("ping")).status for _ in range(3)] == [200] * 3
            answer = await program.post("ping")
            assert (answer.status, answer.json["code"]) == (429, "API_RATE_LIMIT_REACHED")
            assert 3590 < answer.json["retry_after"] <= 3600
            assert answer.headers["Retry-After"] == str(answer.json["retry_after"])
            assert (await program.send("GET", "/health/live")).status == 200

    asyncio.run(main())


def test_what_does_not_exist_is_told_in_the_same_shape() -> None:
    async def main() -> None:
        async with serving() as (_, _, program):
            for method, path, status in (("GET", "/nothing", 404), ("GET", "/api/v1/quotes", 405)):
                answer = await program.send(method, path)
                assert (answer.status, answer.json["code"]) == (status, "UNKNOWN_ENDPOINT")
            large = await program.send("POST", "/api/v1/quotes", data=b"x" * 300_000)
            assert (large.status, large.json["code"]) == (413, "REQUEST_TOO_LARGE")
            bodies = {
                b"{": "JSON decode error",
                b"[" * 200_000: "cannot be read",
                b'{"apikey":\xff}': "cannot be read",
                b'{"apikey":' + b"1" * 5000 + b"}": "cannot be read",
            }
            for body, message in bodies.items():
                headers = {"Content-Type": "application/json"}
                answer = await program.send("POST", "/api/v1/quotes", data=body, headers=headers)
                assert (answer.status, answer.json["message"]) == (400, {"body": [message]}), body[:20]

    asyncio.run(main())


def test_a_large_body_is_not_looked_at_before_its_key_and_its_first_fault_is_told() -> None:
    faulty = ",".join(["{}"] * 60_000)

    async def main() -> None:
        async with serving(API_RATE_LIMIT="8 per hour") as (_, _, program):
            headers = {"Content-Type": "application/json"}

            async def ask(key: str) -> Answer:
                body = f'{{{key}"symbols":[{faulty}]}}'.encode()
                return await program.send("POST", "/api/v1/multiquotes", data=body, headers=headers)

            wrong, none = await ask('"apikey":"wrong",'), await ask("")
            assert (wrong.status, wrong.json["code"]) == (403, "AUTHENTICATION_ERROR")
            assert (none.status, none.json["message"]) == (400, {"apikey": ["Field required"]})
            right = await ask(f'"apikey":"{KEY}",')
            assert (right.status, list(right.json["message"])) == (
                400,
                ["symbols.0.symbol", "symbols.0.exchange"],
            )
            statuses = [(await ask('"apikey":"wrong",')).status for _ in range(8)]
            assert statuses[-1] == 429, "each of them counts"

    asyncio.run(main())


def test_the_page_of_the_operations_loads_nothing_from_anywhere() -> None:
    async def main() -> None:
        async with serving() as (_, _, program):
            page = (await program.send("GET", "/docs")).text
            assert "POST /api/v1/quotes" in page
            assert "://" not in page
            assert "<script" not in page
            document = (await program.send("GET", "/openapi.json")).json
            assert "422" not in json.dumps(document)

    asyncio.run(main())


def test_requests_under_way_are_answered_when_the_gateway_stops_and_it_stops_in_time() -> None:
    async def main() -> None:
        async with serving() as (broker, served_by, program):
            await broker.throw(FaultOrder(latency_ms=5_000))
            request = asyncio.create_task(program.post("quotes", **INFY))
            await until(lambda: asked(broker))
            began = time.monotonic()
            await served_by.close()
            assert time.monotonic() - began < 8
            answer = await request
            assert (answer.status, answer.json["status"]) == (500, "error")

    asyncio.run(main())


def test_the_numbers_of_the_http_pool_stand_in_the_statistics_the_seeds_two_first() -> None:
    async def main() -> None:
        async with serving(POOL_MAXSIZE="7") as (_, _, program):
            stats = (await program.send("GET", "/stats")).json
            assert list(stats["http"])[:2] == ["pool_size", "active_connections"]
            assert stats["http"]["pool_size"] == 7
            assert {"websocket", "gateway"} < stats.keys()

    asyncio.run(main())
