"""A client that cannot keep up: brought up to date in slices, with what it missed and nothing else."""

from __future__ import annotations

import json

import pytest

from brokerpool.gateway.fanout import Fanout
from brokerpool.gateway.subscriber_groups import Subscriber
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode
from brokerpool.transport.frames import server_frame
from tests.unit.fanout_stage import (
    INFY,
    NEWS,
    SBIN,
    Inbox,
    admitted,
    caught_up,
    client,
    run,
    settled,
    tick,
)


def test_a_slow_client_gets_the_newest_value_of_each_symbol_and_delays_nobody() -> None:
    async def test(fanout: Fanout) -> None:
        slow, subscriber = client(fanout, (INFY, Mode.LTP), (SBIN, Mode.LTP))
        quick, _ = client(fanout, (INFY, Mode.LTP), (SBIN, Mode.LTP))
        await settled()
        fanout.ticked([tick(1.0), tick(10.0, SBIN)])
        fanout.pause(subscriber)
        for price in (2.0, 3.0, 4.0):
            fanout.ticked([tick(price)])
        assert slow.prices() == [1.0]
        assert quick.prices() == [1.0, 2.0, 3.0, 4.0]
        caught_up(fanout, subscriber)
        assert slow.prices() == [1.0, 4.0]
        assert slow.prices(SBIN) == [10.0], "what did not change is not sent again"
        assert fanout.stats()["frames_conflated"] == 2
        fanout.ticked([tick(5.0)])
        assert slow.prices() == [1.0, 4.0, 5.0]

    run(test)


def test_a_client_that_missed_a_single_tick_gets_it_when_it_resumes() -> None:
    async def test(fanout: Fanout) -> None:
        slow, subscriber = client(fanout, (INFY, Mode.LTP))
        fanout.ticked([tick(1.0)])
        fanout.pause(subscriber)
        fanout.ticked([tick(2.0)])
        caught_up(fanout, subscriber)
        assert slow.prices() == [1.0, 2.0]

    run(test)


def test_no_frame_of_a_symbol_comes_after_it_was_given_up() -> None:
    async def test(fanout: Fanout) -> None:
        inbox, subscriber = client(fanout, (INFY, Mode.LTP), (SBIN, Mode.LTP))
        fanout._not_before = 1.0  # busy: frames wait
        fanout.ticked([tick(1.0)])
        fanout.remove(subscriber, INFY, Mode.LTP)
        assert inbox.prices() == [1.0], "what came before goes before"
        fanout.ticked([tick(2.0), tick(2.0, SBIN)])
        fanout.flush()
        assert inbox.prices() == [1.0]
        assert inbox.prices(SBIN) == [2.0]

    run(test)


def test_values_that_wait_when_a_slow_client_resumes_do_not_follow_newer_ones() -> None:
    async def test(fanout: Fanout) -> None:
        slow, subscriber = client(fanout, (INFY, Mode.LTP))
        fanout.pause(subscriber)
        fanout.ticked([tick(1.0)])
        fanout._not_before = 1.0  # busy: the next ticks wait
        fanout.ticked([tick(2.0)])
        fanout.ticked([tick(3.0)])
        caught_up(fanout, subscriber)
        fanout.flush()
        assert slow.prices() == [3.0]

    run(test)


def test_a_client_paused_by_its_own_write_gets_nothing_twice() -> None:
    async def test(fanout: Fanout) -> None:
        class Full(Inbox):
            def send_frames(self, frames: bytes) -> None:
                super().send_frames(frames)
                fanout.pause(subscriber)

        inbox = Full()
        subscriber = admitted(fanout, inbox)
        fanout.add(subscriber, INFY, Mode.LTP)
        fanout.ticked([tick(1.0)])
        caught_up(fanout, subscriber)
        assert inbox.prices() == [1.0]

    run(test)


def test_a_slow_client_gets_the_news_that_it_missed_before_the_newest_values() -> None:
    async def test(fanout: Fanout) -> None:
        inbox, subscriber = client(fanout, (INFY, Mode.LTP), (INFY, Mode.QUOTE))
        fanout.tell(INFY, NEWS)
        fanout.pause(subscriber)
        for price in (1.0, 2.0):
            fanout.tell(INFY, NEWS)
            fanout.ticked([tick(price)])
        caught_up(fanout, subscriber)
        assert [f.get("news") or f["data"]["ltp"] for f in inbox.frames] == [1, 1, 1, 2.0, 2.0]

    run(test)


def test_a_slow_client_gets_no_frame_again_because_a_lower_tick_came_meanwhile() -> None:
    async def test(fanout: Fanout) -> None:
        slow, subscriber = client(fanout, (INFY, Mode.LTP), (INFY, Mode.DEPTH))
        fanout.ticked([tick(1.0)])
        fanout.pause(subscriber)
        fanout.ticked([tick(2.0, mode=Mode.QUOTE)])
        caught_up(fanout, subscriber)
        assert slow.prices(mode=Mode.DEPTH) == [1.0]
        assert slow.prices(mode=Mode.LTP) == [1.0, 2.0]

    run(test)


def test_a_client_that_subscribes_while_it_is_slow_gets_nothing_from_before() -> None:
    async def test(fanout: Fanout) -> None:
        client(fanout, (SBIN, Mode.LTP))
        slow, subscriber = client(fanout, (INFY, Mode.LTP))
        fanout.pause(subscriber)
        fanout.ticked([tick(1.0, SBIN)])
        fanout.tell(SBIN, NEWS)
        fanout.add(subscriber, SBIN, Mode.LTP)
        caught_up(fanout, subscriber)
        assert slow.frames == []
        fanout.pause(subscriber)
        fanout.ticked([tick(2.0, SBIN)])
        caught_up(fanout, subscriber)
        assert slow.prices(SBIN) == [2.0]

    run(test)


def test_many_symbols_come_in_slices_and_what_moves_meanwhile_comes_newest_only() -> None:
    many = [Instrument("NSE", f"S{n}") for n in range(1000)]

    async def test(fanout: Fanout) -> None:
        slow, subscriber = client(fanout, *((instrument, Mode.LTP) for instrument in many))
        fanout.pause(subscriber)
        fanout.ticked([tick(1.0, instrument) for instrument in many])
        steps = fanout.slow_clients.resume(subscriber)
        next(steps)
        assert 0 < len(slow.frames) < 400
        assert fanout.stats()["slow_clients"] == 1, "it counts as behind until it has all"
        first, last = many[0], many[-1]
        fanout.ticked([tick(2.0, first), tick(2.0, last)])
        assert sum(1 for _ in steps) > 1
        assert (slow.prices(first), slow.prices(last)) == ([1.0, 2.0], [2.0])
        assert len(slow.frames) == 1001
        fanout.ticked([tick(3.0, first)])
        assert slow.prices(first) == [1.0, 2.0, 3.0]
        assert fanout.stats()["frames_delivered"] == 1002
        assert fanout.stats()["frames_conflated"] == 1

    run(test)


def test_a_client_that_stops_reading_again_in_between_gets_the_rest_later_and_nothing_twice() -> None:
    many = [Instrument("NSE", f"S{n}") for n in range(1000)]

    async def test(fanout: Fanout) -> None:
        slow, subscriber = client(fanout, *((instrument, Mode.LTP) for instrument in many))
        fanout.pause(subscriber)
        fanout.ticked([tick(1.0, instrument) for instrument in many])
        next(fanout.slow_clients.resume(subscriber))
        fanout.pause(subscriber)
        had = len(slow.frames)
        caught_up(fanout, subscriber)
        assert had < len(slow.frames) == 1000
        assert all(slow.prices(instrument) == [1.0] for instrument in many)

    run(test)


@pytest.mark.parametrize("paused_by_it", [False, True])
def test_of_news_for_everybody_a_slow_client_gets_the_last_and_a_stranger_none(paused_by_it: bool) -> None:
    class Full(Inbox):
        def send_frames(self, frames: bytes) -> None:
            super().send_frames(frames)
            fanout_of[0].pause(subscriber_of[0])

    async def test(fanout: Fanout) -> None:
        inbox = Full() if paused_by_it else Inbox()
        fanout_of.append(fanout)
        subscriber_of.append(admitted(fanout, inbox))
        stranger = Inbox()
        never_admitted = Subscriber(stranger)
        fanout.pause(never_admitted)
        if not paused_by_it:
            fanout.pause(subscriber_of[0])
        for number in range(3):
            fanout.tell_all(server_frame(json.dumps({"news": number}).encode()))
        before = [frame["news"] for frame in inbox.frames]
        caught_up(fanout, never_admitted)
        caught_up(fanout, subscriber_of[0])
        assert [frame["news"] for frame in inbox.frames] == ([0, 2] if paused_by_it else [2])
        assert before == ([0] if paused_by_it else [])
        assert stranger.frames == []

    fanout_of: list[Fanout] = []
    subscriber_of: list[Subscriber] = []
    run(test)


def test_no_older_value_follows_a_snapshot() -> None:
    async def test(fanout: Fanout) -> None:
        inbox, _ = client(fanout, (INFY, Mode.LTP))
        fanout._not_before = 10.0  # busy: frames gather
        fanout.ticked([tick(1.0), tick(2.0)])
        inbox.send_frames(fanout.snapshot([(INFY, Mode.LTP)], lambda _: False))
        fanout.flush()
        assert inbox.prices() == [1.0, 2.0, 2.0]
        assert inbox.frames[-1]["snapshot"] is True

    run(test)
