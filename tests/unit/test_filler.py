"""Snapshots for holes: asked for once a gap, in batches, within the budget, and never in the way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random

import pytest

from brokerpool.brokers.limits_file import RateWindow
from brokerpool.brokers.login import Credentials, Login
from brokerpool.brokers.rest import RestLimits
from brokerpool.brokers.zerodha import ZerodhaRest
from brokerpool.event_journal import Journal
from brokerpool.feed import gap_snapshots as module
from brokerpool.feed.backoff import Backoff
from brokerpool.feed.delivery import Delivery
from brokerpool.feed.gap_snapshots import Filler, Filling
from brokerpool.feed.listeners import PoolListener
from brokerpool.gateway.account_assembly import quote_filler
from brokerpool.instruments import Instrument, TokenBook
from brokerpool.ticks import Tick
from tests.rehearsal import no_task_dies, until

INSTRUMENTS = [Instrument("NSE", f"S{n:02}") for n in range(20)]
NOW_MS = 1_000_000


class Latest(Random):
    def uniform(self, a: float, b: float) -> float:
        return b


class Source:
    """Gives snapshots, and remembers what it was asked for and when."""

    def __init__(self) -> None:
        self.asked: list[list[Instrument]] = []
        self.at: list[float] = []
        self.unknown: set[Instrument] = set()
        self.fails = 0
        self.answer: Callable[[Sequence[Instrument]], Awaitable[object]] | None = None

    async def __call__(self, instruments: Sequence[Instrument]) -> Sequence[Tick]:
        self.asked.append(list(instruments))
        self.at.append(asyncio.get_running_loop().time())
        if self.fails:
            self.fails -= 1
            raise RuntimeError("secret-in-the-text")
        if self.answer is not None:
            return await self.answer(instruments)  # type: ignore[return-value]
        return [Tick(instrument=i, ltp=1.0, timestamp=0) for i in instruments if i not in self.unknown]


class Told(PoolListener):
    def __init__(self) -> None:
        self.snapshots: list[Instrument] = []

    def filled(self, ticks: list[Tick]) -> None:
        self.snapshots += [tick.instrument for tick in ticks]


class Stage:
    """An delivery without connections, a source, and the filling between them."""

    def __init__(self, *, batch: int = 500, calls: tuple[RateWindow, ...] = (), base: float = 0.01) -> None:
        self.source, self.told = Source(), Told()
        self.delivery = Delivery([], Journal(), lambda: NOW_MS / 1000)
        self.delivery.listen(self.told)
        backoff = Backoff(Latest(), base=base)
        self.filling = Filling(Filler(self.source, batch, calls), self.delivery, backoff)

    def lose(self, *instruments: Instrument, ago_ms: int = 5000) -> None:
        self.delivery.gaps.open(dict.fromkeys(instruments, NOW_MS - ago_ms), "lost")

    async def look(self) -> None:
        """Look, and let what follows from it come to its end."""
        self.filling.look(NOW_MS)
        await until(lambda: self.filling._task is None)


def test_each_hole_that_is_two_seconds_old_is_asked_for_once_also_if_the_source_does_not_know_it() -> None:
    async def main() -> None:
        async with no_task_dies():
            stage = Stage()
            stage.source.unknown = {INSTRUMENTS[1]}
            stage.lose(*INSTRUMENTS[:2])
            stage.lose(INSTRUMENTS[2], ago_ms=1999)
            for _ in range(5):
                await stage.look()
            assert stage.source.asked == [INSTRUMENTS[:2]]
            assert stage.told.snapshots == INSTRUMENTS[:1]
            assert [gap.filled for gap in stage.delivery.gaps.close(INSTRUMENTS, NOW_MS)] == [
                True,
                False,
                False,
            ]

    asyncio.run(main())


def test_the_next_hole_of_a_symbol_is_asked_for_again() -> None:
    async def main() -> None:
        stage = Stage()
        stage.source.unknown = {INSTRUMENTS[0]}
        stage.lose(INSTRUMENTS[0], ago_ms=9000)
        stage.lose(INSTRUMENTS[1], ago_ms=9000)
        await stage.look()
        stage.delivery.gaps.close(INSTRUMENTS[:1], NOW_MS)
        stage.lose(INSTRUMENTS[0], ago_ms=3000)
        await stage.look()
        assert stage.source.asked == [INSTRUMENTS[:2], INSTRUMENTS[:1]]

    asyncio.run(main())


def test_without_holes_nobody_is_asked() -> None:
    async def main() -> None:
        stage = Stage()
        await stage.look()
        assert stage.source.asked == []

    asyncio.run(main())


def test_batches_are_no_larger_than_the_source_takes_and_the_oldest_holes_come_first() -> None:
    async def main() -> None:
        stage = Stage(batch=3)
        for n, instrument in enumerate(INSTRUMENTS[:8]):
            stage.lose(instrument, ago_ms=3000 + n)
        await stage.look()
        oldest = INSTRUMENTS[:8][::-1]
        assert stage.source.asked == [oldest[:3], oldest[3:6], oldest[6:]]
        assert stage.told.snapshots == oldest

    asyncio.run(main())


def test_calls_keep_to_the_budget_of_the_source() -> None:
    async def main() -> None:
        stage = Stage(batch=1, calls=(RateWindow(2, 0.1),))
        stage.lose(*INSTRUMENTS[:5])
        await stage.look()
        at = stage.source.at
        assert len(at) == 5
        assert all(third - first >= 0.1 - 1e-6 for first, third in zip(at, at[2:], strict=False))

    asyncio.run(main())


@pytest.mark.parametrize(
    ("windows", "half"),
    [
        ((RateWindow(1, 1.0),), (RateWindow(1, 2.0),)),
        ((RateWindow(10, 1.0), RateWindow(100, 60.0)), (RateWindow(5, 1.0), RateWindow(50, 60.0))),
        ((), ()),
    ],
)
def test_the_gateways_filler_takes_half_of_what_the_broker_allows_for_quotes_in_the_brokers_batches(
    windows: tuple[RateWindow, ...], half: tuple[RateWindow, ...]
) -> None:
    codec = ZerodhaRest("key", Login(Credentials("token")), book=TokenBook)
    codec.limits = RestLimits({"quote": windows, "historical": (RateWindow(3, 1.0),)}, {"quote": 20})
    filler = quote_filler(codec, Source())
    assert (filler.calls, filler.batch) == (half, 20)


def test_after_a_failure_all_that_is_still_open_is_asked_for_again_later_and_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        async with no_task_dies():
            stage = Stage(batch=2, base=0.02)
            stage.source.fails = 3
            stage.lose(*INSTRUMENTS[:3])
            for _ in range(4):
                await stage.look()
            first, second, third, fourth = stage.source.at[:4]
            assert second - first >= 0.02
            assert third - second >= 0.04
            assert fourth - third >= 0.08
            assert stage.source.asked == [INSTRUMENTS[:2]] * 4 + [INSTRUMENTS[2:3]]
            assert stage.told.snapshots == INSTRUMENTS[:3]
            assert "no snapshots for 2 symbols: Source raised RuntimeError" in caplog.text
            assert "secret" not in caplog.text

    asyncio.run(main())


def test_a_source_that_answers_nonsense_is_one_that_failed() -> None:
    async def nothing(instruments: Sequence[Instrument]) -> object:
        return None

    async def main() -> None:
        async with no_task_dies():
            stage = Stage()
            stage.source.answer = nothing
            stage.lose(*INSTRUMENTS[:2])
            await stage.look()
            stage.source.answer = None
            await stage.look()
            assert stage.told.snapshots == INSTRUMENTS[:2]

    asyncio.run(main())


def test_a_source_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(instruments: Sequence[Instrument]) -> object:
        return await asyncio.get_running_loop().create_future()

    async def main() -> None:
        monkeypatch.setattr(module, "CALL_SECONDS", 0.05)
        stage = Stage()
        stage.source.answer = hang
        stage.lose(INSTRUMENTS[0])
        await stage.look()
        stage.source.answer = None
        await stage.look()
        assert stage.told.snapshots == INSTRUMENTS[:1]

    asyncio.run(main())


def test_one_question_at_a_time_and_a_hole_that_opens_meanwhile_comes_next() -> None:
    async def main() -> None:
        stage = Stage()
        answer: asyncio.Future[list[Tick]] = asyncio.get_running_loop().create_future()
        stage.source.answer = lambda instruments: answer
        stage.lose(INSTRUMENTS[0])
        stage.filling.look(NOW_MS)
        await until(lambda: stage.source.asked)
        stage.lose(INSTRUMENTS[1])
        stage.filling.look(NOW_MS)
        stage.filling.look(NOW_MS)
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(stage.source.asked) == 1
        answer.set_result([])
        await until(lambda: stage.filling._task is None)
        await stage.look()
        assert stage.source.asked == [INSTRUMENTS[:1], INSTRUMENTS[1:2]]

    asyncio.run(main())


def test_a_snapshot_that_comes_after_the_data_has_gone_on_is_not_passed_on() -> None:
    async def main() -> None:
        stage = Stage()

        async def too_late(instruments: Sequence[Instrument]) -> object:
            stage.delivery.gaps.close(instruments, NOW_MS)
            return [Tick(instrument=i, ltp=1.0, timestamp=0) for i in instruments]

        stage.source.answer = too_late
        stage.lose(INSTRUMENTS[0])
        await stage.look()
        assert stage.told.snapshots == []

    asyncio.run(main())


@pytest.mark.parametrize("when", ["idle", "asking", "backing off"])
def test_close_ends_the_question_that_is_open_and_leaves_no_task(when: str) -> None:
    async def main() -> None:
        async with no_task_dies():
            stage = Stage(base=60.0)
            stage.source.fails = when == "backing off"
            stage.source.answer = lambda instruments: asyncio.get_running_loop().create_future()
            if when != "idle":
                stage.lose(INSTRUMENTS[0])
                stage.filling.look(NOW_MS)
                await until(lambda: stage.source.asked)
            async with asyncio.timeout(1):
                stage.filling.end()
                await stage.filling.ended()
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_snapshots_that_cannot_be_had_are_told_once_and_once_when_they_can_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        stage = Stage()
        stage.source.fails = 5
        stage.lose(*INSTRUMENTS[:2])
        for _ in range(6):
            await stage.look()

    asyncio.run(main())
    told = [record.getMessage() for record in caplog.records if "snapshots" in record.getMessage()]
    assert len(told) == 2
    assert told[1] == "snapshots can be had again"
