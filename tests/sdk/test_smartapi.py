"""The official smartapi-python 1.5.5 at our simulator receives what our adapter receives there, by field."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import defaultdict
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from brokerpool import BrokerApi, BrokerError, Candle, Credentials, ErrorCode
from brokerpool.brokers.angel import AngelFeed, SmartStreamWire
from brokerpool.brokers.angel.segments import parts
from brokerpool.brokers.registry import Access, broker
from brokerpool.brokers.wire import ControlBatch, Signal, SignalKind
from brokerpool.simulator.angel.broker import AngelSimulator
from brokerpool.simulator.angel.login import TOTP_SECRET
from brokerpool.ticks import DepthTick, Mode, Tick
from brokerpool.transport import DialError, LinkHandler, dial
from tests.sdk import environments
from tests.sdk.sdk_process import Receiver, Sdk, running, until
from tests.unit.smartapi_values import as_sdk, told

CLIENT = Path(__file__).with_name("smartapi_client.py")
TOKENS = 1_000
ROUNDS = 2
INDIA = timezone(timedelta(hours=5, minutes=30))
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
QUOTED = ("NSE:INFY", "NSE:SBIN", "NSE_INDEX:NIFTY")


class Seen(NamedTuple):
    """What both clients saw of one market."""

    #: By token, in order.
    by_sdk: dict[str, list[dict[str, Any]]]
    by_us: dict[str, list[Tick]]
    modes: dict[str, Mode]
    #: What our wire was told when it asked for one more.
    signals: list[Signal]
    violations: dict[str, int]
    sockets: list[dict[str, Any]]
    fourth_socket: list[str]
    our_fourth_socket: int | None
    wrong_token: list[str]
    #: By name of the client's method and its arguments.
    http: dict[str, Any]
    ours: dict[str, Any]
    broker: AngelSimulator


def token_list(tokens: list[str]) -> list[dict[str, Any]]:
    by_segment = defaultdict(list)
    for segment, number in map(parts, tokens):
        by_segment[segment].append(number)
    return [{"exchangeType": segment, "tokens": numbers} for segment, numbers in by_segment.items()]


async def watch(simulator: AngelSimulator, interpreter: Path, folder: Path) -> Seen:
    login = {name: value for name, value in simulator.credentials().items() if name != "login_url"}
    fields = json.loads(login["login_fields"])
    account = broker("angel").account(
        Access(
            login["api_key"],
            Credentials(login["access_token"]),
            ws_url=simulator.ws_url,
            http_url=simulator.http_url,
            fields=fields,
        )
    )
    assert isinstance(account, AngelFeed)
    account.relist(await account.instruments())
    tokens = [str(account.book.token(instrument)) for instrument in account.book]
    modes = {token: Mode(number % 3 + 1) for number, token in enumerate(tokens[-TOKENS:])}
    credentials = {"api_key": login["api_key"], "access_token": login["access_token"], **fields}
    said = {"ws_url": simulator.ws_url, "http_url": simulator.http_url, **credentials}
    # Loading it asks a stranger for this machine's public address; it does without the answer.
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"}
    async with running(interpreter, CLIENT, said, folder=folder, environ=nowhere) as sdk:
        named = {str(int(mode)): token_list([t for t, m in modes.items() if m == mode]) for mode in Mode}
        await sdk.ask("connect", named)
        endpoint = await account.endpoint()
        receiver = Receiver(SmartStreamWire(), [ControlBatch(add=dict(modes.items()))], modes)
        links = [await dial(endpoint.url, receiver, headers=endpoint.headers)]
        await until(lambda: [socket["entries"] for socket in simulator.sockets()] == [TOKENS, TOKENS])

        await simulator.step(len(tokens) * ROUNDS)
        from_sdk = await sdk.ask("ticks", TOKENS * ROUNDS)
        await until(lambda: len(receiver.ticks) >= TOKENS * ROUNDS)

        for request in receiver.wire.requests(ControlBatch(add={tokens[0]: Mode.LTP})):
            links[0].send_text(request)
        await sdk.ask("subscribe", 1, token_list(tokens[:1]))
        await until(lambda: simulator.stats()["violations"]["tokens"] == 2 and receiver.wire.signals)
        links.append(await dial(endpoint.url, LinkHandler(), headers=endpoint.headers))
        fourth = await sdk.ask("dial_again", login["access_token"])
        with pytest.raises(DialError) as refused:
            await dial(endpoint.url, LinkHandler(), headers=endpoint.headers)
        wrong = await sdk.ask("dial_again", "wrong")
        violations, sockets = simulator.stats()["violations"], simulator.sockets()
        http, ours = await over_http(sdk, account)
        simulator.expire_token()
        http["expired"] = await sdk.ask("http", "getMarketData", "LTP", {"NSE": ["1594"]})
        async with BrokerApi(account.rest()) as api:
            with pytest.raises(BrokerError) as expired:
                await api.ltp("NSE:INFY")
            ours["expired"] = expired.value.code
        http["login"] = await sdk.ask(
            "log_in", simulator.client_code, simulator.api_secret, TOTP_SECRET, simulator._clock()
        )
        for link in links:
            link.close()

    by_sdk, by_us = defaultdict(list), defaultdict(list)
    for tick in from_sdk:
        by_sdk[f"{tick['exchange_type']}|{tick['token']}"].append(tick)
    for our in receiver.ticks:
        by_us[our.instrument.symbol].append(our)
    status = refused.value.status
    return Seen(
        by_sdk, by_us, modes, list(receiver.wire.signals), violations, sockets, fourth, status, wrong,
        http, ours, simulator,
    )  # fmt: skip


async def over_http(sdk: Sdk, account: AngelFeed) -> tuple[dict[str, Any], dict[str, Any]]:
    """Ask both HTTP clients for the same."""
    numbers = {"NSE": [account.book.details(name).number for name in QUOTED] + ["123456"]}
    day = {"fromdate": "2026-11-20 09:15", "todate": "2026-11-20 10:15"}
    asked = {"exchange": "NSE", "symboltoken": "1594", "interval": "FIVE_MINUTE", **day}
    http = {mode: await sdk.ask("http", "getMarketData", mode, numbers) for mode in ("LTP", "OHLC", "FULL")}
    http["candles"] = await sdk.ask("http", "getCandleData", asked)
    async with BrokerApi(account.rest()) as api:
        ours: dict[str, Any] = {
            "LTP": await api.ltp(QUOTED),
            "OHLC": await api.ohlc(QUOTED),
            "FULL": {name: quoted.tick for name, quoted in (await api.quotes(QUOTED)).items()},
            "candles": await api.history(
                "NSE:INFY", "5m", *(datetime.fromisoformat(f"{day[at]}+05:30") for at in day)
            ),
        }
    return http, ours


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    interpreter = environments.python("angel")

    async def scenario() -> Seen:
        # One second further with each call: every round of the market has times of its own.
        times = itertools.count(1_795_341_600)
        simulator = AngelSimulator(symbols=TOKENS + 20, rate=0, snapshot=False, clock=lambda: next(times))
        async with simulator:
            return await watch(simulator, interpreter, tmp_path_factory.mktemp("smartapi"))

    return asyncio.run(asyncio.wait_for(scenario(), 90))


def test_both_receive_the_same_ticks_of_1000_tokens_in_three_modes(seen: Seen) -> None:
    assert len(seen.modes) == TOKENS
    assert set(seen.by_sdk) == set(seen.by_us) == set(seen.modes)
    assert {parts(token)[0] for token in seen.modes} == {1, 2, 13}
    compared = 0
    for token, ticks in seen.by_us.items():
        assert len(ticks) == ROUNDS
        assert {tick.mode for tick in ticks} == {seen.modes[token]}
        assert [told(each) for each in seen.by_sdk[token]] == [as_sdk(tick, token) for tick in ticks]
        compared += len(ticks)
    assert compared == TOKENS * ROUNDS


def test_each_mode_and_segment_was_among_them_and_all_that_a_full_tick_has(seen: Seen) -> None:
    kinds = {(tick.mode, parts(token)[0]) for token, ticks in seen.by_us.items() for tick in ticks}
    assert kinds == set(itertools.product(Mode, (1, 2, 13)))
    everything = itertools.chain.from_iterable(seen.by_us.values())
    full = [tick for tick in everything if isinstance(tick, DepthTick)]
    assert any(tick.last_trade_time for tick in full)
    assert any(tick.oi for tick in full)
    assert any(len(tick.buy) == len(tick.sell) == 5 for tick in full)


def test_the_1001st_pair_is_refused_by_name_and_the_rest_stays(seen: Seen) -> None:
    assert seen.violations == {"tokens": 2, "sockets": 2}
    assert [socket["entries"] for socket in seen.sockets] == [TOKENS, TOKENS, 0]
    (refusal,) = seen.signals
    assert refusal.kind is SignalKind.REFUSED
    assert refusal.words.startswith("E1002: ")
    assert len(refusal.tokens) == 1


def test_a_fourth_socket_is_refused_with_429_and_a_wrong_token_with_401(seen: Seen) -> None:
    assert "429" in seen.fourth_socket[0]
    assert seen.our_fourth_socket == 429
    assert "401" in seen.wrong_token[0]
    assert "Invalid Auth token" in seen.wrong_token[0]


def test_both_http_clients_are_told_the_same_quotes(seen: Seen) -> None:
    for mode in ("LTP", "OHLC", "FULL"):
        data = seen.http[mode]["data"]
        assert [row["symbolToken"] for row in data["unfetched"]] == ["123456"]
        by_sdk = {f"{row['exchange']}:{row['symbolToken']}": row for row in data["fetched"]}
        by_us = {str(instrument): tick for instrument, tick in seen.ours[mode].items()}
        assert set(by_us) == set(QUOTED)
        for name, row in zip(QUOTED, by_sdk.values(), strict=True):
            assert row == {**row, **quoted(by_us[name], mode)}


def quoted(tick: Any, mode: str) -> dict[str, Any]:
    """What the broker says of a quote, from our tick."""
    data: dict[str, Any] = {"ltp": tick.ltp}
    if mode != "LTP":
        data |= {"open": tick.open, "high": tick.high, "low": tick.low, "close": tick.close}
    if mode == "FULL":
        book = {
            side: [{"price": v.price, "quantity": v.quantity, "orders": v.orders} for v in levels]
            for side, levels in (("buy", tick.buy), ("sell", tick.sell))
        }
        data |= {
            "lastTradeQty": tick.last_trade_quantity,
            "avgPrice": tick.avg_trade_price,
            "tradeVolume": tick.volume,
            "opnInterest": tick.oi,
            "totBuyQuan": tick.total_buy_quantity,
            "totSellQuan": tick.total_sell_quantity,
            "netChange": round(tick.change, 2),
            "percentChange": round(tick.change_percent, 2),
            "exchFeedTime": local(tick.timestamp),
            "exchTradeTime": local(tick.last_trade_time),
            "depth": book,
        }
    return data


def local(milliseconds: int) -> str:
    if not milliseconds:
        return ""
    at = datetime.fromtimestamp(milliseconds / 1000, INDIA)
    return f"{at:%d}-{MONTHS[at.month - 1]}-{at:%Y %H:%M:%S}"


def test_both_http_clients_are_told_the_same_candles(seen: Seen) -> None:
    rows = seen.http["candles"]["data"]
    assert len(rows) == 13
    by_sdk = [Candle(int(datetime.fromisoformat(at).timestamp()), *rest) for at, *rest in rows]
    assert seen.ours["candles"] == by_sdk


def test_a_dead_session_is_told_to_both_and_the_client_logs_in_anew(seen: Seen) -> None:
    assert (seen.http["expired"]["status"], seen.http["expired"]["errorcode"]) == (False, "AG8002")
    assert seen.ours["expired"] is ErrorCode.BROKER_REFUSED_CREDENTIALS
    made = seen.http["login"]["data"]
    assert made["jwtToken"] == f"Bearer {seen.broker.access_token}"
    assert made["feedToken"] == seen.broker.feed_token
    assert made["clientcode"] == seen.broker.client_code
