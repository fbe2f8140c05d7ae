"""The simulated Dhan: its limits, how it ends sockets, its rates and both forms of its complaints."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from brokerpool import Credentials, WebSocketPool
from brokerpool.brokers.dhan.account import DhanFeed
from brokerpool.brokers.dhan.broker import BROKER
from brokerpool.brokers.registry import Access
from brokerpool.feed.lifecycle_states import SymbolState
from brokerpool.instruments import Instrument
from brokerpool.simulator import Malformation, Malformed
from brokerpool.simulator.dhan import wire
from brokerpool.simulator.dhan.broker import DhanSimulator
from brokerpool.simulator.dhan.subscriptions import DhanSubscriptions
from brokerpool.simulator.exchange import Quote
from brokerpool.ticks import Mode
from brokerpool.transport import LinkHandler, dial

CODES = {"ticker": 15, "quote": 17, "full": 21}


def with_broker(scenario: Callable[[DhanSimulator], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        async with DhanSimulator(rate=0, **options) as broker:
            await scenario(broker)

    asyncio.run(asyncio.wait_for(main(), 60))


def address(broker: DhanSimulator, **other: str) -> str:
    said = {
        "version": "2",
        "token": broker.access_token,
        "clientId": broker.api_key,
        "authType": "2",
        **other,
    }
    return f"{broker.ws_url}?" + "&".join(f"{name}={value}" for name, value in said.items())


def request(code: int, *ids: int, segment: str = "NSE_EQ") -> str:
    named = [{"ExchangeSegment": segment, "SecurityId": str(each)} for each in ids]
    return json.dumps({"RequestCode": code, "InstrumentCount": len(named), "InstrumentList": named})


async def rest_of(client: ClientConnection) -> list[bytes]:
    """Return what still comes until the broker closes."""
    said = []
    with suppress(ConnectionClosed):
        while True:
            said.append(await client.recv())
    return [message for message in said if isinstance(message, bytes)]


def reason(packet: bytes) -> int:
    code, length, *_, told = struct.unpack("<BHBIH", packet)
    assert (code, length) == (50, 10)
    return int(told)


# -- the feed ---------------------------------------------------------------------------------------------


def test_a_subscription_is_answered_with_the_previous_close_and_then_the_packet_of_its_mode() -> None:
    async def scenario(broker: DhanSimulator) -> None:
        async with connect(address(broker)) as client:
            future = next(row for row in broker.listings if row.exchange == "NFO")
            for name, code in CODES.items():
                await client.send(request(code, 1594))
                head = [(await client.recv())[0] for _ in range(2)]
                assert head == [wire.PREVIOUS_CLOSE, {"ticker": 2, "quote": 4, "full": 8}[name]]
            await client.send(request(CODES["quote"], future.exchange_token, segment="NSE_FNO"))
            assert [(await client.recv())[0] for _ in range(3)] == [6, 5, 4]
            assert broker.sockets()[0]["tokens"] == {
                str(1594 << 8 | 1): "full",
                str(future.token): "quote",
            }
            await client.send(request(16, 1594))  # it is in another mode
            await client.send(request(22, 1594))
            await client.send(request(18, future.exchange_token, segment="NSE_FNO"))
            await client.send(json.dumps({"RequestCode": 12}))
            assert await rest_of(client) == []
            assert not broker.sockets()

    with_broker(scenario, symbols=100)


@pytest.mark.parametrize(
    "message",
    [
        "nonsense",
        "[]",
        b"\x0c\x53\x00",
        '{"RequestCode": 15}',
        '{"RequestCode": 15, "InstrumentCount": 2, "InstrumentList": []}',
        request(99, 1594),
        '{"RequestCode": 15, "InstrumentCount": 1, "InstrumentList": [{"SecurityId": 3}]}',
    ],
)
def test_what_is_no_request_ends_the_socket_with_814(message: str | bytes) -> None:
    async def scenario(broker: DhanSimulator) -> None:
        async with connect(address(broker)) as client:
            await client.send(message)
            assert [reason(packet) for packet in await rest_of(client)] == [814]
        assert broker.stats()["malformed_requests"] == 1

    with_broker(scenario)


def test_one_instrument_too_many_changes_nothing_and_ends_the_socket_with_804() -> None:
    async def scenario(broker: DhanSimulator) -> None:
        ids = [row.exchange_token for row in broker.listings if row.exchange == "NSE" and row.kind == "EQ"]
        async with connect(address(broker)) as client:
            await client.send(request(15, *ids[:3]))
            assert len(broker.listings) == 100
            await client.send(request(15, *ids[2:5]))
            packets = await rest_of(client)
            assert [packet[0] for packet in packets[:-1]] == [6, 6, 6]
            assert reason(packets[-1]) == 804
        assert broker.stats()["violations"]["tokens"] == 1
        assert broker.stats()["peak_tokens_per_socket"] == 3

    with_broker(scenario, max_tokens=4, snapshot=False)


def test_a_request_for_more_than_100_is_too_much_and_the_socket_may_stay_open() -> None:
    quotes: dict[int, Quote] = {}
    for ends in (True, False):
        asked = DhanSubscriptions(5000, lambda token: True, quotes, over_limit_ends=ends)
        outcome = asked.handle(request(15, *range(1, 102)))
        assert (outcome.over_limit, outcome.ends, asked.entries) == (True, ends, 0)
        assert asked.handle(request(15, *range(1, 101))).added == [n << 8 | 1 for n in range(1, 101)]


def test_a_sixth_socket_ends_the_eldest_with_805_and_the_others_stay() -> None:
    async def scenario(broker: DhanSimulator) -> None:
        clients = [await connect(address(broker)) for _ in range(6)]
        assert [reason(packet) for packet in await rest_of(clients[0])] == [805]
        assert [socket["id"] for socket in broker.sockets()] == [2, 3, 4, 5, 6]
        assert broker.stats()["peak_sockets"] <= 6
        for client in clients:
            await client.close()

    with_broker(scenario)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [({"token": "x"}, 809), ({"clientId": "x"}, 810), ({"version": "1"}, 814), ({"authType": ""}, 814)],
)
def test_wrong_credentials_are_let_in_and_ended_with_a_packet_or_refused_if_told_so(
    wrong: dict[str, str], code: int
) -> None:
    async def late(broker: DhanSimulator) -> None:
        async with connect(address(broker, **wrong)) as client:
            assert [reason(packet) for packet in await rest_of(client)] == [code]

    async def at_once(broker: DhanSimulator) -> None:
        with pytest.raises(InvalidStatus) as refused:
            await connect(address(broker, **wrong))
        assert refused.value.response.status_code == 401

    with_broker(late)
    with_broker(at_once, refuses_dials=True)


def test_a_token_that_dies_and_data_that_is_not_paid_for_are_told_apart() -> None:
    async def scenario(broker: DhanSimulator) -> None:
        async with connect(address(broker)) as client:
            broker.expire_token(close_sockets=True)
            assert [reason(packet) for packet in await rest_of(client)] == [807]
        async with connect(address(broker)) as client:
            assert [reason(packet) for packet in await rest_of(client)] == [807]
        broker.renew_token("next")
        broker.subscribed = False
        async with connect(address(broker)) as client:
            assert [reason(packet) for packet in await rest_of(client)] == [806]

    with_broker(scenario)


class Pinged(LinkHandler):
    """Notes the broker's pings, which the transport answers by itself."""

    def __init__(self) -> None:
        self.pinged = asyncio.Event()

    def control_frame(self, *, answered: bool) -> None:
        if answered:
            self.pinged.set()


def test_clients_are_pinged_and_have_40_s_for_the_answer() -> None:
    limits = DhanSimulator.limits
    assert (limits.pings.seconds, limits.pings.patience) == (10.0, 40.0)

    async def scenario(broker: DhanSimulator) -> None:
        client = Pinged()
        link = await dial(address(broker), client)
        async with asyncio.timeout(20):
            await client.pinged.wait()
        link.close()

    with_broker(scenario, ping_seconds=0.05)


def test_ticks_of_a_message_may_be_several_and_frames_can_be_spoilt() -> None:
    async def scenario(broker: DhanSimulator) -> None:
        async with connect(address(broker)) as client:
            await client.send(request(15, 1594, 2885))
            for _ in range(2):
                await client.recv()
            await broker.step(len(broker.listings))
            message = await client.recv()
            assert len(message) == 32
            for kind, length in ((Malformation.TRUNCATED, 29), (Malformation.WRONG_LENGTH, 34)):
                broker.faults.malformed = Malformed(kind)
                await broker.step(len(broker.listings))
                assert len(await client.recv()) == length

    with_broker(scenario, snapshot=False, packets_a_message=10)


def test_a_full_packet_is_trimmed_to_what_a_lower_mode_is_told() -> None:
    packets = wire.DhanPackets()
    quote = Quote(1594 << 8 | 1, 157_370, 7, 157_037, 1_192_471, 3, 4, 156_915, 157_500, 156_105)
    quote.oi, quote.last_trade_time, quote.levels = 5, 1_795_501_800, tuple(range(1, 31))
    full = packets.record(quote, Mode.DEPTH)
    assert [packets.trimmed(full, mode) for mode in Mode] == [packets.record(quote, mode) for mode in Mode]
    assert list(packets.packets(full * 2 + full[:-1])) == [full, full]
    assert packets.packet_token(full) == quote.token
    assert packets.packet_token(wire.disconnect(805)) is None


# -- HTTP -------------------------------------------------------------------------------------------------


async def posted(broker: DhanSimulator, path: str, body: object, **headers: str) -> tuple[int, Any]:
    proof = {"access-token": broker.access_token, "client-id": broker.api_key, **headers}
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{broker.http_url}{path}", json=body, headers=proof) as answer,
    ):
        return answer.status, await answer.json()


def test_the_rates_are_kept_and_each_family_complains_in_its_own_form() -> None:
    async def scenario(broker: DhanSimulator) -> None:
        asked = {"NSE_EQ": [1594, 77_777]}
        status, told = await posted(broker, "/marketfeed/ltp", asked)
        assert (status, list(told["data"]["NSE_EQ"]), told["status"]) == (200, ["1594"], "success")
        status, told = await posted(broker, "/marketfeed/quote", asked)
        assert (status, told["status"], list(told["data"])) == (429, "failed", ["805"])
        candles = {
            "securityId": "1594",
            "exchangeSegment": "NSE_EQ",
            "instrument": "EQUITY",
            "fromDate": "2026-11-20",
            "toDate": "2026-11-24",
        }
        answers = [await posted(broker, "/charts/historical", candles) for _ in range(6)]
        assert [status for status, _ in answers] == [200] * 5 + [429]
        assert answers[-1][1]["errorCode"] == "DH-904"
        assert broker.stats()["too_fast"] == {"quote": 1, "data": 1}

    with_broker(scenario, clock=lambda: 1_795_501_800.0)


def test_a_dead_token_and_a_bad_request_are_told_in_either_form() -> None:
    async def scenario(broker: DhanSimulator) -> None:
        many = {"NSE_EQ": list(range(1, 1002))}
        for body in (many, {}, "text", {"NSE_EQ": "x"}):
            status, told = await posted(broker, "/marketfeed/ltp", body)
            assert (status, told["errorCode"]) == (400, "DH-905")
        status, told = await posted(broker, "/marketfeed/ltp", many, **{"access-token": "x"})
        assert (status, told["data"]) == (401, {"808": told["data"]["808"]})
        status, told = await posted(broker, "/charts/intraday", {}, **{"access-token": "x"})
        assert (status, told["errorCode"]) == (401, "DH-901")
        broker.subscribed = False
        status, told = await posted(broker, "/marketfeed/ltp", many)
        assert (status, list(told["data"])) == (403, ["806"])
        assert (await posted(broker, "/charts/intraday", {}))[1]["errorCode"] == "DH-902"

    with_broker(scenario, http_rates={})


# -- the pool above it ------------------------------------------------------------------------------------


async def listed(broker: DhanSimulator) -> DhanFeed:
    """Return an account at the broker, with its list."""
    access = Access(
        broker.api_key, Credentials(broker.access_token), ws_url=broker.ws_url, http_url=broker.http_url
    )
    account = BROKER.account(access)
    account.relist(await account.instruments())
    return account


async def live(
    broker: DhanSimulator, pool: WebSocketPool, wanted: Sequence[Instrument], seconds: float
) -> None:
    """Let the market trade until every symbol is live."""
    async with asyncio.timeout(seconds):
        while not all(pool.state(each) is SymbolState.LIVE for each in wanted):
            await broker.step(len(broker.listings))
            await asyncio.sleep(0.05)


def test_a_pool_of_five_sockets_moves_what_an_eviction_took_and_does_not_dial_again() -> None:
    async def scenario(broker: DhanSimulator) -> None:
        account = await listed(broker)
        wanted = list(account.book)[:40]

        async with WebSocketPool(account, max_symbols=10, max_connections=5) as pool:
            pool.subscribe(wanted, Mode.QUOTE)
            await live(broker, pool, wanted, 20)
            assert len(broker.sockets()) == 4
            dials = broker.stats()["dials"]
            # Two more programs of the same account: the second is the sixth socket.
            others = [await connect(address(broker)) for _ in range(2)]
            assert broker.stats()["evictions"] == 1
            await asyncio.sleep(1)  # in which nobody dials; a minute is tried in virtual time
            websocket = pool.get_pool_stats()["websocket"]
            assert websocket["allowed_connections"] == 3
            assert broker.stats()["dials"] == dials + len(others)
            assert broker.stats()["evictions"] == 1
            for other in others:
                await other.close()

    with_broker(scenario, symbols=60)


def test_a_dead_token_parks_the_account_and_the_next_one_brings_everything_back_within_5_s() -> None:
    async def scenario(broker: DhanSimulator) -> None:
        account = await listed(broker)
        wanted = list(account.book)[:20]

        async with WebSocketPool(account, max_symbols=10, max_connections=5) as pool:
            pool.subscribe(wanted, Mode.DEPTH)
            await live(broker, pool, wanted, 20)
            dials = broker.stats()["dials"]
            refused = asyncio.Event()
            account.login.watch(refused.set)
            broker.expire_token(close_sockets=True)
            async with asyncio.timeout(10):
                await refused.wait()
            assert account.login.refused
            await asyncio.sleep(1)  # in which nobody dials
            assert broker.stats()["dials"] - dials <= 2
            broker.renew_token("the-next-token")
            account.login.renew(Credentials("the-next-token"))
            await live(broker, pool, wanted, 5)

    with_broker(scenario, symbols=60)
