"""The simulated Dhan's second endpoint: the limits and refusals of the 20-level depth, counted apart."""

from __future__ import annotations

import asyncio
import struct
from functools import partial
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from brokerpool import TokenBook, WebSocketPool
from brokerpool.brokers.dhan.account import DhanFeed
from brokerpool.simulator import Malformation, Malformed
from brokerpool.simulator.dhan import depth20_wire, wire
from brokerpool.simulator.dhan.broker import DhanSimulator
from brokerpool.simulator.dhan.depth20 import Depth20Subscriptions
from brokerpool.simulator.dhan.depth20_wire import ASK, BID, SIDE_BYTES, Depth20Packets
from brokerpool.simulator.dhan.instruments import NSE_CURRENCY, NSE_EQ, NSE_FNO
from brokerpool.simulator.exchange import Quote
from brokerpool.simulator.fault_switches import FaultOrder
from brokerpool.ticks import Mode
from tests.rehearsal import until
from tests.unit.test_dhan_simulator import request, rest_of, with_broker


def dial(broker: DhanSimulator, **other: str) -> connect:
    said = {"token": broker.access_token, "clientId": broker.api_key, "authType": "2", **other}
    query = "&".join(f"{name}={value}" for name, value in said.items())
    return connect(f"{broker.ws_url}twentydepth?{query}")


def reason(packet: bytes) -> int:
    length, code, *_, in_place_of_the_sequence, behind = struct.unpack("<HBBIIH", packet)
    assert (length, code, in_place_of_the_sequence) == (len(packet), 50, behind)
    return int(behind)


def ids(broker: DhanSimulator, segment: int = NSE_EQ) -> list[int]:
    return [row.token >> 8 for row in broker.listings if row.token & 0xFF == segment]


def connection(pool: WebSocketPool) -> dict[str, Any]:
    (told,) = pool.get_pool_stats()["websocket"]["per_connection"]
    return dict(told)


def counted(pool: WebSocketPool, reason: str, packets: int) -> bool:
    """Tell whether the pool has left out so many packets for the reason."""
    return bool(connection(pool)["skipped_packets"][reason] == packets)


async def reasons(client: ClientConnection) -> list[int]:
    return [reason(packet) for packet in await rest_of(client) if packet[2] == 50]


def test_a_subscription_is_answered_with_both_sides_and_each_trade_brings_them_stacked() -> None:
    async def scenario(broker: DhanSimulator) -> None:
        shares, contracts = ids(broker)[:3], ids(broker, NSE_FNO)[:2]
        async with dial(broker) as client:
            await client.send(request(23, *shares))
            first = await client.recv()
            await client.send(request(23, *contracts, segment="NSE_FNO"))
            second = await client.recv()
            await broker.step(len(broker.listings))
            traded = await client.recv()
        for message, books in ((first, 3), (second, 2), (traded, 5)):
            assert isinstance(message, bytes)
            packets = list(Depth20Packets().packets(message))
            assert [packet[2] for packet in packets] == [BID, ASK] * books
            assert {len(packet) for packet in packets} == {SIDE_BYTES}
            one, other = (Depth20Packets().packet_token(packet) for packet in packets[:2])
            assert one == other

    with_broker(scenario, symbols=200)


def test_the_first_five_levels_are_those_of_the_live_market_feed_and_prices_go_on_from_there() -> None:
    broker = DhanSimulator(symbols=60)
    for row in broker.listings:
        quote = broker.market.quotes[row.token]
        if row.token & 0xFF not in (NSE_EQ, NSE_FNO):
            continue
        for rows, market, sign in (
            (depth20_wire.bids(quote), quote.depth[:15], -1),
            (depth20_wire.asks(quote), quote.depth[15:], 1),
        ):
            prices = [price for price in rows[::3] if price]
            assert prices == sorted(prices, reverse=sign < 0)
            assert len(set(prices)) == len(prices)
            assert rows[:15:3] == [price / quote.unit for price in market[1::3]]
            assert (rows[1:15:3], rows[2:15:3]) == (list(market[::3]), list(market[2::3]))


@pytest.mark.parametrize("code", [25, 24])
def test_the_codes_of_the_documentation_and_of_the_client_end_a_book(code: int) -> None:
    async def scenario(broker: DhanSimulator) -> None:
        share = ids(broker)[0]
        async with dial(broker) as client:
            await client.send(request(23, share))
            await until(lambda: [s["entries"] for s in broker.depth20.sockets()] == [1])
            assert broker.depth20.sockets()[0]["tokens"] == {str(share << 8 | NSE_EQ): "depth20"}
            await client.send(request(code, share))
            await until(lambda: [s["entries"] for s in broker.depth20.sockets()] == [0])

    with_broker(scenario)


def test_segments_without_such_depth_are_ignored() -> None:
    subscriptions = Depth20Subscriptions(50, lambda token: token & 0xFF != NSE_CURRENCY, {})
    assert subscriptions.handle(request(23, 7, segment="NSE_CURRENCY")).added == []

    async def scenario(broker: DhanSimulator) -> None:
        listed = broker.depth20.lists
        assert {row.token & 0xFF for row in broker.listings if listed(row.token)} == {NSE_EQ, NSE_FNO}

    with_broker(scenario, symbols=300)


def test_the_51st_instrument_ends_the_socket_with_804_and_so_does_a_message_of_51() -> None:
    async def scenario(broker: DhanSimulator) -> None:
        shares = ids(broker)
        async with dial(broker) as client:
            await client.send(request(23, *shares[:50]))
            await client.send(request(23, shares[50]))
            assert await reasons(client) == [wire.TOO_MANY_INSTRUMENTS]
        async with dial(broker) as client:
            await client.send(request(23, *shares[:51]))
            assert await reasons(client) == [wire.TOO_MANY_INSTRUMENTS]
        ledger = broker.depth20.stats()
        assert (ledger["violations"]["tokens"], ledger["peak_tokens_per_socket"]) == (2, 50)
        assert not broker.stats()["violations"]["tokens"], "that of the live market feed"

    with_broker(scenario, symbols=150)


@pytest.mark.parametrize(
    "message", ["nonsense", b"\x0f", request(21, 1), request(15, 1), '{"RequestCode": 23}']
)
def test_what_is_no_request_of_this_endpoint_ends_the_socket_with_814(message: str | bytes) -> None:
    async def scenario(broker: DhanSimulator) -> None:
        async with dial(broker) as client:
            await client.send(message)
            assert await reasons(client) == [wire.INVALID_REQUEST]

    with_broker(scenario)


def test_a_sixth_socket_ends_the_first_here_and_none_of_the_live_market_feed() -> None:
    async def scenario(broker: DhanSimulator) -> None:
        first, *others = [await dial(broker) for _ in range(6)]
        assert await reasons(first) == [wire.TOO_MANY_SOCKETS]
        assert [socket["id"] for socket in broker.depth20.sockets()] == [2, 3, 4, 5, 6]
        stats = broker.stats()
        assert (stats["depth20"]["evictions"], stats["depth20"]["dials"]) == (1, 6)
        assert (stats["evictions"], stats["dials"], stats["sockets"]) == (0, 0, 0)
        for client in others:
            await client.close()

    with_broker(scenario)


def test_a_login_that_is_wrong_and_a_plan_without_it_are_told_by_their_codes() -> None:
    async def scenario(broker: DhanSimulator) -> None:
        async with dial(broker, token="wrong") as client:
            assert await reasons(client) == [wire.TOKEN_INVALID]
        async with dial(broker, clientId="0") as client:
            assert await reasons(client) == [wire.CLIENT_INVALID]
        broker.depth20.subscribed = False
        async with dial(broker) as client:
            assert await reasons(client) == [wire.NOT_SUBSCRIBED]
        broker.depth20.subscribed = True
        async with dial(broker) as client:
            broker.expire_token(close_sockets=True)
            assert await reasons(client) == [wire.TOKEN_EXPIRED]

    with_broker(scenario)


def test_the_endpoint_alone_can_be_down_and_with_the_broker_it_is() -> None:
    async def scenario(broker: DhanSimulator) -> None:
        broker.depth20.down = True
        with pytest.raises(InvalidStatus):
            await dial(broker)
        broker.depth20.down = False
        client = await dial(broker)
        await broker.down()
        await asyncio.wait_for(client.wait_closed(), 5)
        assert not broker.depth20.sockets()
        await broker.up()
        async with dial(broker):
            pass

    with_broker(scenario)


def test_what_is_spoilt_is_counted_by_the_pool_and_the_next_book_comes_through() -> None:
    async def scenario(broker: DhanSimulator) -> None:
        account = DhanFeed(broker.api_key, broker.access_token, ws_url=broker.ws_url, deep_book=True)
        row = next(row for row in broker.listings if row.token & 0xFF == NSE_EQ)
        account.relist(TokenBook([("NSE:SHARE", row.token)]))
        assert account.deep_book is not None
        async with WebSocketPool(account.deep_book) as pool:
            pool.subscribe("NSE:SHARE", Mode.DEPTH)
            await pool.wait_live("NSE:SHARE")
            for kind, name, packets in (
                (Malformation.TRUNCATED, "truncated", 1),
                (Malformation.UNKNOWN_TOKEN, "unknown_token", 2),
                (Malformation.WRONG_LENGTH, "unknown_kind", 2),
            ):
                broker.depth20.faults.take(FaultOrder(malformed=Malformed(kind)))
                await broker.step(len(broker.listings))
                await until(partial(counted, pool, name, packets))
            ticks = connection(pool)["ticks"]
            await broker.step(len(broker.listings))
            await until(lambda: connection(pool)["ticks"] > ticks)
            assert broker.depth20.stats()["sockets"] == 1

    with_broker(scenario)


def test_messages_can_be_spoilt() -> None:
    quote = Quote(7 << 8 | NSE_EQ, levels=(1, 500, 1) * 10)
    packets = Depth20Packets()
    record = packets.record(quote, Mode.DEPTH)
    cut = packets.malformed(Malformation.TRUNCATED, [record])
    assert len(cut) == len(record) - 3
    strange = packets.malformed(Malformation.UNKNOWN_TOKEN, [record])
    assert [packets.packet_token(p) for p in packets.packets(strange)] == [0xFFFFFFFF << 8 | NSE_EQ] * 2
    longer = packets.malformed(Malformation.WRONG_LENGTH, [record])
    assert [len(packet) for packet in packets.packets(longer)] == [SIDE_BYTES + 1] * 2
