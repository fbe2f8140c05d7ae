"""Quotes, depth and candles over REST, with the simulated broker behind them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from brokerpool import Instrument, Mode
from brokerpool.simulator import FaultOrder
from brokerpool.simulator.fault_switches import Refuse, RefuseDial
from tests.gateway_client import client, pool_of, told
from tests.rehearsal import until
from tests.unit.rest_program import INFY, NOPE, asked, serving

CANDLES = "/instruments/historical/{token}/{interval}"


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
