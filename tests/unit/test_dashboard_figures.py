"""What the dashboard tells of clients and refused symbols: the worst first, bounded, and nothing lost."""

from __future__ import annotations

import asyncio

from brokerpool import Instrument, Mode, Tick
from brokerpool.errors import ErrorCode
from brokerpool.gateway.fanout import Fanout
from brokerpool.gateway.refusal_log import SIZE, RefusalLog
from brokerpool.gateway.subscriber_groups import Subscriber
from tests.gateway_client import gateway, raw_client
from tests.rehearsal import until

INFY = Instrument("NSE", "INFY")


class Outlet:
    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def send_frames(self, frames: bytes) -> None:
        self.frames.append(frames)


def test_the_client_that_is_behind_for_longest_comes_first_then_the_one_that_missed_most() -> None:
    async def main() -> None:
        now = 100.0
        fanout = Fanout("zerodha", window=0.0, clock=lambda: now)
        first, second, third = subscribers = [Subscriber(Outlet(), n) for n in (1, 2, 3)]
        for subscriber in subscribers:
            fanout.admit(subscriber)
            fanout.add(subscriber, INFY, Mode.LTP)
        fanout.pause(second)
        now += 2.0
        fanout.pause(third)
        now += 3.0
        for price in range(4):
            fanout.ticked([Tick(INFY, float(price), 0)])
            fanout.flush()
        standings = fanout.slow_clients.slowest(3)
        assert [(s.number, s.behind_seconds, s.conflated) for s in standings] == [
            (2, 5.0, 4),
            (3, 3.0, 4),
            (1, 0.0, 0),
        ]
        assert list(fanout.slow_clients.resume(second)) == [], "in one step"
        assert [s.number for s in fanout.slow_clients.slowest(3)] == [3, 2, 1], "what it missed is remembered"
        assert [s.conflated for s in fanout.slow_clients.slowest(3)] == [4, 3, 0], (
            "of four frames it got the newest"
        )
        assert len(fanout.slow_clients.slowest(1)) == 1
        assert first.delivered == 4
        fanout.close()

    asyncio.run(main())


def test_a_client_that_is_closed_because_it_does_not_read_is_counted_as_dropped() -> None:
    async def main() -> None:
        small = {"BROKERPOOL_CLIENT_BUFFER_BYTES": "4096", "BROKERPOOL_CLIENT_STUCK_SECONDS": "0.3"}
        async with gateway({"symbols": 5, "rate": 5000}, **small) as (broker, served_by):
            rows = [{"symbol": row.tradingsymbol, "exchange": row.exchange} for row in broker.listings]
            _, writer = await raw_client(served_by.ws_url, rows)
            await until(lambda: served_by._fanout.dropped == 1)
            writer.close()
            _, polite = await raw_client(served_by.ws_url, [])
            await until(lambda: served_by.clients == 1)
            polite.close()
            await until(lambda: served_by.clients == 0)
            assert served_by._fanout.dropped == 1

    asyncio.run(main())


def test_refusals_are_remembered_newest_first_and_no_request_pushes_all_others_out() -> None:
    log = RefusalLog(lambda: 7.0)
    log.note(1, {INFY: (ErrorCode.SYMBOL_NOT_FOUND, "zerodha does not list NSE:INFY")})
    many = {Instrument("NSE", f"S{n}"): (ErrorCode.MAX_CAPACITY_REACHED, "full") for n in range(5000)}
    log.note(2, many)
    assert log.counts == {"SYMBOL_NOT_FOUND": 1, "MAX_CAPACITY_REACHED": 5000}
    remembered = log.newest(SIZE)
    assert remembered[-1] == (7000, 1, "NSE:INFY", "SYMBOL_NOT_FOUND", "zerodha does not list NSE:INFY")
    assert {refusal.client for refusal in remembered[:-1]} == {2}
    for _ in range(100):
        log.note(3, many)
    assert len(log.newest(10 * SIZE)) == SIZE
