"""Accounts of a router that are out: who feeds their symbols meanwhile, what is told, and the way home."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from brokerpool import Instrument, Mode
from brokerpool.event_journal import Event
from brokerpool.ticks import QuoteTick
from tests.simulation.accounts_stage import account, over
from tests.simulation.router_stage import Heard, played, two


@played
async def test_symbols_of_an_account_that_parks_move_by_priority_and_go_home_without_a_second_hole() -> None:
    async with two(12, (8, 8)) as scene:
        router, every = scene.router, scene.instruments
        heard = Heard(router)
        router.subscribe(every[:4], Mode.LTP)
        router.subscribe(every[4:8], Mode.LTP, priority=5)
        router.subscribe(every[8:], Mode.LTP)
        await scene.until(scene.live, 10)
        scene[0].die()
        await scene.until(lambda: heard.opened, 1)
        died = scene.loop.time()
        # Four places are free: those of the highest priority have them.
        await scene.until(lambda: scene.live(every[4:]), 3.0 + 3.0)
        assert scene.loop.time() - died >= 3.0 - 0.1, "not before the grace is over"
        assert scene.at(1) == set(every[4:])
        assert {(b, a) for _, a, b in heard.rerouted_to} == {("broker-second", "second")}
        assert {g.instrument for g in heard.closed} == set(every[4:8])
        assert all(gap.to_ms - gap.from_ms > 3000 for gap in heard.closed if gap.to_ms)
        assert router.symbols_down == 4
        told = {a.name: a for a in router.accounts()}
        assert (told["first"].symbols_home, told["first"].symbols_down, told["second"].symbols) == (8, 4, 8)
        assert "first, which is out; until then it comes from second" in router.explain(every[4]).why
        assert [c.role for c in router.explain(every[4]).carriers] == ["home", "hosted"]

        heard.opened.clear()
        heard.rerouted_to.clear()
        scene[0].log_in()
        back = scene.loop.time()
        await scene.until(lambda: scene.at(0) == set(every[:8]) and scene.live(), 20)
        assert scene.loop.time() - back >= 3.0, "only once its home has been back for a while"
        assert heard.opened == [], "made before it was broken"
        assert {i for i, account, _ in heard.rerouted_to if account == "first"} == set(every[4:8])
        await asyncio.sleep(2)
        assert scene[1].pool.demand.instruments() == tuple(every[8:]), "and released at the other"
        assert len(heard.closed) == 8
        moves = [(e.connection, e.reason) for e in router.journal.entries() if e.event is Event.MOVED]
        assert moves[0] == ("second", "first is out")
        assert moves[-1] == ("first", "home again from second")


@played
async def test_a_new_want_goes_straight_to_an_account_that_works_and_home_later() -> None:
    async with two() as scene:
        router, (symbol, later) = scene.router, scene.instruments[:2]
        router.subscribe([symbol], Mode.LTP)
        await scene.until(scene.live, 5)
        scene[0].die()
        await scene.until(lambda: scene[0].feed.login.refused, 1)
        router.subscribe([later], Mode.LTP)
        assert await scene.until(lambda: scene.live([later]), 2) < 2, "there is no grace to wait for"
        assert router.account(later) == "second"
        scene[0].log_in()
        await scene.until(lambda: router.account(later) == "first" and not scene.at(1), 20)


@played
async def test_a_symbol_at_home_puts_out_the_guest_of_the_lowest_priority() -> None:
    async with two(12, (6, 6)) as scene:
        router, every = scene.router, scene.instruments
        heard = Heard(router)
        for n, symbol in enumerate(every[:6]):
            router.subscribe([symbol], Mode.LTP, priority=n)
        await scene.until(scene.live, 10)
        scene[0].die()
        await scene.until(lambda: len(scene.at(1)) == 6 and scene.live(), 7)
        heard.opened.clear()
        router.subscribe(every[6:7], Mode.LTP)
        assert [(g.instrument, g.reason) for g in heard.opened] == [
            (every[0], "a symbol at home there has its place")
        ]
        await scene.until(lambda: scene.live(every[1:7]), 5)
        assert router.account(every[0]) == ""
        router.subscribe(every[:1], Mode.LTP, priority=9)
        await scene.until(lambda: router.account(every[0]) == "second" and scene.live(every[:1]), 5)
        assert router.account(every[1]) == "", "of the guests it has the lowest priority now"


@played
async def test_an_account_that_flaps_does_not_make_symbols_flap() -> None:
    async with two() as scene:
        router, symbol = scene.router, scene.instruments[0]
        heard = Heard(router)
        router.subscribe([symbol], Mode.LTP)
        await scene.until(scene.live, 5)
        for _ in range(12):  # five minutes: up for 14 seconds, down for 11
            scene[0].die()
            await asyncio.sleep(11)
            scene[0].log_in()
            await asyncio.sleep(14)
        moves = len(heard.rerouted_to)
        assert moves == 7, "three times there and back, and then it stays"
        assert router.account(symbol) == "second"


@played
async def test_what_went_out_together_leaves_by_priority_however_long_a_look_at_it_all_takes() -> None:
    random = Random(5)
    first = account("first", random, 300, places=300, connections=1)
    second = account("second", random, 300, places=150, connections=1)
    async with over([first, second]) as scene:
        router, every, loop = scene.router, scene.instruments, asyncio.get_running_loop()
        cheap, dear = every[:150], every[150:]
        router.subscribe(cheap, Mode.LTP)
        router.subscribe(dear, Mode.LTP, priority=5)
        await scene.until(lambda: len(scene.at(0)) == len(every), 10)
        # A look takes a share in each turn; here the clock goes on between them.
        looked = itertools.count()
        router._moves._monotonic = lambda: loop.time() + min(next(looked), 3) / 5
        scene[0].die()
        await scene.until(lambda: scene[1].pool.demand.instruments(), 15)
        asked = set(scene[1].pool.demand.instruments())
        assert asked <= set(dear)
        await scene.until(lambda: scene.at(1) == set(dear), 15)


@asynccontextmanager
async def there_and_back(mode: Mode) -> AsyncIterator[tuple[Heard, list[Instrument]]]:
    """Have an account with late ticks go out and come back, and tell what was heard of whose symbols."""
    random = Random(3)
    late = account("late", random, 6, places=6, connections=1, lag_ms=1500)
    good = account("good", random, 6, places=6, connections=1)
    async with over([late, good]) as scene:
        heard = Heard(scene.router)
        scene.router.subscribe(scene.instruments, mode)
        await scene.until(scene.live, 5)
        scene[0].die()
        await scene.until(lambda: len(scene.at(1)) == 6 and scene.live(), 10)
        scene[0].log_in()
        await scene.until(lambda: not scene[1].pool.demand.instruments(), 40)
        await scene.until(scene.live, 5)
        await asyncio.sleep(5)
        yield heard, scene.instruments


@played
async def test_no_trade_of_two_accounts_is_older_than_the_last_though_ticks_have_no_time() -> None:
    async with there_and_back(Mode.QUOTE) as (heard, every):
        for symbol in every:
            volumes = [t.volume for t in heard.ticks if t.instrument == symbol and isinstance(t, QuoteTick)]
            assert volumes == sorted(volumes)
            assert len(volumes) > 5


@played
async def test_no_tick_of_two_accounts_passes_and_none_is_older_than_the_last() -> None:
    async with there_and_back(Mode.DEPTH) as (heard, every):
        for symbol in every:
            times = [tick.timestamp for tick in heard.ticks if tick.instrument == symbol]
            assert times == sorted(times)
            assert len(times) > 5


@played
async def test_an_account_that_is_mute_counts_as_out() -> None:
    async with two() as scene:
        router, symbol = scene.router, scene.instruments[0]
        router.subscribe([symbol], Mode.LTP)
        await scene.until(scene.live, 5)
        await asyncio.sleep(10)
        scene[0].broker.muted.update(scene[0].feed.book.token(i) or 0 for i in scene.instruments)
        await scene.until(lambda: router.gap(symbol) is not None, 30)
        await scene.until(lambda: router.account(symbol) == "second" and scene.live(), 30)
