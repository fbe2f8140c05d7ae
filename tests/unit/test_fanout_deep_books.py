"""The deeper book in the fan-out: never an old one as new, and nothing for who has five levels."""

from __future__ import annotations

from collections.abc import Callable

from brokerpool.gateway.fanout import Fanout
from brokerpool.gateway.subscriber_groups import DEEP, Subscriber
from brokerpool.instruments import Instrument
from brokerpool.ticks import DepthLevel, DepthTick, Mode
from brokerpool.transport.frames import server_frame
from tests.unit.fanout_stage import INFY, SBIN, Inbox, caught_up, client, run, tick

AWAY = server_frame(b'{"type":"feed_status","symbol":"INFY","status":"depth_stale"}')


def book(price: float, instrument: Instrument = INFY) -> DepthTick:
    levels = (DepthLevel(price, 10, 2),) * 20
    return DepthTick(instrument, 0.0, 1_790_000_000_200, buy=levels, sell=levels)


def fresh(instrument: Instrument) -> bool:
    return False


def told(inbox: Inbox) -> list[object]:
    """Return of each frame its price, its best bid and its levels, or its status."""
    return [
        (f["data"]["ltp"], f["data"]["depth"]["buy"][0]["price"], len(f["data"]["depth"]["buy"]))
        if f["type"] == "market_data"
        else f["status"]
        for f in inbox.frames
    ]


def test_each_tick_and_each_book_is_a_frame_with_the_newest_of_both() -> None:
    async def test(fanout: Fanout) -> None:
        inbox, _ = client(fanout, (INFY, DEEP))
        fanout.deepened([book(90.0), book(91.0, SBIN)], fresh)
        assert told(inbox) == [], "without a tick there is no price"
        fanout.ticked([tick(1.0)])
        fanout.deepened([book(92.0)], fresh)
        fanout.ticked([tick(2.0)])
        assert told(inbox) == [(1.0, 90.0, 20), (1.0, 92.0, 20), (2.0, 92.0, 20)]
        assert {frame["mode"] for frame in inbox.frames} == {3}

    run(test)


def test_a_book_that_comes_while_the_ticks_are_away_waits_for_the_next_tick() -> None:
    async def test(fanout: Fanout) -> None:
        inbox, _ = client(fanout, (INFY, DEEP))
        fanout.ticked([tick(1.0)])
        fanout.deepened([book(92.0)], lambda instrument: True)
        assert told(inbox) == [(1.0, 1.0, 5)]
        fanout.ticked([tick(2.0)])
        assert told(inbox)[1:] == [(2.0, 92.0, 20)]

    run(test)


def test_a_tick_without_a_book_of_its_own_is_not_made_one() -> None:
    async def test(fanout: Fanout) -> None:
        inbox, _ = client(fanout, (INFY, DEEP))
        fanout.ticked([tick(1.0, mode=Mode.QUOTE)])
        fanout.deepened([book(92.0)], fresh)
        assert told(inbox) == []

    run(test)


def test_clients_of_five_levels_get_the_very_bytes_that_they_got_before() -> None:
    class Raw:
        def __init__(self) -> None:
            self.bytes = b""

        def send_frames(self, frames: bytes) -> None:
            self.bytes += frames

    def seen(beside: Callable[[Fanout], object]) -> dict[Mode, bytes]:
        outlets = {mode: Raw() for mode in Mode}

        async def test(fanout: Fanout) -> None:
            for number, (mode, outlet) in enumerate(outlets.items()):
                subscriber = Subscriber(outlet, number)
                fanout.admit(subscriber)
                fanout.add(subscriber, INFY, mode)
            beside(fanout)
            for price in (1.0, 2.0, 3.0):
                fanout.ticked([tick(price)])
                fanout.deepened([book(price + 90)], fresh)
            fanout.flatten(INFY, AWAY)
            fanout.ticked([tick(4.0)])
            fanout.tell_deep(INFY, AWAY)

        run(test)
        return {mode: outlet.bytes for mode, outlet in outlets.items()}

    alone = seen(lambda fanout: None)
    assert seen(lambda fanout: client(fanout, (INFY, DEEP))) == alone
    assert all(alone.values())


def test_when_the_feed_is_away_its_listeners_are_told_and_have_the_levels_of_the_tick() -> None:
    async def test(fanout: Fanout) -> None:
        inbox, _ = client(fanout, (INFY, DEEP))
        fanout.ticked([tick(1.0)])
        fanout.deepened([book(92.0)], fresh)
        fanout.flatten(INFY, AWAY)
        fanout.ticked([tick(2.0)])
        assert told(inbox)[-2:] == ["depth_stale", (2.0, 2.0, 5)]
        fanout.flatten(SBIN, AWAY)  # which nobody holds
        fanout.deepened([book(93.0)], fresh)
        assert told(inbox)[-1] == (2.0, 93.0, 20)

    run(test)


def test_a_client_that_was_slow_gets_no_book_that_has_gone_meanwhile() -> None:
    async def test(fanout: Fanout) -> None:
        slow, subscriber = client(fanout, (INFY, DEEP))
        few, other = client(fanout, (INFY, Mode.DEPTH))
        fanout.ticked([tick(1.0)])
        fanout.pause(subscriber)
        fanout.pause(other)
        fanout.ticked([tick(2.0)])
        fanout.deepened([book(92.0)], fresh)
        fanout.flatten(INFY, AWAY)
        caught_up(fanout, subscriber)
        caught_up(fanout, other)
        assert told(slow)[1:] == ["depth_stale", (2.0, 2.0, 5)]
        assert told(few)[1:] == [(2.0, 2.0, 5)]

    run(test)


def test_of_several_books_a_slow_client_gets_the_newest() -> None:
    async def test(fanout: Fanout) -> None:
        slow, subscriber = client(fanout, (INFY, DEEP))
        fanout.ticked([tick(1.0)])
        fanout.pause(subscriber)
        for price in (92.0, 93.0, 94.0):
            fanout.deepened([book(price)], fresh)
        caught_up(fanout, subscriber)
        assert told(slow)[1:] == [(1.0, 94.0, 20)]
        assert fanout.stats()["frames_conflated"] == 2

    run(test)


def test_who_comes_later_has_the_levels_at_once_and_the_last_one_takes_them_along() -> None:
    async def test(fanout: Fanout) -> None:
        _, first = client(fanout, (INFY, DEEP))
        client(fanout, (INFY, Mode.DEPTH))
        fanout.ticked([tick(1.0)])
        fanout.deepened([book(92.0)], fresh)
        late, second = client(fanout, (INFY, DEEP))
        late.send_frames(fanout.snapshot([(INFY, DEEP)], fresh))
        assert told(late) == [(1.0, 92.0, 20)]
        assert late.frames[0]["snapshot"]
        for subscriber in (first, second):
            fanout.remove(subscriber, INFY, DEEP)
        fanout.deepened([book(93.0)], fresh)
        fanout.add(second, INFY, DEEP)
        late.send_frames(fanout.snapshot([(INFY, DEEP)], fresh))
        assert told(late)[1:] == [(1.0, 1.0, 5)], "a book of which nobody knows how old it is"

    run(test)
