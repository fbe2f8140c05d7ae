"""The broker's list over days of virtual time: read when it has to be, and never replaced by a worse one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random

import pytest

from brokerpool import BrokerError, Credentials, ErrorCode, Instrument, TokenBook
from brokerpool.brokers.account import Account
from brokerpool.brokers.rest import RestCodec
from brokerpool.feed.listeners import PoolListener
from brokerpool.gateway.instrument_refresh import REFRESH_SECONDS, InstrumentRefresh
from brokerpool.testing.virtual_loop import EPOCH, run
from tests.simulation.stage import Stage, stage

DAY = 86_400
READY = 11_700


class Broker:
    """The stage's account with a list that can be read again: it is what a test wants, and when is kept."""

    list_ready = READY
    http_url = ""
    deep_book: Account | None = None

    def __init__(self, scene: Stage) -> None:
        self.scene = scene
        self.name, self.limits, self.login = scene.feed.name, scene.feed.limits, scene.feed.login
        self.endpoint, self.wire = scene.feed.endpoint, scene.feed.wire
        self.refused, self.book = scene.feed.refused, scene.feed.book
        self.tells_orders, self.ask = scene.feed.tells_orders, scene.feed.ask
        self.times: list[float] = []
        self.open = self.most = 0
        self.answer: Callable[[], Awaitable[TokenBook]] = self.same

    def relist(self, book: TokenBook) -> None:
        self.book = self.scene.feed.book = book

    async def same(self) -> TokenBook:
        return TokenBook((i, n) for n, i in enumerate(self.scene.feed.instruments, 1))

    async def instruments(self) -> TokenBook:
        self.times.append(self.scene.loop.wall_clock())
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            return await self.answer()
        finally:
            self.open -= 1

    def rest(self) -> RestCodec:
        raise NotImplementedError  # the list is all that is asked for here

    def gives(self, book: TokenBook) -> None:
        async def answer() -> TokenBook:
            return book

        self.answer = answer

    def fails(self, error: Exception) -> None:
        async def answer() -> TokenBook:
            raise error

        self.answer = answer


@asynccontextmanager
async def refreshing(**options: object) -> AsyncIterator[tuple[Broker, InstrumentRefresh]]:
    async with stage(**options) as scene:  # type: ignore[arg-type]  # what the test varies
        broker = Broker(scene)
        refresh = InstrumentRefresh(
            scene.pool,
            broker,
            random=Random(1),
            wall_clock=scene.loop.wall_clock,
        )
        refresh.start()
        try:
            yield broker, refresh
        finally:
            await refresh.stop()


def book(scene: Stage, count: int) -> TokenBook:
    return TokenBook((i, n) for n, i in enumerate(scene.feed.instruments[:count], 1))


def away() -> BrokerError:
    return BrokerError("HTTP 503", code=ErrorCode.BROKER_UNREACHABLE)


@pytest.mark.parametrize("by", ["provider", "hand"])
def test_every_new_version_of_the_login_has_the_list_read_again_whoever_brought_it(by: str) -> None:
    async def main() -> None:
        async def provider() -> Credentials:
            return Credentials("day-2")

        async with refreshing(provider=provider) as (broker, refresh):
            login = broker.scene.feed.login
            await asyncio.sleep(5)
            assert broker.times == []
            if by == "provider":
                login.refuse(1)  # the pool, or any call, is the first to hear of it
            else:
                login.renew(Credentials("day-2"))
            await asyncio.sleep(5)
            login.renew(Credentials("day-2"))  # the one who watches the store is second
            await asyncio.sleep(5)
            assert len(broker.times) == 1
            assert refresh.stats()["instruments_reads"] == {"taken": 1, "refused": 0, "failed": 0}

    run(main)


def test_the_list_of_each_day_is_read_soon_after_it_can_be_had_and_before_that_of_yesterday_is_left() -> None:
    async def main() -> None:
        async with refreshing() as (broker, refresh):
            await asyncio.sleep(3 * DAY)
            print([at - EPOCH for at in broker.times])
            assert len(broker.times) == 3
            assert all(0 <= (at - READY) % DAY <= 180 for at in broker.times)
            assert refresh.stats()["instruments_age_seconds"] < DAY

    run(main)


def test_a_list_that_cannot_be_had_is_asked_for_again_with_growing_rests_until_it_can() -> None:
    async def main() -> None:
        async with refreshing() as (broker, refresh):
            broker.fails(away())
            refresh.request()
            await asyncio.sleep(3600)
            assert 8 <= len(broker.times) <= 15
            assert "HTTP 503" in refresh.fault
            assert len(broker.scene.feed.book) == 30
            broker.gives(book(broker.scene, 29))
            await broker.scene.until(lambda: not refresh.fault, 15 * 60)
            assert len(broker.scene.feed.book) == 29
            asked = len(broker.times)
            await asyncio.sleep(3600)
            assert len(broker.times) == asked

    run(main)


def test_a_broker_that_wants_to_be_left_alone_for_a_while_is() -> None:
    async def main() -> None:
        async with refreshing() as (broker, refresh):
            error = BrokerError("busy", code=ErrorCode.BROKER_UNREACHABLE)
            error.retry_after = 300.0
            broker.fails(error)
            refresh.request()
            await asyncio.sleep(700)
            first, second, third = broker.times
            assert second - first >= 300
            assert third - second >= 300

    run(main)


def test_who_asks_while_it_rests_has_it_read_at_once() -> None:
    async def main() -> None:
        async with refreshing() as (broker, refresh):
            broker.fails(away())
            refresh.request()
            await asyncio.sleep(3600)
            broker.gives(book(broker.scene, 30))
            refresh.request()
            await asyncio.sleep(1)
            assert not refresh.fault

    run(main)


def test_a_list_that_lost_most_of_its_rows_does_not_replace_a_good_one_and_is_asked_for_again() -> None:
    async def main() -> None:
        async with refreshing() as (broker, refresh):
            broker.gives(book(broker.scene, 14))
            refresh.request()
            await asyncio.sleep(60)
            assert len(broker.scene.feed.book) == 30
            assert "14 rows instead of 30" in refresh.fault
            assert refresh.stats()["instruments_reads"]["refused"] == len(broker.times) > 2
            broker.gives(book(broker.scene, 16))
            await broker.scene.until(lambda: not refresh.fault, 200)
            assert len(broker.scene.feed.book) == 16

    run(main)


def test_a_reading_that_hangs_is_given_up_and_tried_again() -> None:
    async def main() -> None:
        async def hangs() -> TokenBook:
            await asyncio.sleep(1e9)
            raise AssertionError

        async with refreshing() as (broker, refresh):
            broker.answer = hangs
            refresh.request()
            await asyncio.sleep(REFRESH_SECONDS + 10)
            assert "not read within 120 s" in refresh.fault
            assert (len(broker.times), broker.most) == (2, 1)

    run(main)


def test_what_an_adapter_raises_does_not_end_the_refreshing(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with refreshing() as (broker, refresh):
            broker.fails(KeyError("of the adapter's own"))
            refresh.request()
            await asyncio.sleep(2)
            assert "KeyError" in refresh.fault
            broker.gives(book(broker.scene, 30))
            await broker.scene.until(lambda: not refresh.fault, 10)

    run(main)


def test_a_listener_that_raises_does_not_end_the_refreshing(caplog: pytest.LogCaptureFixture) -> None:
    class Rude(PoolListener):
        def delisted(self, instruments: list[Instrument]) -> None:
            raise RuntimeError("of the listener's own")

    async def main() -> None:
        async with refreshing() as (broker, refresh):
            scene = broker.scene
            scene.pool.subscribe(scene.feed.instruments[0])
            scene.pool.listen(Rude())
            broker.gives(TokenBook((i, n) for n, i in enumerate(scene.feed.instruments[1:], 1)))
            refresh.request()
            await asyncio.sleep(30)
            assert refresh.stats()["instruments_reads"]["taken"] == 1
            assert len(scene.pool.demand) == 0

    run(main)


def test_one_list_is_read_at_a_time_and_who_asks_meanwhile_has_one_more_read() -> None:
    async def main() -> None:
        async def slow() -> TokenBook:
            await asyncio.sleep(10)
            return book(broker.scene, 30)

        async with refreshing() as (broker, refresh):
            broker.answer = slow
            refresh.request()
            for _ in range(5):
                await asyncio.sleep(1)
                refresh.request()
            await asyncio.sleep(60)
            assert (len(broker.times), broker.most) == (2, 1)

    run(main)


@pytest.mark.parametrize("after", [0.0, 0.5, 5.0])
def test_the_end_in_the_middle_of_a_reading_leaves_nothing_behind(after: float) -> None:
    async def main() -> None:
        async def slow() -> TokenBook:
            await asyncio.sleep(1)
            return book(broker.scene, 20)

        async with refreshing() as (broker, refresh):
            broker.answer = slow
            refresh.request()
            await asyncio.sleep(after)

    run(main)


def test_the_same_list_again_disturbs_nothing() -> None:
    async def main() -> None:
        async with refreshing() as (broker, refresh):
            scene = broker.scene
            scene.pool.subscribe(scene.feed.instruments)
            await scene.until(scene.all_live, 30)
            before = [(s.number, dict(s.tokens)) for s in scene.broker.sockets]
            journal = len(scene.pool.journal)
            for _ in range(5):
                refresh.request()
                await asyncio.sleep(10)
            assert refresh.stats()["instruments_reads"]["taken"] == 5
            assert [(s.number, dict(s.tokens)) for s in scene.broker.sockets] == before
            assert len(scene.pool.journal) == journal

    run(main)


def test_an_expired_contract_is_told_and_given_up_and_one_whose_token_is_nobodys_keeps_its_place() -> None:
    told: list[Instrument] = []

    class Listener(PoolListener):
        def delisted(self, instruments: list[Instrument]) -> None:
            told.extend(instruments)

    async def main() -> None:
        async with refreshing() as (broker, refresh):
            scene = broker.scene
            first, second, *others = scene.feed.instruments
            scene.pool.subscribe([first, second, *others[:3]])
            scene.pool.listen(Listener())
            await scene.until(scene.all_live, 30)
            new = Instrument("NFO", "NIFTY24FEB26FUT")
            broker.gives(TokenBook([(new, 1), *((i, n) for n, i in enumerate(others, 3))]))
            refresh.request()
            await asyncio.sleep(1)
            assert told == [first]
            assert scene.pool.state(first) is None
            assert scene.pool.state(second) is not None
            assert scene.pool.unlisted == [second]
            assert refresh.stats()["instruments_unlisted"] == 1
            reasons = [e.reason for e in scene.pool.journal.entries() if e.event.value == "delisted"]
            assert len(reasons) == 2
            assert str(first) in reasons[0]
            assert str(second) in reasons[1]
            scene.pool.subscribe(new)
            await scene.until(scene.all_live, 30)

    run(main)


def test_an_old_list_is_freed_in_slices_once_nobody_holds_it() -> None:
    async def main() -> None:
        async with refreshing() as (broker, refresh):
            old = broker.scene.feed.book
            parts = old.parts()
            refresh.request()
            await asyncio.sleep(5)
            assert broker.scene.feed.book is not old
            assert len(old) == 30, "somebody holds it"
            del old
            await asyncio.sleep(1)
            assert [len(part) for part in parts] == [0, 0, 0]

    run(main)
