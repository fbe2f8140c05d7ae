"""OpenAlgo's own SDK asks the gateway over REST, and gets what the simulated broker's market holds."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from brokerpool import ZerodhaFeed, fetch_instruments
from brokerpool.gateway.assembly import compose
from brokerpool.settings import Settings
from brokerpool.simulator import KiteSimulator

PROGRAM = Path(__file__).with_name("openalgo_rest_program.py")
KEY = "a-key-for-the-gateway"


async def the_sdks_answers() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return what the SDK got, and the broker's own quote and candles of the same market."""
    # The market stands still, and the broker's rates would only make the test wait.
    async with KiteSimulator(symbols=300, rate=0, http_rates={}) as broker:
        credentials = {
            "BROKERPOOL_API_KEY": KEY,
            "BROKERPOOL_BROKER_API_KEY": broker.api_key,
            "BROKERPOOL_BROKER_ACCESS_TOKEN": broker.access_token,
        }
        settings = Settings.load(environ={**credentials, "WEBSOCKET_PORT": "0", "BROKERPOOL_HTTP_PORT": "0"})
        feed = ZerodhaFeed(
            broker.api_key,
            broker.access_token,
            ws_url=broker.ws_url,
            http_url=broker.http_url,
            book=await fetch_instruments(broker.http_url),
        )
        gateway = compose(settings, feed)
        await gateway.start()
        try:
            program = await asyncio.create_subprocess_exec(
                *(sys.executable, str(PROGRAM), gateway.http_url, KEY, "a-wrong-key"),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            async with asyncio.timeout(60):
                out, err = await program.communicate()
            assert program.returncode == 0, err.decode()
        finally:
            await gateway.close()
        login = {"Authorization": f"token {broker.api_key}:{broker.access_token}"}
        async with aiohttp.ClientSession(broker.http_url, headers=login) as http:
            async with http.get("/quote?i=NSE:INFY") as answer:
                quote = (await answer.json())["data"]["NSE:INFY"]
            days = "from=2025-04-21+00:00:00&to=2025-04-25+23:59:59&oi=1"
            path = f"/instruments/historical/{quote['instrument_token']}"
            candles = {}
            for kind in ("day", "5minute"):
                async with http.get(f"{path}/{kind}?{days}") as answer:
                    candles[kind] = (await answer.json())["data"]["candles"]
    return json.loads(out.splitlines()[-1]), quote, candles


@pytest.fixture(scope="module")
def answers() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    return asyncio.run(the_sdks_answers())


def test_quotes_multiquotes_and_depth_are_the_brokers(answers: Any) -> None:
    sdk, quote, _ = answers
    expected = {
        "open": quote["ohlc"]["open"],
        "high": quote["ohlc"]["high"],
        "low": quote["ohlc"]["low"],
        "ltp": quote["last_price"],
        "ask": quote["depth"]["sell"][0]["price"],
        "bid": quote["depth"]["buy"][0]["price"],
        "prev_close": quote["ohlc"]["close"],
        "volume": quote["volume"],
        "oi": quote["oi"],
    }
    assert sdk["quotes"] == {"status": "success", "data": expected}
    stranger, infy = sdk["multiquotes"]["results"]
    assert (stranger["symbol"], "data" in stranger) == ("NOPE", False)
    assert infy == {"symbol": "INFY", "exchange": "NSE", "data": expected}
    depth = sdk["depth"]["data"]
    for ours, theirs in (("asks", "sell"), ("bids", "buy")):
        levels = [
            {"price": level["price"], "quantity": level["quantity"]} for level in quote["depth"][theirs]
        ]
        assert depth[ours] == levels
    assert (depth["ltq"], depth["totalbuyqty"], depth["totalsellqty"]) == (
        quote["last_quantity"],
        quote["buy_quantity"],
        quote["sell_quantity"],
    )


def test_history_is_a_data_frame_with_the_brokers_candles_under_indian_times(answers: Any) -> None:
    sdk, _, candles = answers
    assert len(sdk["daily"]) == 5
    for kind, rows in (("day", sdk["daily"]), ("5minute", sdk["minutes"])):
        assert len(rows) == len(candles[kind])
        for row, (at, *values) in zip(rows, candles[kind], strict=True):
            assert [row[name] for name in ("open", "high", "low", "close", "volume", "oi")] == values
            # Daily rows carry a day, others a time with its zone: "2025-04-21 09:15:00+05:30".
            told = row["timestamp"].replace(" ", "T")
            assert at.startswith(told if kind == "day" else told.removesuffix("+05:30"))


def test_intervals_are_the_brokers(answers: Any) -> None:
    assert answers[0]["intervals"]["data"] == {
        "seconds": [],
        "minutes": ["1m", "3m", "5m", "10m", "15m", "30m"],
        "hours": ["1h"],
        "days": ["D"],
        "weeks": [],
        "months": [],
    }


def test_symbol_search_expiry_and_instruments_tell_of_the_brokers_list(answers: Any) -> None:
    sdk, quote, _ = answers
    symbol = sdk["symbol"]["data"]
    assert (symbol["symbol"], symbol["instrumenttype"]) == ("INFY", "EQ")
    assert symbol["token"] == str(quote["instrument_token"])
    found = sdk["search"]["data"]
    assert found
    assert all(row["exchange"] == "NFO" and "NIFTY" in row["symbol"] for row in found)
    futures = {row["expiry"] for row in found if row["instrumenttype"] == "FUT" and row["name"] == "NIFTY"}
    assert set(sdk["expiry"]["data"]) == futures != set()
    listed = sdk["instruments"]
    assert {row["exchange"] for row in listed} == {"NSE"}
    assert {"symbol", "token", "lotsize", "tick_size"} < listed[0].keys()
    infy = next(row for row in listed if row["symbol"] == "INFY")
    assert infy["token"] == str(quote["instrument_token"])


def test_errors_are_told_as_the_sdk_tells_them(answers: Any) -> None:
    sdk, _, _ = answers
    assert (sdk["unknown"]["status"], sdk["unknown"]["code"]) == ("error", 400)
    assert "SYMBOL_NOT_FOUND" in sdk["unknown"]["message"]
    assert (sdk["wrong_key"]["status"], sdk["wrong_key"]["code"]) == ("error", 403)
