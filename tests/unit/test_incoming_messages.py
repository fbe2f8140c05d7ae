"""What one socket brings is handed on in order: long messages, short ones, and such as were read together."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Sequence
from typing import Any

from brokerpool.brokers.dhan.broker import BROKER
from brokerpool.brokers.dhan.codec import DhanWire
from brokerpool.brokers.dhan.segments import token
from brokerpool.brokers.wire import Signal
from brokerpool.callback_isolation import Fence
from brokerpool.feed.incoming_messages import SMALL_BYTES, Incoming
from brokerpool.feed.socket_liveness import Liveness
from brokerpool.feed.subscriptions import Subscriptions
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode, Tick
from brokerpool.transport import Link, LinkHandler, dial, serve
from brokerpool.transport.frames import BINARY, server_frame

INFY = Instrument("NSE", "INFY")
NUMBER = 1594


def ticker(price: int) -> bytes:
    return struct.pack("<BHBIfI", 2, 16, 1, NUMBER, price, 0)


class Receiver:
    """Keeps the lists of ticks that it is given, and waits for one with a price."""

    def __init__(self) -> None:
        self.lists: list[list[float]] = []
        self.came = asyncio.Event()

    def ticked(self, ticks: list[Tick]) -> None:
        self.lists.append([tick.ltp for tick in ticks])
        self.came.set()

    def arrived(self, instruments: list[Instrument]) -> None: ...
    def signalled(self, signal: Signal) -> None: ...
    def pong_sent(self) -> None: ...
    def closed(self, code: int, reason: str) -> None: ...

    async def until(self, price: float) -> list[list[float]]:
        """Return what came, once this price has."""
        async with asyncio.timeout(10):
            while not any(price in prices for prices in self.lists):
                self.came.clear()
                await self.came.wait()
        return self.lists


class Counting(DhanWire):
    """Counts the messages that it reads one by one."""

    alone = 0

    def binary(self, *arguments: Any) -> list[Tick]:
        self.alone += 1
        return super().binary(*arguments)


class Broker(LinkHandler):
    """Sends what it is told to, in one write."""

    def opened(self, link: Link) -> None:
        self.link = link

    def says(self, messages: Sequence[bytes]) -> None:
        self.link.send_frames(b"".join(server_frame(message, BINARY) for message in messages))


class Paused(Incoming):
    """Counts how often its socket is not read."""

    pauses = 0

    def opened(self, link: Link) -> None:
        pause = link.pause_reading

        def counted() -> None:
            self.pauses += 1
            pause()

        link.pause_reading = counted  # type: ignore[method-assign]
        super().opened(link)


async def heard(*reads: Sequence[bytes]) -> tuple[list[list[float]], Paused, Counting]:
    """Return the prices, list by list, of what comes in so many reads, each with one more price at its end.

    Besides, what has heard them, and what has read them.
    """
    broker, receiver = Broker(), Receiver()
    subscriptions = Subscriptions(BROKER.limits.capacity)
    subscriptions.want(token(1, NUMBER), INFY, Mode.LTP, 0.0)
    batch = subscriptions.next_batch(100)
    assert batch is not None
    subscriptions.told(batch, 0.0)
    liveness = Liveness(60.0, 0.0)
    incoming = Paused(receiver, subscriptions, liveness, Fence("test"), time.monotonic, time.time)
    wire = Counting()
    incoming.begin(wire)
    server = await serve(lambda _: broker, "127.0.0.1", 0)
    link = await dial(f"ws://127.0.0.1:{server.port}/", incoming)
    for number, messages in enumerate(reads):
        broker.says([*messages, ticker(900 + number)])
        await receiver.until(900.0 + number)
    link.abort()
    await server.close()
    return receiver.lists, incoming, wire


def prices(count: int) -> list[int]:
    return list(range(1000, 1000 + count))


def test_messages_that_are_read_together_are_one_list() -> None:
    lists, incoming, wire = asyncio.run(heard([], [ticker(price) for price in prices(50)]))
    assert lists == [[900.0], [*map(float, prices(50)), 901.0]]
    assert (incoming.ticks, incoming.heartbeats, incoming.pauses) == (52, 0, 0)
    assert wire.alone == 1, "the first one: until it has come, nobody knows where a message begins"


def test_messages_behind_a_long_one_wait_for_its_parts() -> None:
    long = b"".join(map(ticker, prices(SMALL_BYTES // 16 + 1)))
    after = [ticker(price) for price in range(5000, 5030)]
    lists, incoming, _ = asyncio.run(heard([], [long, *after]))
    told = [price for prices in lists for price in prices]
    assert told == [900.0, *map(float, prices(SMALL_BYTES // 16 + 1)), *map(float, range(5000, 5030)), 901.0]
    assert max(map(len, lists)) <= 250
    assert incoming.pauses == 1


def test_a_long_message_that_is_one_part_is_read_at_once_and_the_socket_goes_on_being_read() -> None:
    quote = struct.pack("<BHBIfHIfIII16s", 4, 50, 1, NUMBER, 7.0, 1, 0, 0.0, 1, 1, 1, bytes(16))
    long = quote * 200
    assert len(long) > SMALL_BYTES
    lists, incoming, _ = asyncio.run(heard([], [long]))
    assert sorted(map(len, lists)) == [1, 1, 200]
    assert incoming.pauses == 0


def test_messages_of_strangers_that_are_read_together_are_counted_each() -> None:
    stranger = struct.pack("<BHBIfI", 2, 16, 1, 1, 5.0, 0)
    lists, incoming, _ = asyncio.run(heard([], [stranger] * 20, [b"\x07" + bytes(7)] * 3))
    assert lists == [[900.0], [901.0], [902.0]]
    assert incoming.stats(0.0)["skipped_packets"]["unknown_token"] == 20
