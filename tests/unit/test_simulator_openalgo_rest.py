"""The simulated OpenAlgo's REST API: market data, the list, the key, the rate."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from random import Random
from typing import Any

import aiohttp
import pytest

from brokerpool.brokers.limits_file import RateWindow
from brokerpool.simulator import FaultOrder, OpenAlgoSimulator, Refuse
from brokerpool.simulator.fault_switches import RefuseDial
from tests.unit.openalgo_client import INFY, ORDER, post, stranger
from tests.unit.simulator_client import run

NOPE = {"symbol": "NOPE", "exchange": "NSE"}


def broker(**options: Any) -> OpenAlgoSimulator:
    return OpenAlgoSimulator(**{"symbols": 200, "rate": 0, "http_rates": {}, **options})


async def data(server: OpenAlgoSimulator, call: str, **body: Any) -> Any:
    status, answer = await post(server, call, **body)
    assert (status, answer["status"]) == (200, "success"), answer
    return answer["data"]


def test_quotes_and_depth_tell_what_the_market_holds() -> None:
    async def main() -> None:
        async with broker() as server:
            await server.step(400)
            market = server.market.quotes[server.listings[1].token]
            quote = await data(server, "quotes", **INFY)
            assert quote == {
                "open": market.open / 100,
                "high": market.high / 100,
                "low": market.low / 100,
                "ltp": market.ltp / 100,
                "ask": market.depth[16] / 100,
                "bid": market.depth[1] / 100,
                "prev_close": market.close / 100,
                "volume": market.volume,
                "oi": 0,
            }
            depth = await data(server, "depth/", **INFY)
            assert depth["bids"][0] == {"price": quote["bid"], "quantity": market.depth[0]}
            assert depth["asks"][0] == {"price": quote["ask"], "quantity": market.depth[15]}
            assert [len(depth[side]) for side in ("bids", "asks")] == [5, 5]
            assert (depth["ltq"], depth["totalbuyqty"]) == (market.last_quantity, market.buy_total)
            assert depth["totalsellqty"] == market.sell_total

    run(main)


def test_many_quotes_come_as_results_with_the_unknown_ones_first() -> None:
    async def main() -> None:
        async with broker() as server:
            status, answer = await post(server, "multiquotes", symbols=[INFY, NOPE])
            assert status == 200
            assert answer.keys() == {"status", "results"}
            unknown, known = answer["results"]
            assert unknown == {**NOPE, "error": "NSE:NOPE is not listed"}
            assert known["data"] == await data(server, "quotes", **INFY)
            status, answer = await post(server, "multiquotes", symbols=[NOPE])
            assert (status, answer["status"]) == (400, "error")
            assert answer["invalid_symbols"] == [unknown]
            assert (await post(server, "multiquotes", symbols=[]))[0] == 400
            assert (await post(server, "multiquotes", symbols=[{}]))[0] == 400

    run(main)


def test_candles_have_epoch_seconds_and_days_midnight_utc() -> None:
    async def main() -> None:
        async with broker() as server:
            days = {"start_date": "2025-04-21", "end_date": "2025-04-25"}
            daily = await data(server, "history", **INFY, interval="D", **days)
            assert [row["timestamp"] for row in daily] == [1_745_193_600 + 86_400 * day for day in range(5)]
            hours = await data(server, "history", **INFY, interval="1h", **days)
            assert hours[0]["timestamp"] == 1_745_193_600 + (9 * 60 + 15) * 60 - 19_800
            assert hours[0].keys() == {"timestamp", "open", "high", "low", "close", "volume", "oi"}
            assert hours[0]["open"] == daily[0]["open"]
            intervals = await data(server, "intervals")
            assert intervals["minutes"] == ["1m", "3m", "5m", "10m", "15m", "30m"]
            assert (intervals["hours"], intervals["days"], intervals["seconds"]) == (["1h"], ["D"], [])
            for change, status in (
                ({"interval": "7m"}, 400),
                ({"start_date": "21-04-2025"}, 400),
                ({"end_date": "2025-04-20"}, 400),
                ({"source": "db"}, 404),
                ({"symbol": "NOPE"}, 400),
            ):
                body = {**INFY, "interval": "D", **days, **change}
                assert (await post(server, "history", **body))[0] == status, change

    run(main)


def test_the_list_is_told_in_openalgos_spelling() -> None:
    async def main() -> None:
        async with broker() as server, aiohttp.ClientSession(server.http_url) as http:
            told = await data(server, "symbol", **INFY)
            assert (told["symbol"], told["brsymbol"], told["lotsize"], told["id"]) == ("INFY", "INFY", 1, 2)
            assert (await data(server, "symbol", symbol="NIFTY", exchange="NSE_INDEX"))["brexchange"] == "NSE"
            assert (await post(server, "symbol", **NOPE))[0] == 404
            found = await data(server, "search", query="nifty 23400 CE", exchange="NFO")
            assert found
            assert all(row["symbol"].endswith("23400CE") and row["strike"] == 23400 for row in found)
            assert await data(server, "search", query="nothing such") == []
            expiries = await data(server, "expiry", symbol="NIFTY", exchange="NFO", instrumenttype="futures")
            day = expiries[0]
            future = f"NIFTY{day.replace('-', '')}FUT"
            told = await data(server, "symbol", symbol=future, exchange="NFO")
            assert (told["expiry"], told["instrumenttype"]) == (day, "FUT")
            assert len(expiries) == 3
            wrong = {"symbol": "NIFTY", "exchange": "NFO", "instrumenttype": "swaps"}
            assert (await post(server, "expiry", **wrong))[0] == 400

            query = {"apikey": server.api_key, "exchange": "NFO"}
            async with http.get("/api/v1/instruments", params=query) as answer:
                rows = (await answer.json())["data"]
            assert {row["exchange"] for row in rows} == {"NFO"}
            async with http.get("/api/v1/instruments", params={**query, "format": "csv"}) as answer:
                read = list(csv.DictReader(io.StringIO(await answer.text())))
            assert [row["symbol"] for row in read] == [row["symbol"] for row in rows]
            async with http.get("/api/v1/instruments", params={**query, "format": "xml"}) as answer:
                assert answer.status == 400
            async with http.get("/api/v1/instruments/", params={"apikey": "wrong"}) as answer:
                assert answer.status == 403
            async with http.get("/api/v1/instruments", params={"apikey": server.api_key}) as answer:
                assert len((await answer.json())["data"]) == 200

    run(main)


def test_answers_have_no_blanks_and_a_ping_is_a_pong() -> None:
    async def main() -> None:
        async with (
            broker(behind="dhan") as server,
            aiohttp.ClientSession(server.http_url) as http,
            http.post("/api/v1/ping", json={"apikey": server.api_key}) as answer,
        ):
            pong = '{"status":"success","data":{"message":"pong","broker":"dhan"}}'
            assert await answer.text() == pong

    run(main)


def test_a_wrong_key_is_403_and_for_depth_404() -> None:
    async def main() -> None:
        async with broker() as server, aiohttp.ClientSession(server.http_url) as http:
            for call, status in (("quotes", 403), ("history", 403), ("placeorder", 403), ("depth", 404)):
                answered = await post(server, call, key="wrong", **INFY)
                assert answered[0] == status, call
                assert answered[1]["status"] == "error"
            for body in ("{", "[]", '{"apikey": 7}', "{}"):
                async with http.post("/api/v1/quotes", data=body) as answer:
                    assert answer.status == 400, body
            async with http.post("/api/v1/quotes", json={}) as answer:
                assert (await answer.json())["message"].keys() == {"apikey"}
            assert (await post(server, "quotes", symbol="INFY"))[0] == 400
            assert (await post(server, "nothing"))[0] == 404

    run(main)


def test_the_fifty_first_call_of_a_second_waits_as_it_is_told() -> None:
    now = 1_790_000_000.0

    async def main() -> None:
        nonlocal now
        async with OpenAlgoSimulator(symbols=3, rate=0, clock=lambda: now) as server:
            answers = await asyncio.gather(*(post(server, "ping") for _ in range(51)))
            assert sorted(status for status, _ in answers) == [200] * 50 + [429]
            late = next(answer for status, answer in answers if status == 429)
            assert (late["status"], late["retry_after"]) == ("error", 60)
            now += 0.99
            assert (await post(server, "ping", key="wrong"))[0] == 429, "the window moves"
            now += 0.02
            assert (await post(server, "ping"))[0] == 200
            assert server.stats()["too_fast"] == {"api": 2}
        async with OpenAlgoSimulator(symbols=3, rate=0, http_rates={"api": [RateWindow(1, 60.0)]}) as server:
            assert [(await post(server, "ping"))[0] for _ in range(2)] == [200, 429]

    run(main)


def test_a_burst_of_429_on_command_says_how_long_to_wait() -> None:
    async def main() -> None:
        async with broker() as server, aiohttp.ClientSession(server.http_url) as http:
            await server.throw(FaultOrder(refuse_http=Refuse(429, retry_after=2, count=3)))
            for _ in range(3):
                async with http.post("/api/v1/ping", json={"apikey": server.api_key}) as answer:
                    assert (answer.status, answer.headers["Retry-After"]) == (429, "2")
                    assert (await answer.json())["retry_after"] == 2
            assert (await post(server, "ping"))[0] == 200

    run(main)


def test_dials_are_refused_on_command_in_openalgos_words() -> None:
    async def main() -> None:
        async with broker() as server:
            await server.throw(FaultOrder(refuse=RefuseDial(503, retry_after=1, count=1)))
            with pytest.raises(Exception, match="503") as refused:
                await stranger(server).__aenter__()
            response = refused.value.response  # type: ignore[attr-defined]
            assert json.loads(response.body)["status"] == "error"
            async with stranger(server) as client:
                await client.nothing_more()

    run(main)


def test_its_own_switches_are_thrown_by_the_control_endpoint_and_no_others() -> None:
    async def main() -> None:
        async with broker() as server, aiohttp.ClientSession(server.control_url) as control:
            switches = {"variety": "seconds", "refuse_symbols": {"NSE:INFY": "no"}, "latency_ms": 1}
            async with control.post("/faults", json=switches) as answer:
                assert switches.items() <= (await answer.json()).items()
            async with control.post("/faults", json={"refuse_symbols": None}) as answer:
                assert (await answer.json())["refuse_symbols"] is None
            async with control.post("/faults", json={"variety": "none"}) as answer:
                assert answer.status == 400
            async with control.post("/faults", json={"gravity": 1}) as answer:
                assert "login_delay_ms" in (await answer.json())["error"]

    run(main)


def test_whatever_a_body_holds_the_answer_is_json_and_no_failure_of_the_server() -> None:
    chance = Random(15)
    calls = ("quotes", "multiquotes", "depth", "history", "symbol", "search", "expiry", "orderstatus")
    orders = ("placeorder", "placesmartorder", "basketorder", "modifyorder", "cancelorder")
    good = {
        **ORDER,
        "orderid": "1",
        "interval": "D",
        "position_size": "1",
        "query": "INFY",
        "orders": [ORDER],
    }
    odd: list[Any] = [None, True, -1, 1.5, "", "x", "1e999", 10**30, [], [1], [{}], {}, {"symbol": []}]

    async def main() -> None:
        async with broker(symbols=5) as server, aiohttp.ClientSession(server.http_url) as http:
            for _ in range(400):
                body = {**good, **{name: chance.choice(odd) for name in chance.sample(sorted(good), 2)}}
                path = f"/api/v1/{chance.choice(calls + orders)}"
                async with http.post(path, json={**body, "apikey": server.api_key}) as answer:
                    assert answer.status in (200, 400, 404), body
                    assert (await answer.json())["status"] in ("success", "error")

    run(main)
