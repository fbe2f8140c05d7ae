"""The official kiteconnect 5.2.2 at our simulator receives what our codec receives there, field by field."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from brokerpool.brokers.wire import ControlBatch
from brokerpool.brokers.zerodha.codec import KiteWire
from brokerpool.simulator import KiteSimulator
from brokerpool.ticks import DepthTick, Mode, Tick
from brokerpool.transport import DialError, LinkHandler, dial
from tests.sdk.sdk_process import Receiver, running, until
from tests.unit.kite_values import MODES, as_sdk

CLIENT = Path(__file__).with_name("kiteconnect_client.py")
TOKENS = 3_000
ROUNDS = 2
FUTURE = "USDINR26NOVFUT"


class Seen(NamedTuple):
    """What both clients saw of one market."""

    #: By token, in order.
    by_sdk: dict[int, list[dict[str, Any]]]
    by_us: dict[int, list[Tick]]
    modes: dict[int, Mode]
    over_limit: list[Any]
    fourth_socket: list[Any]
    our_fourth_socket: int | None
    wrong_token: list[Any]
    sockets: list[dict[str, Any]]
    #: By name of the SDK's method.
    http: dict[str, Any]
    broker: KiteSimulator


async def watch(broker: KiteSimulator) -> Seen:
    tokens = [listing.token for listing in broker.listings]
    modes = {token: Mode(number % 3 + 1) for number, token in enumerate(tokens[:TOKENS])}
    account = {"api_key": broker.api_key, "access_token": broker.access_token}
    told = {"ws_url": broker.ws_url, "http_url": broker.http_url, **account}
    async with running(sys.executable, CLIENT, told, environ={"TZ": "Asia/Kolkata"}) as sdk:
        named = {name: [t for t, m in modes.items() if m == mode] for mode, name in MODES.items()}
        await sdk.ask("connect", named)
        url = f"{broker.ws_url}?api_key={broker.api_key}&access_token={broker.access_token}"
        receiver = Receiver(KiteWire(), [ControlBatch(add=dict(modes.items()))], modes)
        links = [await dial(url, receiver)]
        wanted = {str(token): name for name, of_mode in named.items() for token in of_mode}
        await until(lambda: [socket["tokens"] for socket in broker.sockets()] == [wanted, wanted])

        await broker.step(len(tokens) * ROUNDS)
        from_sdk = await sdk.ask("ticks", TOKENS * ROUNDS)
        await until(lambda: len(receiver.ticks) >= TOKENS * ROUNDS)

        over_limit = await sdk.ask("subscribe", tokens[TOKENS:])
        links.append(await dial(url, LinkHandler()))
        fourth = await sdk.ask("dial_again", broker.access_token)
        with pytest.raises(DialError) as refused:
            await dial(url, LinkHandler())
        wrong = await sdk.ask("dial_again", "wrong")
        http = {
            name: await sdk.ask("http", name, *arguments)
            for name, arguments in {
                "instruments": (),
                "quote": (["NSE:INFY", "NSE:NIFTY 50", f"CDS:{FUTURE}", "NSE:NOPE"],),
                "ohlc": (["NSE:INFY"],),
                "ltp": ([listing.key for listing in broker.listings[:1_000]],),
            }.items()
        }
        http["too many"] = await sdk.ask("http", "quote", [row.key for row in broker.listings[:501]])
        sockets = broker.sockets()
        broker.expire_token()
        http["expired"] = await sdk.ask("http", "ltp", ["NSE:INFY"])
        for link in links:
            link.close()

    by_sdk, by_us = defaultdict(list), defaultdict(list)
    for tick in from_sdk:
        by_sdk[tick["instrument_token"]].append(tick)
    for ours in receiver.ticks:
        by_us[int(ours.instrument.symbol)].append(ours)
    status = refused.value.status
    return Seen(by_sdk, by_us, modes, over_limit, fourth, status, wrong, sockets, http, broker)


@pytest.fixture(scope="module")
def seen() -> Seen:
    async def scenario() -> Seen:
        # One second further with each call: every round of the market has times of its own.
        times = itertools.count(1_795_341_600)
        async with KiteSimulator(
            symbols=TOKENS + 1, rate=0, snapshot=False, clock=lambda: float(next(times))
        ) as broker:
            return await watch(broker)

    return asyncio.run(asyncio.wait_for(scenario(), 90))


def seconds(milliseconds: int) -> int:
    return milliseconds // 1000


def test_both_receive_the_same_ticks_of_3000_tokens_in_three_modes(seen: Seen) -> None:
    assert len(seen.modes) == TOKENS
    assert set(seen.by_sdk) == set(seen.by_us) == set(seen.modes)
    assert {token & 0xFF for token in seen.modes} == {1, 2, 3, 9}
    compared = 0
    for token, ticks in seen.by_us.items():
        assert len(ticks) == ROUNDS
        assert {tick.mode for tick in ticks} == {seen.modes[token]}
        assert seen.by_sdk[token] == [as_sdk(tick, token, seconds) for tick in ticks]
        compared += len(ticks)
    assert compared == TOKENS * ROUNDS


def test_each_mode_and_kind_was_among_them(seen: Seen) -> None:
    kinds = {(tick.mode, token & 0xFF) for token, ticks in seen.by_us.items() for tick in ticks}
    assert kinds == set(itertools.product(Mode, (1, 2, 3, 9)))
    everything = itertools.chain.from_iterable(seen.by_us.values())
    full = [tick for tick in everything if isinstance(tick, DepthTick)]
    assert any(tick.last_trade_time for tick in full)
    assert any(tick.oi for tick in full)
    assert any(tick.buy for tick in full)


def test_the_3001st_token_is_refused_and_the_rest_stays(seen: Seen) -> None:
    assert seen.over_limit == [0, "Can't subscribe to more than 3000 instruments."]
    assert [len(socket["tokens"]) for socket in seen.sockets] == [TOKENS, TOKENS, 0]


def test_a_fourth_socket_is_refused_with_429(seen: Seen) -> None:
    code, reason = seen.fourth_socket
    assert code == 1006
    assert "WebSocket connection upgrade failed (429" in reason
    assert seen.our_fourth_socket == 429


def test_a_wrong_access_token_is_refused_with_403(seen: Seen) -> None:
    code, reason = seen.wrong_token
    assert code == 1006
    assert "WebSocket connection upgrade failed (403" in reason


def test_the_sdks_http_client_reads_instruments_and_quotes(seen: Seen) -> None:
    rows = seen.http["instruments"]
    assert [row["instrument_token"] for row in rows] == [row.token for row in seen.broker.listings]
    assert {row["expiry"] for row in rows} == {"", "2026-11-24", "2026-12-29", "2027-01-26"}
    quotes = seen.broker.market.quotes
    infy = seen.http["quote"]["NSE:INFY"]
    assert set(seen.http["quote"]) == {"NSE:INFY", "NSE:NIFTY 50", f"CDS:{FUTURE}"}
    assert infy["last_price"] == quotes[408065].ltp / 100
    assert infy["volume"] == quotes[408065].volume
    # Read without a zone by a process in India's.
    assert infy["timestamp"] == quotes[408065].exchange_time
    assert seen.http["ohlc"]["NSE:INFY"]["ohlc"] == infy["ohlc"]
    assert len(seen.http["ltp"]) == 1_000


def test_the_sdks_http_client_knows_the_errors(seen: Seen) -> None:
    assert seen.http["too many"][:2] == ["InputException", 400]
    assert seen.http["expired"][:2] == ["TokenException", 403]
