"""The simulated Kite's HTTP API: instruments for everybody, quotes for the owner, errors in Kite's shape."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from brokerpool.brokers.zerodha.instruments import fetch_instruments
from brokerpool.instruments import Instrument
from brokerpool.simulator import KiteSimulator, Refuse


def with_broker(
    scenario: Callable[[KiteSimulator, aiohttp.ClientSession], Awaitable[None]], symbols: int = 100
) -> None:
    async def run() -> None:
        async with KiteSimulator(
            symbols=symbols, rate=0, http_rates={}, clock=lambda: 1_795_341_600.0
        ) as broker:
            headers = {
                "Authorization": f"token {broker.api_key}:{broker.access_token}",
                "X-Kite-Version": "3",
            }
            # The tests want to see the compressed bytes.
            async with aiohttp.ClientSession(
                broker.http_url, headers=headers, auto_decompress=False, max_line_size=2**17
            ) as session:
                await scenario(broker, session)

    asyncio.run(asyncio.wait_for(run(), 30))


async def get(session: aiohttp.ClientSession, path: str, *keys: str, **extra: Any) -> tuple[int, Any]:
    async with session.get(path, params=[("i", key) for key in keys], **extra) as response:
        return response.status, await response.json()


def test_the_instrument_file_is_compressed_and_needs_no_login() -> None:
    async def scenario(broker: KiteSimulator, session: aiohttp.ClientSession) -> None:
        for path, count in (("/instruments", 1_000), ("/instruments/NSE", 888), ("/instruments/CDS", 12)):
            async with session.get(path, headers={"Authorization": "none"}) as response:
                assert response.status == 200
                assert response.content_type == "text/csv"
                assert response.headers["Content-Encoding"] == "gzip"
                rows = list(csv.DictReader(io.StringIO(gzip.decompress(await response.read()).decode())))
            assert len(rows) == count
            exchange = path.removeprefix("/instruments").strip("/")
            assert [int(row["instrument_token"]) for row in rows] == [
                listing.token for listing in broker.listings if exchange in ("", listing.exchange)
            ]

    with_broker(scenario, symbols=1_000)


def test_the_adapter_finds_every_listing_in_the_instrument_file() -> None:
    async def scenario(broker: KiteSimulator, session: aiohttp.ClientSession) -> None:
        book = await fetch_instruments(broker.http_url)
        assert len(book) == len(broker.listings) == 3_000
        assert {book.token(instrument) for instrument in book} == {row.token for row in broker.listings}
        for instrument, token in (
            ("NSE:INFY", 408065),
            ("NSE_INDEX:NIFTY", 256265),
            ("NSE_INDEX:BANKNIFTY", 260105),
            ("NFO:NIFTY24NOV26FUT", (40_000 << 8) + 2),
            ("NFO:NIFTY24NOV2623400CE", (40_006 << 8) + 2),
            ("CDS:USDINR24NOV26FUT", (1_000 << 8) + 3),
        ):
            assert book.token(Instrument.parse(instrument)) == token

    with_broker(scenario, symbols=3_000)


def test_an_unknown_exchange_is_an_input_error() -> None:
    async def scenario(broker: KiteSimulator, session: aiohttp.ClientSession) -> None:
        status, body = await get(session, "/instruments/MOON")
        assert (status, body["error_type"]) == (400, "InputException")

    with_broker(scenario)


def test_quotes_have_kites_shape_and_unknown_instruments_are_missing() -> None:
    async def scenario(broker: KiteSimulator, session: aiohttp.ClientSession) -> None:
        await broker.step(500)
        quote = broker.market.quotes[408065]
        status, ltp = await get(session, "/quote/ltp", "NSE:INFY", "NSE:NOPE")
        assert status == 200
        assert ltp == {
            "status": "success",
            "data": {"NSE:INFY": {"instrument_token": 408065, "last_price": quote.ltp / 100}},
        }
        _, ohlc = await get(session, "/quote/ohlc", "NSE:INFY")
        assert ohlc["data"]["NSE:INFY"] == {
            "instrument_token": 408065,
            "last_price": quote.ltp / 100,
            "ohlc": {
                "open": quote.open / 100,
                "high": quote.high / 100,
                "low": quote.low / 100,
                "close": quote.close / 100,
            },
        }
        _, full = await get(session, "/quote", "NSE:INFY", "NSE:NIFTY 50", "CDS:USDINR26NOVFUT")
        infy = full["data"]["NSE:INFY"]
        assert infy["timestamp"] == infy["last_trade_time"] == "2026-11-22 15:30:00"
        assert infy["volume"] == quote.volume
        assert infy["net_change"] == (quote.ltp - quote.close) / 100
        assert [len(infy["depth"][side]) for side in ("buy", "sell")] == [5, 5]
        assert infy["depth"]["sell"][0] == {
            "quantity": quote.depth[15],
            "price": quote.depth[16] / 100,
            "orders": quote.depth[17],
        }
        assert "depth" not in full["data"]["NSE:NIFTY 50"]
        assert full["data"]["NSE:NIFTY 50"]["instrument_token"] == 256265
        assert 60 < full["data"]["CDS:USDINR26NOVFUT"]["last_price"] < 110

    with_broker(scenario)


def test_a_request_names_no_more_instruments_than_the_broker_allows() -> None:
    async def scenario(broker: KiteSimulator, session: aiohttp.ClientSession) -> None:
        keys = [listing.key for listing in broker.listings]
        for path, most in (("/quote", 500), ("/quote/ohlc", 1_000), ("/quote/ltp", 1_000)):
            status, body = await get(session, path, *keys[:most])
            assert (status, len(body["data"])) == (200, most)
            status, body = await get(session, path, *keys[: most + 1])
            assert (status, body["status"], body["error_type"]) == (400, "error", "InputException")
            assert str(most) in body["message"]
            status, body = await get(session, path)
            assert (status, body["error_type"]) == (400, "InputException")

    with_broker(scenario, symbols=1_100)


def test_quotes_need_the_credentials_of_today() -> None:
    async def scenario(broker: KiteSimulator, session: aiohttp.ClientSession) -> None:
        for header in ("", "token", f"token {broker.api_key}:wrong", f"Bearer {broker.access_token}"):
            status, body = await get(session, "/quote/ltp", "NSE:INFY", headers={"Authorization": header})
            assert (status, body["error_type"]) == (403, "TokenException")
        broker.expire_token()
        assert (await get(session, "/quote/ltp", "NSE:INFY"))[0] == 403
        broker.renew_token(broker.access_token)
        assert (await get(session, "/quote/ltp", "NSE:INFY"))[0] == 200
        assert broker.stats()["http_requests"] == {"/quote/ltp": 6}

    with_broker(scenario)


def test_requests_are_refused_on_command_and_while_the_broker_is_down() -> None:
    async def scenario(broker: KiteSimulator, session: aiohttp.ClientSession) -> None:
        broker.faults.refuse_http = Refuse(429, retry_after=7, count=1)
        async with session.get("/quote/ltp?i=NSE:INFY") as response:
            assert (response.status, response.headers["Retry-After"]) == (429, "7")
            assert (await response.json())["error_type"] == "NetworkException"
        await broker.down()
        assert (await get(session, "/instruments"))[0] == 503
        await broker.up()
        assert (await get(session, "/quote/ltp", "NSE:INFY"))[0] == 200

    with_broker(scenario)


def test_latency_delays_answers() -> None:
    async def scenario(broker: KiteSimulator, session: aiohttp.ClientSession) -> None:
        broker.faults.latency_ms = 50
        loop = asyncio.get_running_loop()
        began = loop.time()
        await get(session, "/quote/ltp", "NSE:INFY")
        assert 0.05 <= loop.time() - began < 10

    with_broker(scenario)
