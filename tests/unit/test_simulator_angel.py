"""The simulated Angel: its packets, its limits and refusals, its heartbeats, and its HTTP API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from brokerpool.brokers.angel.instruments import load_instruments
from brokerpool.simulator.angel import wire
from brokerpool.simulator.angel.broker import AngelSimulator
from brokerpool.simulator.angel.fault_switches import AngelOrder, DeadCode
from brokerpool.simulator.angel.instruments import joined, parts
from brokerpool.simulator.angel.subscriptions import SmartStreamSubscriptions
from brokerpool.simulator.broker_interface import Grace, Outcome
from brokerpool.simulator.exchange import Quote
from brokerpool.simulator.fault_switches import Malformation
from brokerpool.ticks import Mode

ROOT = Path(__file__).parents[2]
VECTORS = json.loads((ROOT / "tests/fixtures/angel_smartstream_vectors.json").read_text())["vectors"]
PRICED = [vector for vector in VECTORS if vector["expected"]["subscription_mode"] != 4]
INFY, SBIN = "1594", "3045"


def run(scenario: Callable[[AngelSimulator], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        async with AngelSimulator(**{"symbols": 100, "rate": 0, **options}) as broker:
            await scenario(broker)

    asyncio.run(asyncio.wait_for(main(), 30))


def dialling(broker: AngelSimulator, **changed: str) -> connect:
    headers = {
        "Authorization": broker.access_token,
        "x-api-key": broker.api_key,
        "x-client-code": broker.client_code,
        "x-feed-token": broker.feed_token,
    }
    return connect(broker.ws_url, additional_headers={**headers, **changed}, ping_interval=None)


def request(action: int, mode: int, *numbers: str, segment: int = 1, name: str = "abc") -> str:
    asked = [{"exchangeType": segment, "tokens": list(numbers)}]
    return json.dumps({"correlationID": name, "action": action, "params": {"mode": mode, "tokenList": asked}})


async def packet(client: ClientConnection) -> bytes:
    message = await asyncio.wait_for(client.recv(), 5)
    assert isinstance(message, bytes)
    return message


# -- packets ----------------------------------------------------------------------------------------------


def quote_of(told: dict[str, Any]) -> Quote:
    token = joined(told["exchange_type"], told["token"])
    assert token is not None
    levels = [*told.get("best_5_buy_data", []), *told.get("best_5_sell_data", [])]
    return Quote(
        token,
        ltp=told["last_traded_price"],
        last_quantity=told.get("last_traded_quantity", 0),
        average=told.get("average_traded_price", 0),
        volume=told.get("volume_trade_for_the_day", 0),
        buy_total=int(told.get("total_buy_quantity", 0)),
        sell_total=int(told.get("total_sell_quantity", 0)),
        open=told.get("open_price_of_the_day", 0),
        high=told.get("high_price_of_the_day", 0),
        low=told.get("low_price_of_the_day", 0),
        close=told.get("closed_price", 0),
        last_trade_time=told.get("last_traded_timestamp", 0),
        oi=told.get("open_interest", 0),
        exchange_time=told["exchange_timestamp"] // 1000,
        levels=tuple(
            value for level in levels for value in (level["quantity"], level["price"], level["no of orders"])
        ),
    )


@pytest.mark.parametrize("vector", PRICED, ids=lambda v: v["name"])
def test_packets_are_written_as_the_official_client_reads_them(vector: dict[str, Any]) -> None:
    expected, told = bytes.fromhex(vector["frame_hex"]), vector["expected"]
    written = wire.record(quote_of(told), Mode(told["subscription_mode"]))
    assert len(written) == len(expected)
    # The sequence number, the change of the open interest, and the prices of the year are not simulated.
    for begin, end in ((0, 27), (35, 139), (147, 347)):
        assert written[begin:end] == expected[begin:end]
    assert wire.packet_token(written) == joined(told["exchange_type"], told["token"])


def test_a_packet_is_cut_to_a_lower_mode_as_it_would_be_written_in_it() -> None:
    quote = quote_of(next(v["expected"] for v in PRICED if v["name"] == "snap_nse_cm"))
    full = wire.record(quote, Mode.DEPTH)
    for mode in Mode:
        assert wire.trimmed(full, mode) == wire.record(quote, mode)
    last = wire.record(quote, Mode.LTP)
    assert wire.trimmed(last, Mode.DEPTH) == last


@pytest.mark.parametrize("kind", Malformation)
def test_a_spoilt_packet_is_one_that_no_client_takes_for_good(kind: Malformation) -> None:
    good = wire.record(Quote(joined(1, INFY) or 0, ltp=1), Mode.QUOTE)
    spoilt = wire.malformed(kind, [good])
    assert (len(spoilt) != len(good)) is (kind is not Malformation.UNKNOWN_TOKEN)
    assert (wire.packet_token(spoilt) == joined(1, INFY)) is (kind is not Malformation.UNKNOWN_TOKEN)


# -- requests ---------------------------------------------------------------------------------------------


def tokens(*numbers: str) -> list[int]:
    return [joined(1, number) or 0 for number in numbers]


def subscriptions(limit: int = 5) -> SmartStreamSubscriptions:
    return SmartStreamSubscriptions(limit, lambda token: token >> 4 < 1_000)


def complaint(outcome: Outcome) -> dict[str, str]:
    assert outcome.error is not None
    return {**json.loads(outcome.error)}


def test_each_pair_of_token_and_mode_counts_and_duplicates_are_free() -> None:
    socket = subscriptions()
    assert socket.handle(request(1, 1, "1", "2", "1")).added == tokens("1", "2")
    assert socket.handle(request(1, 1, "1", "2")) == Outcome([], [], [])
    assert socket.handle(request(1, 3, "1")).remoded == tokens("1")
    assert (socket.entries, socket.modes) == (
        3,
        dict(zip(tokens("1", "2"), (Mode.DEPTH, Mode.LTP), strict=True)),
    )
    assert socket.report() == {str(tokens("1")[0]): "LTP+SNAP_QUOTE", str(tokens("2")[0]): "LTP"}
    assert socket.handle(request(0, 3, "1")).remoded == tokens("1")
    assert socket.handle(request(0, 1, "1", "9")).removed == tokens("1")
    assert (socket.entries, socket.modes) == (1, {tokens("2")[0]: Mode.LTP})


def test_a_request_that_would_cross_the_limit_is_refused_whole_and_named() -> None:
    socket = subscriptions()
    socket.handle(request(1, 1, "1", "2", "3", "4"))
    for crossing in (request(1, 1, "5", "6", name="mine"), request(1, 2, "1", "2", name="mine")):
        refused = socket.handle(crossing)
        assert refused.over_limit
        told = complaint(refused)
        assert (told["correlationID"], told["errorCode"]) == ("mine", "E1002")
    assert (socket.entries, len(socket.modes)) == (4, 4)
    assert socket.handle(request(1, 1, "5", "1")).added == tokens("5")


def test_what_nobody_lists_is_ignored_and_counts_nothing() -> None:
    socket = subscriptions()
    assert socket.handle(request(1, 1, "1000", "x", "", "1")).added == tokens("1")
    assert socket.handle(request(0, 1, "1000", "x")) == Outcome([], [], [])
    assert (socket.entries, socket.largest_batch) == (1, 4)


def test_a_ping_is_answered() -> None:
    assert subscriptions().handle("ping") == Outcome(answers=(b"pong",))


@pytest.mark.parametrize(
    "bad",
    ["", "}{", "[]", "pong", "[" * 5000, request(2, 1, "1"), request(1, 4, "1"), request(1, 0, "1")],
)
def test_a_bad_request_is_told_so_and_changes_nothing(bad: str) -> None:
    socket = subscriptions()
    assert complaint(socket.handle(bad))["errorCode"] == "E1001"
    assert (socket.entries, socket.modes) == (0, {})


@given(
    st.lists(
        st.builds(
            request,
            st.integers(0, 1),
            st.integers(1, 3),
            st.sampled_from("1234"),
            st.sampled_from("1234"),
        )
        | st.text(max_size=20)
        | st.binary(max_size=20),
        max_size=30,
    )
)
def test_whatever_is_asked_the_count_is_that_of_the_pairs_and_never_above_the_limit(asked: list[Any]) -> None:
    socket = subscriptions()
    for message in asked:
        socket.handle(message)
    assert socket.entries == sum(len(modes) for modes in socket._pairs.values()) <= 5
    assert socket.modes == {token: max(modes) for token, modes in socket._pairs.items()}


# -- sockets ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("Authorization", "Invalid Header - Invalid Auth token"),
        ("x-client-code", "Invalid Header - Invalid Client Code"),
        ("x-api-key", "Invalid Header - Invalid API Key"),
        ("x-feed-token", "Invalid Header - Invalid Feed Token"),
    ],
)
def test_each_wrong_header_is_a_401_that_names_it(header: str, reason: str) -> None:
    async def scenario(broker: AngelSimulator) -> None:
        with pytest.raises(InvalidStatus) as refused:
            await dialling(broker, **{header: "wrong"})
        assert refused.value.response.status_code == 401
        assert refused.value.response.headers["x-error-message"] == reason

    run(scenario)


def test_a_browser_says_its_credentials_in_the_query_and_an_expired_token_is_one_for_it_too() -> None:
    async def scenario(broker: AngelSimulator) -> None:
        query = f"clientCode={broker.client_code}&feedToken={broker.feed_token}&apiKey={broker.api_key}"
        async with connect(f"{broker.ws_url}?{query}") as client:
            await client.send("ping")
            assert await client.recv() == "pong"
        broker.expire_token()
        with pytest.raises(InvalidStatus):
            await connect(f"{broker.ws_url}?{query}")
        broker.renew_token("fresh")
        async with dialling(broker, Authorization="Bearer fresh"):
            pass

    run(scenario)


def test_the_mode_decides_the_packet_and_an_index_has_no_book() -> None:
    async def scenario(broker: AngelSimulator) -> None:
        async with dialling(broker) as client:
            for mode, size in ((1, 51), (2, 123), (3, 379)):
                await client.send(request(1, mode, INFY))
                first = await packet(client)
                assert (len(first), first[0]) == (size, mode)
                await broker.step(100)
                assert len(await packet(client)) == size
            await client.send(request(1, 3, "99926000"))
            assert (await packet(client))[147:] == bytes(232)

    run(scenario)


def test_a_fourth_socket_gets_429_or_is_closed_at_once_and_the_three_stay() -> None:
    async def scenario(broker: AngelSimulator) -> None:
        clients = [await dialling(broker) for _ in range(3)]
        with pytest.raises(InvalidStatus) as refused:
            await dialling(broker)
        assert refused.value.response.status_code == 429
        await broker.throw(AngelOrder(closes_extra=True))
        extra = await dialling(broker)
        with pytest.raises(ConnectionClosed, match="extra connection"):
            await extra.recv()
        for client in clients:
            await client.send("ping")
            assert await client.recv() == "pong"
        assert broker.stats()["violations"]["sockets"] == 2

    run(scenario)


def test_the_1001st_pair_gets_e1002_and_the_others_go_on() -> None:
    async def scenario(broker: AngelSimulator) -> None:
        numbers = [parts(row.token)[1] for row in broker.listings if row.exchange == "NSE"]
        async with dialling(broker) as client:
            await client.send(request(1, 1, *numbers[:600]))
            await client.send(request(1, 2, *numbers[:400]))
            await client.send(request(1, 2, numbers[400], name="more"))
            told = json.loads(await client.recv())
            assert (told["correlationID"], told["errorCode"]) == ("more", "E1002")
            assert broker.sockets()[0]["entries"] == 1_000
            assert broker.stats()["violations"] == {"tokens": 1, "sockets": 0}

    run(scenario, symbols=1_000, snapshot=False)


def test_a_client_that_sends_neither_pings_nor_frames_is_closed() -> None:
    class Impatient(AngelSimulator):
        limits = AngelSimulator.limits._replace(silence=Grace(0.3, 1001, "no heartbeat"))

    async def main() -> None:
        async with (
            Impatient(symbols=10, rate=0) as broker,
            dialling(broker) as silent,
            dialling(broker) as frames,
            dialling(broker) as texts,
        ):
            over = asyncio.ensure_future(silent.wait_closed())
            while not over.done():
                await frames.ping()
                await texts.send("ping")
                assert await texts.recv() == "pong"
                await asyncio.wait({over}, timeout=0.1)
            assert (silent.close_code, silent.close_reason) == (1001, "no heartbeat")
            for alive in (frames, texts):
                await alive.send("ping")
                assert await alive.recv() == "pong"

    asyncio.run(asyncio.wait_for(main(), 30))


# -- HTTP -------------------------------------------------------------------------------------------------


def headers(broker: AngelSimulator) -> dict[str, str]:
    return {"Authorization": f"Bearer {broker.access_token}", "X-PrivateKey": broker.api_key}


QUOTE = "/rest/secure/angelbroking/market/v1/quote/"
ASKED = {"mode": "LTP", "exchangeTokens": {"NSE": [INFY, SBIN]}}


def test_calls_over_the_rate_get_a_403_in_plain_text_and_a_dead_token_a_200_with_a_code() -> None:
    async def scenario(broker: AngelSimulator) -> None:
        async with aiohttp.ClientSession(broker.http_url, headers=headers(broker)) as http:
            for _ in range(10):
                async with http.post(QUOTE, json=ASKED) as answer:
                    assert (await answer.json())["status"] is True
            async with http.post(QUOTE, json=ASKED) as answer:
                assert (answer.status, answer.content_type) == (403, "text/plain")
                assert await answer.text() == "Access denied because of exceeding access rate"
            assert broker.stats()["too_fast"] == {"quote": 1}
            broker.expire_token()
            codes: tuple[DeadCode, ...] = ("AG8002", "AB1010")
            for code in codes:
                await broker.throw(AngelOrder(dead_code=code))
                async with http.post(QUOTE, json=ASKED) as answer:
                    said = await answer.json()
                    assert (answer.status, said["status"], said["errorcode"]) == (200, False, code)
            async with http.post(QUOTE, json=ASKED, headers={"Authorization": "Bearer wrong"}) as answer:
                assert (await answer.json())["errorcode"] == "AG8001"

    run(scenario, clock=lambda: 1_795_341_600.0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"mode": "MOST", "exchangeTokens": {"NSE": ["1594"]}}',
        b'{"mode": "LTP", "exchangeTokens": {}}',
        json.dumps({"mode": "LTP", "exchangeTokens": {"NSE": [INFY] * 51}}).encode(),
    ],
)
def test_a_quote_call_that_cannot_be_meant_is_complained_of(body: bytes) -> None:
    async def scenario(broker: AngelSimulator) -> None:
        async with (
            aiohttp.ClientSession(broker.http_url, headers=headers(broker)) as http,
            http.post(QUOTE, data=body) as answer,
        ):
            assert (answer.status, (await answer.json())["status"]) == (200, False)

    run(scenario)


def test_everybody_gets_the_list_and_it_names_what_trades() -> None:
    async def scenario(broker: AngelSimulator) -> None:
        url = f"{broker.http_url}/OpenAPI_File/files/OpenAPIScripMaster.json"
        async with aiohttp.ClientSession() as http, http.get(url) as answer:
            loaded = await load_instruments(await answer.read())
        assert (len(loaded.book), loaded.skipped) == (len(broker.listings), 0)
        listed = {loaded.book.token(instrument) for instrument in loaded.book}
        assert listed == {"|".join(map(str, parts(row.token))) for row in broker.listings}

    run(scenario, symbols=300)
