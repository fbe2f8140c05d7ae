"""The fan-out with outlets that collect in memory; real sockets are in the gateway's own tests."""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import permutations

from brokerpool.gateway.fanout import Fanout
from brokerpool.ticks import Mode
from tests.clock import Clock
from tests.unit.fanout_stage import (
    INFY,
    NEWS,
    SBIN,
    Inbox,
    admitted,
    client,
    run,
    settled,
    tick,
)


def test_each_mode_gets_its_core_members_with_fixed_types() -> None:
    async def test(fanout: Fanout) -> None:
        inbox, _ = client(fanout, *((INFY, mode) for mode in Mode))
        fanout.ticked([tick(1573.0)])
        ltp, quote, depth = sorted(inbox.frames, key=lambda f: f["mode"])
        assert ltp["data"] == {
            "symbol": "INFY",
            "exchange": "NSE",
            "ltp": 1573.0,
            "timestamp": 1_790_000_000_123,
        }
        assert {k: type(v) for k, v in quote["data"].items()} == {
            **dict.fromkeys(("symbol", "exchange"), str),
            **dict.fromkeys(("ltp", "open", "high", "low", "close", "avg_trade_price"), float),
            **dict.fromkeys(("change", "change_percent"), float),
            **dict.fromkeys(("volume", "last_trade_quantity", "oi", "timestamp"), int),
            **dict.fromkeys(("total_buy_quantity", "total_sell_quantity"), int),
        }
        assert depth["data"]["depth"]["buy"] == [{"price": 1573.0, "quantity": 10, "orders": 2}] * 5
        for frame in (ltp, quote, depth):
            assert list(frame) == ["type", "symbol", "exchange", "mode", "data", "broker"]

    run(test)


def test_one_frame_per_tick_client_and_subscribed_mode() -> None:
    async def test(fanout: Fanout) -> None:
        both, _ = client(fanout, (INFY, Mode.LTP), (INFY, Mode.DEPTH), (INFY, Mode.DEPTH))
        low, _ = client(fanout, (INFY, Mode.LTP))
        for price in (1.0, 2.0):
            fanout.ticked([tick(price)])
        assert both.prices(mode=Mode.LTP) == both.prices(mode=Mode.DEPTH) == [1.0, 2.0]
        assert len(both.frames) == 4
        assert [f["mode"] for f in low.frames] == [1, 1]

    run(test)


def test_a_tick_serves_its_own_mode_and_the_lower_ones_only() -> None:
    async def test(fanout: Fanout) -> None:
        inbox, _ = client(fanout, *((INFY, mode) for mode in Mode))
        fanout.ticked([tick(1.0, mode=Mode.QUOTE)])
        assert sorted(f["mode"] for f in inbox.frames) == [1, 2]

    run(test)


def test_five_clients_in_mixed_modes_leave_in_every_order_and_the_rest_keep_what_they_hold() -> None:
    held = [(Mode.LTP,), (Mode.QUOTE,), (Mode.DEPTH,), (Mode.LTP, Mode.DEPTH), (Mode.LTP, Mode.QUOTE)]

    async def test(fanout: Fanout) -> None:
        for order in permutations(range(5)):
            clients = [client(fanout, *((INFY, mode) for mode in modes)) for modes in held]
            present = set(range(5))
            for leaver in order:
                fanout.ticked([tick(1.0)])
                for n in present:
                    assert sorted(f["mode"] for f in clients[n][0].frames) == sorted(held[n])
                for inbox, _ in clients:
                    inbox.frames.clear()
                deque(fanout.forget(clients[leaver][1]), maxlen=0)
                present.discard(leaver)
            fanout.ticked([tick(1.0)])
            assert not any(inbox.frames for inbox, _ in clients)
        assert fanout.stats()["symbols"] == 0

    run(test)


def test_clients_with_equal_subscriptions_share_one_audience_and_part_again() -> None:
    async def test(fanout: Fanout) -> None:
        keys = ((INFY, Mode.LTP), (SBIN, Mode.QUOTE))
        first, one = client(fanout, *keys)
        second, _ = client(fanout, *reversed(keys))
        await settled()
        assert fanout.stats()["audiences"] == 1
        fanout.ticked([tick(1.0), tick(2.0, SBIN)])
        assert first.frames == second.frames
        assert len(first.frames) == 2

        fanout.remove(one, SBIN, Mode.QUOTE)
        fanout.ticked([tick(3.0), tick(4.0, SBIN)])
        assert fanout.stats()["audiences"] == 2
        assert first.prices() == [1.0, 3.0]
        assert first.prices(SBIN) == [2.0]
        assert second.prices(SBIN) == [2.0, 4.0]

        fanout.add(one, SBIN, Mode.QUOTE)
        await settled()
        assert fanout.stats()["audiences"] == 1
        deque(fanout.forget(one), maxlen=0)
        fanout.ticked([tick(5.0)])
        assert second.prices() == [1.0, 3.0, 5.0]
        assert first.prices() == [1.0, 3.0]

    run(test)


def test_frames_that_wait_when_a_client_moves_reach_exactly_those_they_were_meant_for() -> None:
    async def test(fanout: Fanout) -> None:
        clock.now += 1
        inbox, one = client(fanout, (INFY, Mode.LTP))
        other, _ = client(fanout, (INFY, Mode.LTP))
        await settled()
        fanout._not_before = clock.now + 1  # busy: frames gather
        fanout.ticked([tick(1.0)])
        assert inbox.frames == []
        fanout.add(one, SBIN, Mode.LTP)
        fanout.flush()
        assert inbox.prices() == other.prices() == [1.0]

    clock = Clock()
    run(test, clock)


def test_at_light_load_a_tick_leaves_at_once_and_under_load_frames_leave_together() -> None:
    class Costly(Inbox):
        def send_frames(self, frames: bytes) -> None:
            super().send_frames(frames)
            clock.now += 0.01  # a flush that takes long is what load looks like

    async def test(fanout: Fanout) -> None:
        inbox = Costly()
        fanout.add(admitted(fanout, inbox), INFY, Mode.LTP)
        fanout.ticked([tick(1.0)])
        assert inbox.prices() == [1.0], "at once"
        fanout.ticked([tick(2.0)])
        clock.now += 0.0019
        fanout.ticked([tick(3.0)])
        assert inbox.prices() == [1.0], "gathered"
        clock.now += 0.0002
        fanout.ticked([tick(4.0)])
        assert inbox.prices() == [1.0, 2.0, 3.0, 4.0], "and gone together when 2 ms are over"
        assert inbox.writes == 2

    clock = Clock()
    run(test, clock)


def test_frames_do_not_wait_for_what_others_did_with_the_processor_during_a_flush() -> None:
    class Interrupted(Inbox):
        def send_frames(self, frames: bytes) -> None:
            super().send_frames(frames)
            clock.now += 0.01  # of which this thread had nothing

    async def main() -> None:
        fanout = Fanout("zerodha", 0.002, clock, Clock())
        inbox = Interrupted()
        fanout.add(admitted(fanout, inbox), INFY, Mode.LTP)
        for price in (1.0, 2.0):
            fanout.ticked([tick(price)])
            await asyncio.sleep(0)
        assert inbox.prices() == [1.0, 2.0]
        fanout.close()

    clock = Clock()
    asyncio.run(main())


def test_frames_that_were_gathered_leave_also_when_no_further_tick_comes() -> None:
    async def test(fanout: Fanout) -> None:
        for rest in (0.0005, 0.002):
            inbox, subscriber = client(fanout, (INFY, Mode.LTP))
            fanout._not_before = rest
            fanout.ticked([tick(1.0)])
            assert inbox.prices() == []
            await asyncio.sleep(0.01)
            assert inbox.prices() == [1.0]
            deque(fanout.forget(subscriber), maxlen=0)

    run(test)


def test_frames_that_a_client_gets_as_it_leaves_are_counted() -> None:
    async def test(fanout: Fanout) -> None:
        inbox, subscriber = client(fanout, (INFY, Mode.LTP))
        fanout._not_before = 10.0
        fanout.ticked([tick(1.0), tick(2.0)])
        assert inbox.frames == []
        deque(fanout.forget(subscriber), maxlen=0)
        assert fanout.stats()["frames_delivered"] == len(inbox.frames) > 0

    run(test)


def test_messages_of_one_turn_of_the_loop_leave_in_one_write_behind_it() -> None:
    async def main() -> None:
        fanout = Fanout("zerodha", 0.002, Clock(), Clock())
        inbox, _ = client(fanout, (INFY, Mode.LTP), (SBIN, Mode.LTP))
        fanout.ticked([tick(1.0)])
        fanout.ticked([tick(2.0), tick(10.0, SBIN)])
        assert inbox.frames == [], "another message may come in this turn"
        await asyncio.sleep(0)
        assert (inbox.prices(), inbox.prices(SBIN), inbox.writes) == ([1.0, 2.0], [10.0], 1)
        fanout.close()

    asyncio.run(main())


def test_a_tick_that_comes_after_a_pause_leaves_before_the_turn_of_the_loop_ends() -> None:
    async def main() -> None:
        clock = Clock()
        fanout = Fanout("zerodha", 0.002, clock, clock)
        inbox, _ = client(fanout, (INFY, Mode.LTP))
        clock.now += 0.0011
        fanout.ticked([tick(1.0)])
        assert inbox.prices() == [1.0]
        fanout.close()

    asyncio.run(main())


def test_a_long_read_is_flushed_inside_and_not_only_when_it_ends() -> None:
    class Reading(Clock):
        def __call__(self) -> float:
            self.now += 0.0001
            return self.now

    async def main() -> None:
        clock = Reading()
        fanout = Fanout("zerodha", 0.002, clock, clock)
        inbox, _ = client(fanout, (INFY, Mode.LTP))
        arrived: list[float] = []
        for n in range(1000):  # the loop gets no turn in between
            arrived.append(clock.now)
            fanout.ticked([tick(float(n))])
            waiting = arrived[len(inbox.frames) :]
            assert not waiting or clock.now - waiting[0] < 0.0025, "no frame waits for longer than the window"
        fanout.close()

    asyncio.run(main())


def test_a_newcomer_gets_the_last_value_marked_as_a_snapshot() -> None:
    async def test(fanout: Fanout) -> None:
        client(fanout, (INFY, Mode.QUOTE))
        fanout.ticked([tick(1.0)])
        inbox, _ = client(fanout, (INFY, Mode.QUOTE))
        inbox.send_frames(fanout.snapshot([(INFY, Mode.QUOTE)], lambda _: False))
        assert inbox.prices() == [1.0]
        assert inbox.frames[0]["snapshot"] is True
        assert fanout.snapshot([(SBIN, Mode.LTP)], lambda _: False) == b""

    run(test)


def test_a_newcomer_is_told_when_the_last_value_is_stale() -> None:
    async def test(fanout: Fanout) -> None:
        client(fanout, (INFY, Mode.QUOTE))
        fanout.ticked([tick(1.0)])
        inbox, _ = client(fanout, (INFY, Mode.QUOTE))
        inbox.send_frames(fanout.snapshot([(INFY, Mode.QUOTE)], lambda instrument: instrument == INFY))
        assert inbox.frames[0]["stale"] is True
        fanout.ticked([tick(2.0)])
        assert "stale" not in inbox.frames[1], "a tick is never marked"

    run(test)


def test_news_of_a_symbol_comes_once_in_its_place_among_the_ticks_to_those_who_hold_it() -> None:
    async def test(fanout: Fanout) -> None:
        both, _ = client(fanout, (INFY, Mode.LTP), (INFY, Mode.DEPTH))
        other, _ = client(fanout, (SBIN, Mode.LTP))
        fanout.ticked([tick(1.0)])
        fanout.tell(INFY, NEWS)
        fanout.ticked([tick(2.0)])
        assert [f.get("news") or f["data"]["ltp"] for f in both.frames] == [1.0, 1.0, 1, 2.0, 2.0]
        assert other.frames == []

    run(test)


def test_a_snapshot_from_elsewhere_is_marked_and_becomes_the_last_value() -> None:
    async def test(fanout: Fanout) -> None:
        inbox, _ = client(fanout, (INFY, Mode.LTP), (INFY, Mode.DEPTH))
        fanout.filled([tick(5.0, mode=Mode.QUOTE), tick(5.0, SBIN)])
        assert [(f["mode"], f["snapshot"], f["data"]["ltp"]) for f in inbox.frames] == [(1, True, 5.0)]
        late, _ = client(fanout, (INFY, Mode.LTP))
        late.send_frames(fanout.snapshot([(INFY, Mode.LTP)], lambda _: False))
        assert late.prices() == [5.0]

    run(test)


def test_nothing_is_kept_of_clients_and_symbols_that_are_gone() -> None:
    async def test(fanout: Fanout) -> None:
        for _ in range(50):
            _, subscriber = client(fanout, (INFY, Mode.LTP), (SBIN, Mode.DEPTH))
            fanout.ticked([tick(1.0), tick(1.0, SBIN)])
            fanout.remove(subscriber, SBIN, Mode.DEPTH)
            deque(fanout.forget(subscriber), maxlen=0)
        await settled()
        numbers = fanout.stats()
        assert (numbers["clients"], numbers["symbols"], numbers["audiences"]) == (0, 0, 0)
        assert not fanout._sharing._settled
        assert not fanout._sharing._unsettled
        assert numbers["frames_delivered"] == 100

    run(test)
