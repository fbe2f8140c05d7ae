"""The official dhanhq 2.3.0 at our simulator receives what our codec receives there, field by field."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from brokerpool import BrokerApi, Credentials
from brokerpool.brokers.dhan.account import DhanFeed
from brokerpool.brokers.dhan.codec import DhanWire
from brokerpool.brokers.dhan.subscribe_messages import CODES
from brokerpool.brokers.rest import Candle
from brokerpool.brokers.wire import ControlBatch
from brokerpool.instruments import Instrument
from brokerpool.simulator.dhan.broker import DhanSimulator
from brokerpool.simulator.dhan.http import LIST_PATH
from brokerpool.simulator.dhan.instruments import SEGMENTS, instrument_name
from brokerpool.simulator.history import IST
from brokerpool.ticks import Mode, QuoteTick, Tick
from brokerpool.transport import LinkHandler, dial
from tests.sdk.dhanhq_words import as_sdk, price
from tests.sdk.environments import python
from tests.sdk.sdk_process import Receiver, Sdk, running, until

CLIENT = Path(__file__).with_name("dhanhq_client.py")
TOKENS = 1_200
ROUNDS = 2
#: 2026-11-24, 12:00 in India, a Tuesday.
NOON = 1_795_501_800
NAMES = {number: name for name, number in SEGMENTS.items()}
EXCEEDED = "Disconnected: No. of active websocket connections exceeded"


@asynccontextmanager
async def sdk_at(broker: DhanSimulator) -> AsyncIterator[Sdk]:
    """Run the SDK against a simulated broker."""
    origin = urlsplit(broker.http_url)._replace(path=LIST_PATH).geturl()
    account = {"client_id": broker.api_key, "access_token": broker.access_token}
    told = {"ws_url": broker.ws_url, "http_url": broker.http_url, "list_url": origin, **account}
    async with running(python("dhan"), CLIENT, told, environ={"TZ": "Asia/Kolkata"}) as sdk:
        yield sdk


def address(broker: DhanSimulator) -> str:
    return f"{broker.ws_url}?version=2&token={broker.access_token}&clientId={broker.api_key}&authType=2"


def named(modes: Mapping[int, Mode]) -> list[tuple[int, str, int]]:
    return [(token & 0xFF, str(token >> 8), CODES[mode]) for token, mode in modes.items()]


def in_hundreds(modes: Mapping[int, Mode]) -> list[ControlBatch]:
    tokens = list(modes.items())
    return [ControlBatch(add=dict(tokens[at : at + 100])) for at in range(0, len(tokens), 100)]


class Seen(NamedTuple):
    """What both clients saw of one market."""

    #: By token, in order.
    by_sdk: dict[int, list[dict[str, Any]]]
    by_us: dict[int, list[Tick]]
    closes: dict[int, str]
    modes: dict[int, Mode]
    skipped: dict[str, int]
    printed: str
    evicted: list[dict[str, Any]]
    stats: dict[str, Any]
    over_limit: list[dict[str, Any]]


async def watch(broker: DhanSimulator) -> Seen:
    tokens = [listing.token for listing in broker.listings]
    modes = {token: Mode(number % 3 + 1) for number, token in enumerate(tokens[:TOKENS])}
    async with sdk_at(broker) as sdk:
        await sdk.ask("connect", named(modes))
        receiver = Receiver(DhanWire(), in_hundreds(modes), modes)
        links = [await dial(address(broker), receiver)]
        await until(lambda: [socket["entries"] for socket in broker.sockets()] == [TOKENS, TOKENS])
        await broker.step(len(tokens) * ROUNDS)
        messages = await sdk.ask("messages", TOKENS * ROUNDS)
        await until(lambda: len(receiver.ticks) >= TOKENS * ROUNDS)
        # Four more: the sixth socket ends the first, which is the SDK's.
        links += [await dial(address(broker), LinkHandler()) for _ in range(4)]
        printed = await sdk.ask("closed")
        # The SDK tells the broker's last packet at once; the socket under it is gone some moments later.
        await until(lambda: len(broker.sockets()) <= 5)
        evicted, stats = broker.sockets(), broker.stats()
        for link in links:
            link.close()
        await until(lambda: not broker.sockets())
        printed += await sdk.ask("dial_again", "wrong")
    async with sdk_at(broker) as sdk:
        await sdk.ask("connect", named(modes))
        await until(lambda: [socket["entries"] for socket in broker.sockets()] == [TOKENS])
        await sdk.ask("subscribe", named({tokens[TOKENS]: Mode.LTP}))
        await until(lambda: not broker.sockets())
        over_limit = [broker.stats()["violations"]]

    by_sdk, by_us, closes = defaultdict(list), defaultdict(list), {}
    for told in messages:
        token = told["security_id"] << 8 | told["exchange_segment"]
        if told["type"] == "Previous Close":
            closes[token] = told["prev_close"]
        elif told["type"] != "OI Data":
            by_sdk[token].append(told)
    for ours in receiver.ticks:
        by_us[int(ours.instrument.symbol)].append(ours)
    skipped = receiver.wire.skipped
    return Seen(by_sdk, by_us, closes, modes, skipped, printed, evicted, stats, over_limit)


@pytest.fixture(scope="module")
def seen() -> Seen:
    async def scenario() -> Seen:
        # One second further with each call: every round of the market has times of its own.
        times = itertools.count(NOON)
        async with DhanSimulator(
            symbols=TOKENS + 1, rate=0, snapshot=False, max_tokens=TOKENS, clock=lambda: float(next(times))
        ) as broker:
            return await watch(broker)

    return asyncio.run(asyncio.wait_for(scenario(), 90))


def test_both_receive_the_same_ticks_of_1200_symbols_in_three_modes(seen: Seen) -> None:
    assert len(seen.modes) == TOKENS
    assert set(seen.by_sdk) == set(seen.by_us) == set(seen.modes)
    assert {token & 0xFF for token in seen.modes} == {0, 1, 2, 3}
    compared = 0
    for token, ticks in seen.by_us.items():
        assert len(ticks) == ROUNDS
        assert {tick.mode for tick in ticks} == {seen.modes[token]}
        assert seen.by_sdk[token] == [as_sdk(tick, token, close=0.0) for tick in ticks]
        compared += len(ticks)
    assert compared == TOKENS * ROUNDS
    assert not any(seen.skipped.values())


def test_the_previous_close_that_the_sdk_is_told_apart_is_in_our_ticks(seen: Seen) -> None:
    assert set(seen.closes) == set(seen.modes)
    quotes = [(token, tick) for token, ticks in seen.by_us.items() for tick in ticks]
    told = [(token, tick) for token, tick in quotes if isinstance(tick, QuoteTick)]
    assert {seen.closes[token] == price(tick.close) for token, tick in told} == {True}
    assert any(tick.change for _, tick in told)


def test_each_mode_and_segment_was_among_them(seen: Seen) -> None:
    kinds = {(tick.mode, token & 0xFF) for token, ticks in seen.by_us.items() for tick in ticks}
    assert kinds == set(itertools.product(Mode, (0, 1, 2, 3)))


def test_a_sixth_socket_ends_the_first_and_the_sdk_knows_why(seen: Seen) -> None:
    assert EXCEEDED in seen.printed
    assert [socket["id"] for socket in seen.evicted] == [2, 3, 4, 5, 6]
    assert seen.stats["evictions"] == 1
    assert seen.stats["refusals"] == {}


def test_a_wrong_token_is_told_by_a_packet(seen: Seen) -> None:
    assert "Disconnected: Authentication Failed" in seen.printed


def test_one_instrument_too_many_ends_the_socket(seen: Seen) -> None:
    assert [violations["tokens"] for violations in seen.over_limit] == [1]


def test_the_http_client_reads_what_ours_reads(tmp_path: Path) -> None:
    async def main() -> None:
        async with DhanSimulator(symbols=1_050, rate=0, http_rates={}, clock=lambda: float(NOON)) as broker:
            await broker.step(3_000)
            account = DhanFeed(
                broker.api_key, broker.access_token, ws_url=broker.ws_url, http_url=broker.http_url
            )
            account.relist(await account.instruments())
            book = account.book
            some = list(book)[:700] + list(book)[-300:]
            asked: dict[str, list[int]] = {}
            for instrument in some:
                token = book.token(instrument)
                assert isinstance(token, int)
                asked.setdefault(NAMES[token & 0xFF], []).append(token >> 8)
            async with sdk_at(broker) as sdk, BrokerApi(account.rest()) as api:
                ltp, ohlc, quotes = await api.ltp(some), await api.ohlc(some), await api.quotes(some)
                theirs = {
                    name: (await sdk.ask("http", name, asked))["data"]["data"]
                    for name in ("ticker_data", "ohlc_data", "quote_data")
                }
                for instrument in some:
                    token = book.token(instrument)
                    assert isinstance(token, int)
                    place = NAMES[token & 0xFF], str(token >> 8)
                    last, day, full = (theirs[name][place[0]][place[1]] for name in theirs)
                    assert ltp[instrument].ltp == last["last_price"]
                    ours = ohlc[instrument]
                    told = {"open": ours.open, "high": ours.high, "low": ours.low, "close": ours.close}
                    assert (ours.ltp, told) == (day["last_price"], day["ohlc"])
                    tick = quotes[instrument].tick
                    assert full["ohlc"] == told
                    levels = {
                        side: [{"quantity": v.quantity, "orders": v.orders, "price": v.price} for v in levels]
                        for side, levels in (("buy", tick.buy), ("sell", tick.sell))
                    }
                    assert full["depth"] == levels
                    assert (tick.ltp, tick.volume, tick.oi) == (
                        full["last_price"],
                        full["volume"],
                        full["oi"],
                    )
                    assert (tick.oi_day_high, tick.oi_day_low) == (full["oi_day_high"], full["oi_day_low"])
                    assert tick.total_buy_quantity == full["buy_quantity"]
                    assert tick.total_sell_quantity == full["sell_quantity"]
                    assert tick.last_trade_quantity == full["last_quantity"]
                    assert tick.avg_trade_price == full["average_price"]
                    assert tick.change == pytest.approx(full["net_change"], abs=1e-4)
                for instrument in (some[0], some[-1]):
                    await compare_candles(broker, sdk, api, instrument, account)
                rows = await sdk.ask("list", str(tmp_path / "list.csv"))
                listed = {(row["SEM_SEGMENT"], row["SEM_SMST_SECURITY_ID"]) for row in rows}
                assert len(listed) == len(rows) == len(book) == len(broker.listings)
                broker.expire_token()
                dead = await sdk.ask("http", "historical_daily_data", "1594", "NSE_EQ", "EQUITY", "x", "y")
                assert dead["remarks"]["error_code"] == "DH-901"

    asyncio.run(asyncio.wait_for(main(), 90))


async def compare_candles(
    broker: DhanSimulator, sdk: Sdk, api: BrokerApi, instrument: Instrument, account: DhanFeed
) -> None:
    token = account.book.token(instrument)
    assert isinstance(token, int)
    row = next(row for row in broker.listings if row.token == token)
    begin, end = datetime(2026, 11, 20, 9, 15, tzinfo=IST), datetime(2026, 11, 24, 15, 30, tzinfo=IST)
    place = str(token >> 8), NAMES[token & 0xFF], instrument_name(row)
    days = await sdk.ask("http", "historical_daily_data", *place, "2026-11-20", "2026-11-25", 0, True)
    form = "%Y-%m-%d %H:%M:%S"
    minutes = await sdk.ask(
        "http", "intraday_minute_data", *place, begin.strftime(form), end.strftime(form), 15, True
    )
    for interval, theirs in (("D", days["data"]), ("15m", minutes["data"])):
        ours = await api.history(instrument, interval, begin, end)
        columns = ("timestamp", "open", "high", "low", "close", "volume", "open_interest")
        assert len(ours) > 2
        assert ours == [Candle(*row) for row in zip(*(theirs[name] for name in columns), strict=True)]


def test_the_renewed_token_of_the_simulator_is_one_that_the_adapter_dials_with() -> None:
    async def main() -> None:
        async with DhanSimulator(symbols=10, rate=0) as broker:
            account = DhanFeed(broker.api_key, broker.access_token, ws_url=broker.ws_url)
            broker.renew_token("next")
            account.login.renew(Credentials("next"))
            url, headers = await account.endpoint()
            link = await dial(url, LinkHandler(), headers=headers)
            await until(broker.sockets)
            link.close()

    asyncio.run(asyncio.wait_for(main(), 30))
