"""The REST endpoints over real sockets, with the simulated broker behind them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import aiohttp

from brokerpool import Instrument, Mode
from brokerpool.gateway.server import Gateway
from brokerpool.simulator import FaultOrder, KiteSimulator
from brokerpool.simulator.faults import Refuse, RefuseDial
from tests.gateway_client import KEY, client, gateway, pool_of, told
from tests.rehearsal import until

INFY = {"symbol": "INFY", "exchange": "NSE"}
CANDLES = "/instruments/historical/{token}/{interval}"
NOPE = {"symbol": "NOPE", "exchange": "NSE"}


class Answer(NamedTuple):
    status: int
    text: str
    headers: Any

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Program:
    """A client of the REST endpoints."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http

    async def post(self, name: str, *, key: str = KEY, **body: Any) -> Answer:
        return await self.send("POST", f"/api/v1/{name}", json={"apikey": key, **body})

    async def get(self, name: str, **query: str) -> Answer:
        return await self.send("GET", f"/api/v1/{name}", params={"apikey": KEY, **query})

    async def send(self, method: str, path: str, **options: Any) -> Answer:
        async with self._http.request(method, path, **options) as answer:
            return Answer(answer.status, await answer.text(), answer.headers)


@asynccontextmanager
async def serving(
    *, symbols: int = 30, **environ: str
) -> AsyncIterator[tuple[KiteSimulator, Gateway, Program]]:
    # Without the broker's rates and without pauses between repeats: no test waits for either.
    environ = {"BACKOFF_FACTOR": "0", **environ}
    async with (
        gateway({"http_rates": {}, "symbols": symbols}, **environ) as (broker, served_by),
        aiohttp.ClientSession(served_by.http_url) as http,
    ):
        yield broker, served_by, Program(http)


def asked(broker: KiteSimulator, path: str = "/quote") -> int:
    return int(broker.stats()["http_requests"].get(path, 0))


def test_a_quote_and_a_depth_are_the_brokers_and_compact() -> None:
    async def main() -> None:
        async with serving() as (broker, _, program):
            market = next(q for q in broker.market.quotes.values() if q.token == 408065)
            quote, other = await asyncio.gather(program.post("quotes", **INFY), program.post("depth", **INFY))
            assert asked(broker) == 1, "two programs, one call"
            assert quote.headers["Content-Type"] == "application/json"
            assert quote.text.startswith('{"status":"success","data":{"open":')
            assert " " not in quote.text
            data = quote.json["data"]
            assert data["ltp"] == market.ltp / 100
            assert data["prev_close"] == market.close / 100
            assert data["volume"] == market.volume
            depth = other.json["data"]
            bids = [(round(level["price"] * 100), level["quantity"]) for level in depth["bids"]]
            assert bids == list(zip(market.depth[1:15:3], market.depth[0:15:3], strict=True))
            assert data["bid"] == depth["bids"][0]["price"]
            assert data["ask"] == depth["asks"][0]["price"]

    asyncio.run(main())


def test_a_fresh_tick_of_the_feed_answers_without_a_call_and_says_so() -> None:
    async def main() -> None:
        async with serving() as (broker, served_by, program), client(served_by) as session:
            await session.subscribe("INFY", mode=3)
            await session.take(1)
            answer = (await program.post("quotes", **INFY)).json
            assert answer["live"] is True
            assert asked(broker) == 0
            results = (await program.post("multiquotes", symbols=[INFY, {**INFY, "symbol": "TCS"}])).json
            assert [r.get("live") for r in results["results"]] == [True, None]
            assert asked(broker) == 1
            broker.faults.refuse = RefuseDial(503)
            broker.kill(broker.sockets()[0]["id"])
            await until(lambda: served_by.upstream.gap(Instrument("NSE", "INFY")))
            answer = (await program.post("quotes", **INFY)).json
            assert "live" not in answer, "the feed has stopped"

    asyncio.run(main())


def test_multiquotes_are_one_call_and_tell_of_each_symbol_the_unknown_ones_first() -> None:
    async def main() -> None:
        async with serving() as (broker, _, program):
            lower = {"symbol": "INFY", "exchange": "nse"}
            answer = (await program.post("multiquotes", symbols=[INFY, NOPE, lower])).json
            assert asked(broker) == 1
            assert [(r["symbol"], r["exchange"], "data" in r) for r in answer["results"]] == [
                ("NOPE", "NSE", False),
                ("INFY", "NSE", True),
                ("INFY", "nse", True),
            ]
            none = await program.post("multiquotes", symbols=[NOPE, NOPE])
            assert none.status == 400
            assert [set(i) for i in none.json["invalid_symbols"]] == [{"symbol", "exchange", "error"}] * 2

    asyncio.run(main())


def test_seven_hundred_symbols_are_two_calls_and_a_streamed_answer_in_the_order_of_the_request() -> None:
    async def main() -> None:
        async with serving(symbols=700) as (broker, _, program):
            wanted = [{"symbol": row.tradingsymbol, "exchange": row.exchange} for row in broker.listings]
            results = (await program.post("multiquotes", symbols=wanted + wanted)).json["results"]
            assert [{name: r[name] for name in ("symbol", "exchange")} for r in results] == wanted + wanted
            assert all(r["data"]["ltp"] > 0 for r in results)
            assert asked(broker) == 2

    asyncio.run(main())


def test_candles_have_epoch_seconds_and_the_brokers_values() -> None:
    async def main() -> None:
        async with serving() as (broker, _, program):
            days = {"start_date": "2025-04-21", "end_date": "2025-04-25"}
            daily = (await program.post("history", **INFY, interval="D", **days)).json["data"]
            assert [datetime.fromtimestamp(c["timestamp"], UTC).isoformat() for c in daily] == [
                f"2025-04-{day}T00:00:00+00:00" for day in range(21, 26)
            ]
            assert asked(broker, CANDLES) == 1
            minutes = (await program.post("history", **INFY, interval="1m", **days)).json["data"]
            assert len(minutes) == 5 * 375, "streamed"
            assert minutes[0]["timestamp"] == int(
                datetime.fromisoformat("2025-04-21T09:15+05:30").timestamp()
            )
            assert minutes[0]["open"] == daily[0]["open"]
            assert sum(c["volume"] for c in minutes) == sum(c["volume"] for c in daily)
            week = {"from": "2025-04-21", "to": "2025-04-25", "format": "txt"}
            lines = (await program.get("ticker/NSE:INFY", **week)).text.splitlines()
            first = ",".join(str(daily[0][name]) for name in ("open", "high", "low", "close", "volume"))
            assert lines[0] == f"NSE:INFY,2025-04-21,{first}"
            years = {**week, "from": "2020-01-01", "interval": "5m"}
            lines = (await program.get("ticker/NSE:INFY", **years)).text.splitlines()
            assert lines[0].startswith("NSE:INFY,2025-03-26,09:15:00,"), "cut to 30 days"

    asyncio.run(main())


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


def test_history_refuses_what_it_cannot_answer() -> None:
    async def main() -> None:
        async with serving() as (broker, _, program):

            async def history(**changes: str) -> tuple[int, str, Any]:
                body = {"interval": "D", "start_date": "2025-04-21", "end_date": "2025-04-25", **changes}
                answer = await program.post("history", **INFY, **body)
                return answer.status, answer.json.get("code", ""), answer.json.get("message")

            assert (await history(interval="7m"))[:2] == (400, "INTERVAL_NOT_SUPPORTED")
            assert (await history(source="db"))[:2] == (404, "LOCAL_HISTORY_NOT_KEPT")
            assert (await history(start_date="2025-04-26"))[2].keys() == {"end_date"}
            assert (await history(start_date="21-04-2025"))[2].keys() == {"start_date"}
            status, _, message = await history(interval="1m", start_date="0001-01-01", end_date="9999-12-31")
            assert (status, message.keys()) == (400, {"start_date"}), "more calls than one request may cost"
            assert (await history(interval="7m", start_date="0001-01-01"))[1] == "INTERVAL_NOT_SUPPORTED"
            future = {"interval": "D", "start_date": "9998-01-01", "end_date": "9999-12-31"}
            answer = await program.post("history", **INFY, **future)
            assert answer.text == '{"status":"success","data":[]}'
            assert not asked(broker, CANDLES)

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


def test_the_brokers_429_becomes_ours_with_the_seconds_that_it_asked_for() -> None:
    async def main() -> None:
        async with serving() as (broker, _, program):
            await broker.throw(FaultOrder(refuse_http=Refuse(429, retry_after=30, path="/quote")))
            first = await program.post("quotes", **INFY)
            assert (first.status, first.json["code"]) == (429, "RATE_LIMITED")
            assert 25 <= first.json["retry_after"] <= 30
            assert int(first.headers["Retry-After"]) == first.json["retry_after"] >= 1
            calls = asked(broker)
            second = await program.post("quotes", **INFY)
            assert (second.status, second.json["code"]) == (429, "RATE_LIMITED")
            assert 25 <= second.json["retry_after"] <= 30
            assert asked(broker) == calls, "no call leaves while the broker holds us"

    asyncio.run(main())


def test_a_broker_that_fails_or_refuses_the_login_is_a_500_with_the_reason_and_no_secret() -> None:
    async def main() -> None:
        async with serving(MAX_RETRIES="0") as (broker, _, program):
            await broker.throw(FaultOrder(refuse_http=Refuse(503, path="/quote", count=1)))
            answer = await program.post("quotes", **INFY)
            assert (answer.status, answer.json["code"]) == (500, "BROKER_UNREACHABLE")
            broker.expire_token()
            for _ in range(2):
                answer = await program.post("quotes", **INFY)
                assert (answer.status, answer.json["code"]) == (500, "BROKER_REFUSED_CREDENTIALS")
                assert broker.access_token not in answer.text
                assert broker.api_key not in answer.text

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


def test_one_connection_to_the_broker_is_warm_before_the_first_question() -> None:
    async def main() -> None:
        async with serving() as (broker, served_by, program):
            await until(
                lambda: asked(broker, "unknown") and not served_by.stats()["http"]["active_connections"]
            )
            await program.post("quotes", **INFY)
            used = served_by.stats()["http"]
            assert (used["created"], used["reused"]) == (1, 1)

    asyncio.run(main())


def test_a_hole_in_the_feed_is_filled_from_quotes_marked_as_such_and_told_as_filled() -> None:
    async def main() -> None:
        async with serving() as (broker, served_by, _), client(served_by) as session:
            await session.subscribe("INFY", "TCS", mode=2)
            await session.take(2)
            broker.faults.refuse = RefuseDial(503)
            broker.kill(broker.sockets()[0]["id"])
            infy = Instrument("NSE", "INFY")
            await until(lambda: (gap := served_by.upstream.gap(infy)) and gap.filled)
            snapshots = await session.take(2)
            assert all(tick["snapshot"] is True for tick in snapshots)
            assert {tick["data"]["symbol"] for tick in snapshots} == {"INFY", "TCS"}
            quote = next(q for q in broker.market.quotes.values() if q.token == 408065)
            assert {t["data"]["ltp"] for t in snapshots if t["data"]["symbol"] == "INFY"} == {quote.ltp / 100}
            assert asked(broker) == 1, "one call for both"
            broker.faults.refuse = None
            pool_of(served_by).renew()
            await until(lambda: served_by.upstream.gap(infy) is None and told(served_by))
            await session.drain()
            over = [news for news in session.symbol_news if news["status"] == "gap"]
            assert {(news["symbol"], news["filled"]) for news in over} == {("INFY", True), ("TCS", True)}
            assert served_by.upstream.demand.mode(infy) == Mode.QUOTE

    asyncio.run(main())
