"""The official upstox-python-sdk 2.30.0 at our simulator receives what our adapter does, field by field."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from brokerpool import BrokerApi
from brokerpool.brokers.upstox import UpstoxFeed, UpstoxWire
from brokerpool.brokers.wire import ControlBatch
from brokerpool.simulator.upstox import instruments
from brokerpool.simulator.upstox.broker import UpstoxSimulator
from brokerpool.ticks import DepthTick, Mode, Tick
from brokerpool.transport import DialError, LinkHandler, dial
from tests.sdk import environments
from tests.sdk.sdk_process import Receiver, Sdk, running, until
from tests.sdk.upstox_words import of_ours, of_theirs

PROGRAM = Path(__file__).with_name("upstox_program.py")
SYMBOLS = 3_000
#: These go from full to ltpc before the market trades.
CHANGED = 100
ROUNDS = 2
#: In mode option_greeks at the SDK alone: no tick of ours has greeks.
GREEKS = 200
IST = timezone(timedelta(hours=5, minutes=30))


class Seen(NamedTuple):
    """What both clients saw of one market."""

    #: By key, in order, each row with the time of its message.
    by_sdk: dict[str, list[tuple[int, dict[str, Any]]]]
    by_us: dict[str, list[Tick]]
    first: dict[str, Any]
    modes: dict[str, Mode]
    greeks: list[str]
    third_socket: str
    our_third_socket: int | None
    wrong_token: str
    sockets: list[dict[str, Any]]
    #: By name of the SDK's method; and ours.
    http: dict[str, Any]
    ours: dict[str, Any]
    skipped: dict[str, int]
    broker: UpstoxSimulator


def carried(broker: UpstoxSimulator) -> list[int]:
    return [len(socket["tokens"]) for socket in broker.sockets()]


async def watch(broker: UpstoxSimulator, advance: Callable[[], None], python: Path) -> Seen:
    keys = [instruments.key(listing) for listing in broker.listings]
    options = [instruments.key(listing) for listing in broker.listings if listing.kind in ("CE", "PE")]
    greeks = options[:GREEKS]
    # Every second one in each mode, so that each has all kinds of instruments.
    wanted = [key for key in keys if key not in set(greeks)]
    modes = {key: Mode.DEPTH if n % 2 else Mode.LTP for n, key in enumerate(wanted)}
    full = [key for key, mode in modes.items() if mode is Mode.DEPTH]
    changed = full[:CHANGED]
    account = UpstoxFeed(broker.access_token, http_url=broker.http_url)
    dialled = broker.http_url.replace("http:", "ws:")
    said = {"ws_url": dialled, "http_url": broker.http_url, "access_token": broker.access_token}
    async with running(python, PROGRAM, said) as sdk:
        prices = [key for key, mode in modes.items() if mode is Mode.LTP]
        await sdk.ask("connect", {"ltpc": prices, "full": full, "option_greeks": greeks})
        await sdk.ask("change_mode", changed, "ltpc")
        lower = ControlBatch(remode=dict.fromkeys(changed, Mode.LTP))
        receiver = Receiver(UpstoxWire(), [ControlBatch(add=dict(modes.items())), lower], modes)
        url, headers = await account.endpoint()
        link = await dial(url, receiver, headers=headers)
        modes |= dict.fromkeys(changed, Mode.LTP)
        await until(lambda: carried(broker) == [SYMBOLS + GREEKS, SYMBOLS])
        for _ in range(ROUNDS):
            advance()
            await broker.step(len(keys))
        messages = await sdk.ask("messages", (SYMBOLS + GREEKS) * ROUNDS)
        await until(lambda: len(receiver.ticks) >= SYMBOLS * ROUNDS)

        third = await sdk.ask("dial_again", broker.access_token)
        with pytest.raises(DialError) as refused:
            await dial((await account.endpoint()).url, LinkHandler())
        wrong = await sdk.ask("dial_again", "wrong")
        http, ours = await over_http(broker, account, sdk)
        sockets = broker.sockets()
        broker.expire_token()
        http["expired"] = await sdk.ask(
            "http", "MarketQuoteV3Api", "get_ltp", [], {"instrument_key": keys[0]}
        )
        link.close()

    by_sdk, by_us = defaultdict(list), defaultdict(list)
    for message in messages:
        for key, row in message.get("feeds", {}).items():
            by_sdk[key].append((int(message["currentTs"]), row))
    for tick in receiver.ticks:
        by_us[tick.instrument.symbol].append(tick)
    return Seen(
        by_sdk,
        by_us,
        messages[0],
        modes,
        greeks,
        third,
        refused.value.status,
        wrong,
        sockets,
        http,
        ours,
        receiver.wire.skipped,
        broker,
    )


async def over_http(
    broker: UpstoxSimulator, account: UpstoxFeed, sdk: Sdk
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Ask the same of the SDK's HTTP client and of ours."""
    rows = broker.listings[:400]
    names = ",".join(instruments.key(row) for row in rows)
    past = [instruments.key(rows[0]), "minutes", "5", "2026-11-20", "2026-11-19"]
    asked: dict[str, tuple[str, str, list[Any], dict[str, Any]]] = {
        "quotes": ("MarketQuoteApi", "get_full_market_quote", [names, "2.0"], {}),
        "ltp": ("MarketQuoteV3Api", "get_ltp", [], {"instrument_key": names}),
        "ohlc": ("MarketQuoteV3Api", "get_market_quote_ohlc", ["1d"], {"instrument_key": names}),
        "past": ("HistoryV3Api", "get_historical_candle_data1", past, {}),
        "today": ("HistoryV3Api", "get_intra_day_candle_data", past[:3], {}),
        "profile": ("UserApi", "get_profile", ["2.0"], {}),
        "address": ("WebsocketApi", "get_market_data_feed_authorize_v3", [], {}),
        "too many": (
            "MarketQuoteV3Api",
            "get_ltp",
            [],
            {"instrument_key": ",".join(f"A|{n}" for n in range(501))},
        ),
        "none": ("MarketQuoteV3Api", "get_ltp", [], {"instrument_key": ""}),
    }
    told = {name: await sdk.ask("http", *call) for name, call in asked.items()}
    account.relist(await account.instruments())
    named = [account.book.instrument(instruments.key(row)) for row in rows]
    wanted = [instrument for instrument in named if instrument is not None]
    begin, end = (datetime(2026, 11, day, tzinfo=IST) for day in (19, 20))
    async with BrokerApi(account.rest()) as api:
        ours = {
            "quotes": {account.book.token(i): q.tick for i, q in (await api.quotes(wanted)).items()},
            "ltp": {account.book.token(i): t for i, t in (await api.ltp(wanted)).items()},
            "ohlc": {account.book.token(i): o for i, o in (await api.ohlc(wanted)).items()},
            "past": await api.history(wanted[0], "5m", begin, end),
        }
    return told, ours


@pytest.fixture(scope="module")
def seen() -> Seen:
    python = environments.python("upstox")
    times = itertools.count(1_795_501_830)
    now = [float(next(times))]

    def advance() -> None:
        now[0] = float(next(times))

    async def scenario() -> Seen:
        async with UpstoxSimulator(
            symbols=SYMBOLS + GREEKS, rate=0, snapshot=False, clock=lambda: now[0], http_rates={}
        ) as broker:
            return await watch(broker, advance, python)

    return asyncio.run(asyncio.wait_for(scenario(), 90))


def test_both_receive_the_same_ticks_of_3000_symbols_in_both_modes(seen: Seen) -> None:
    assert set(seen.by_us) == set(seen.modes) == set(seen.by_sdk) - set(seen.greeks)
    assert list(seen.modes.values()).count(Mode.DEPTH) == SYMBOLS // 2 - CHANGED
    assert {key.partition("|")[0] for key in seen.modes} == {"NSE_EQ", "NSE_INDEX", "NSE_FO", "NCD_FO"}
    for key, ticks in seen.by_us.items():
        assert {tick.mode for tick in ticks} == {seen.modes[key]}
        assert [(tick.timestamp, of_ours(tick)) for tick in ticks] == [
            (at, of_theirs(row)) for at, row in seen.by_sdk[key]
        ]
        assert len(ticks) == ROUNDS
    assert not any(seen.skipped.values())


def test_each_mode_and_kind_was_among_them(seen: Seen) -> None:
    kinds = {(tick.mode, key.partition("|")[0]) for key, ticks in seen.by_us.items() for tick in ticks}
    assert {mode for mode, _ in kinds} == {Mode.LTP, Mode.DEPTH}
    assert {"NSE_EQ", "NSE_FO"} <= {kind for mode, kind in kinds if mode is Mode.DEPTH}
    full = [t for ticks in seen.by_us.values() for t in ticks if isinstance(t, DepthTick)]
    assert any(tick.oi for tick in full)
    assert any(tick.buy for tick in full)
    assert any(tick.last_trade_time for tick in full)


def test_greeks_reach_the_sdk_and_no_tick(seen: Seen) -> None:
    for key in seen.greeks:
        assert [set(row) for _, row in seen.by_sdk[key]] == [{"firstLevelWithGreeks", "requestMode"}] * ROUNDS
    options = [
        row["fullFeed"]["marketFF"]
        for rows in seen.by_sdk.values()
        for _, row in rows
        if "marketFF" in row.get("fullFeed", {})
    ]
    assert any("optionGreeks" in option for option in options)


def test_the_status_of_the_market_comes_first(seen: Seen) -> None:
    assert seen.first["type"] == "market_info"
    assert seen.first["marketInfo"]["segmentStatus"]["NSE_EQ"] == "NORMAL_OPEN"


def test_a_third_socket_is_refused_and_a_dead_token_at_the_first_hop(seen: Seen) -> None:
    assert "403" in seen.third_socket
    assert seen.our_third_socket == 403
    assert "401 Unauthorized" in seen.wrong_token
    assert [len(socket["tokens"]) for socket in seen.sockets] == [SYMBOLS + GREEKS, SYMBOLS]
    assert [socket["violations"] for socket in seen.sockets] == [0, 0]


def test_both_http_clients_read_the_same_quotes(seen: Seen) -> None:
    theirs = {row["instrument_token"]: row for row in seen.http["quotes"]["data"].values()}
    assert set(theirs) == set(seen.ours["quotes"])
    assert len(theirs) == 400
    for key, row in theirs.items():
        tick = seen.ours["quotes"][key]
        day = [row["ohlc"][name] for name in ("open", "high", "low")]
        assert [tick.ltp, tick.open, tick.high, tick.low] == [row["last_price"], *day]
        assert (tick.volume, tick.avg_trade_price) == (row["volume"] or 0, row["average_price"] or 0.0)
        assert (tick.oi, tick.oi_day_high, tick.oi_day_low) == (
            row["oi"],
            row["oi_day_high"],
            row["oi_day_low"],
        )
        assert (tick.total_buy_quantity, tick.total_sell_quantity) == (
            row["total_buy_quantity"],
            row["total_sell_quantity"],
        )
        assert (tick.change, tick.last_trade_time) == (
            round(row["net_change"], 4),
            int(row["last_trade_time"]),
        )
        for ours, side in ((tick.buy, "buy"), (tick.sell, "sell")):
            assert [level.to_dict() for level in ours] == [
                {name: level[name] for name in ("price", "quantity", "orders")}
                for level in row["depth"][side]
            ]


def test_both_http_clients_read_the_same_prices_and_days(seen: Seen) -> None:
    theirs = {row["instrument_token"]: row for row in seen.http["ltp"]["data"].values()}
    assert {key: tick.ltp for key, tick in seen.ours["ltp"].items()} == {
        key: row["last_price"] for key, row in theirs.items()
    }
    days = {row["instrument_token"]: row for row in seen.http["ohlc"]["data"].values()}
    for key, day in seen.ours["ohlc"].items():
        live, before = days[key]["live_ohlc"], days[key]["prev_ohlc"]
        assert [day.open, day.high, day.low, day.close] == [
            *(live[name] for name in ("open", "high", "low")),
            before["close"],
        ]


def test_both_http_clients_read_the_same_candles(seen: Seen) -> None:
    theirs = [
        (int(datetime.fromisoformat(at).timestamp()), *prices, volume, oi)
        for at, *prices, volume, oi in reversed(seen.http["past"]["data"]["candles"])
    ]
    assert len(theirs) == 150
    assert [
        (c.timestamp, c.open, c.high, c.low, c.close, c.volume, c.oi) for c in seen.ours["past"]
    ] == theirs
    assert seen.http["today"]["data"]["candles"]


def test_the_sdks_http_client_knows_the_errors_the_holder_and_the_address(seen: Seen) -> None:
    assert seen.http["too many"] == [400, "UDAPI100042"]
    assert seen.http["none"] == [400, "UDAPI1087"]
    assert seen.http["expired"] == [401, "UDAPI100050"]
    assert seen.http["profile"]["data"]["user_id"] == "SIM001"
    assert seen.http["address"]["data"]["authorized_redirect_uri"].startswith(seen.broker.ws_url)
