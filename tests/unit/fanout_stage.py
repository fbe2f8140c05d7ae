"""A fan-out in invented time, whose clients collect frames in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from brokerpool.gateway.fanout import Fanout
from brokerpool.gateway.subscriber_groups import Key, Subscriber
from brokerpool.instruments import Instrument
from brokerpool.ticks import DepthLevel, DepthTick, Mode, QuoteTick, Tick
from brokerpool.transport.frames import server_frame
from tests.clock import Clock

INFY = Instrument("NSE", "INFY")


SBIN = Instrument("NSE", "SBIN")


class Inbox:
    """Takes frames apart as a client's library would."""

    def __init__(self) -> None:
        self.writes = 0
        self.frames: list[dict[str, Any]] = []

    def send_frames(self, frames: bytes) -> None:
        self.writes += 1
        while frames:
            short = frames[1] < 126
            start = 2 if short else 4
            size = frames[1] if short else int.from_bytes(frames[2:4], "big")
            self.frames.append(json.loads(frames[start : start + size]))
            frames = frames[start + size :]

    def prices(self, instrument: Instrument = INFY, mode: Mode | None = None) -> list[float]:
        return [
            f["data"]["ltp"]
            for f in self.frames
            if f["symbol"] == instrument.symbol and mode in (None, f["mode"])
        ]


def tick(ltp: float, instrument: Instrument = INFY, mode: Mode = Mode.DEPTH) -> Tick:
    book = (DepthLevel(ltp, 10, 2),) * 5
    full = DepthTick(instrument, ltp, 1_790_000_000_123, volume=7, buy=book, sell=book)
    if mode == Mode.DEPTH:
        return full
    kind = QuoteTick if mode == Mode.QUOTE else Tick
    return kind(**{name: getattr(full, name) for name in kind.__struct_fields__})


class Prompt(Fanout):
    """A fan-out to which each call comes in a turn of the event loop of its own."""

    def _flush_when_due(self) -> None:
        super()._flush_when_due()
        if self._clock() >= self._not_before:
            self.flush()


def run(test: Callable[[Fanout], Awaitable[None]], clock: Callable[[], float] | None = None) -> None:
    async def main() -> None:
        # Time stands still, so that flushes cost nothing and every tick leaves at once.
        stands = clock or Clock()
        fanout = Prompt("zerodha", 0.002, stands, stands)
        await test(fanout)
        fanout.close()

    asyncio.run(main())


def admitted(fanout: Fanout, inbox: Inbox) -> Subscriber:
    subscriber = Subscriber(inbox)
    fanout.admit(subscriber)
    return subscriber


def client(fanout: Fanout, *keys: Key) -> tuple[Inbox, Subscriber]:
    inbox = Inbox()
    subscriber = admitted(fanout, inbox)
    for instrument, mode in keys:
        fanout.add(subscriber, instrument, mode)
    return inbox, subscriber


def caught_up(fanout: Fanout, subscriber: Subscriber) -> int:
    """Let a slow client have what it missed; return how many steps that took."""
    return sum(1 for _ in fanout.slow_clients.resume(subscriber)) + 1


async def settled() -> None:
    """Let clients with equal subscriptions come together."""
    await asyncio.sleep(0.3)


NEWS = server_frame(b'{"symbol":"INFY","news":1}')
