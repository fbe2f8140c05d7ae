"""Several accounts as one upstream: where a symbol goes, who feeds it, what is told, and the way home."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from random import Random
from typing import Any

import pytest

from brokerpool import (
    Instrument,
    Mode,
    NotLiveError,
    PoolExhaustedError,
    Route,
    Router,
    UnknownInstrumentError,
    WebSocketPool,
)
from brokerpool.brokers.capacity import Limit, ModeRule
from brokerpool.errors import BrokerpoolError, ErrorCode, PoolClosedError
from brokerpool.event_journal import Event
from brokerpool.feed.gaps import Gap
from brokerpool.feed.listeners import PoolListener
from brokerpool.feed.upstream_interface import Upstream
from brokerpool.testing.scripted_feed import number_of
from brokerpool.testing.virtual_loop import run
from brokerpool.ticks import QuoteTick, Tick
from tests.simulation.accounts_stage import Accounts, account, over


def played(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Play a test in virtual time."""

    @wraps(test)
    def play() -> None:
        run(test)

    del play.__wrapped__  # it takes no fixtures
    return play


@asynccontextmanager
async def two(
    symbols: int = 12,
    places: tuple[int, int] = (8, 8),
    *,
    exchanges: dict[str, set[str]] | None = None,
    listed: tuple[Callable[[Instrument], bool], ...] = (lambda _: True, lambda _: True),
) -> AsyncIterator[Accounts]:
    random = Random(7)
    accounts = [
        account(name, random, symbols, places=size, connections=1, listed=lists)
        for name, size, lists in zip(("first", "second"), places, listed, strict=True)
    ]
    async with over(accounts, exchanges=exchanges) as scene:
        yield scene


class Heard(PoolListener):
    """Writes down what is told."""

    def __init__(self, router: Router) -> None:
        self.ticks: list[Tick] = []
        self.opened: list[Gap] = []
        self.closed: list[Gap] = []
        self.rerouted_to: list[tuple[Instrument, str, str]] = []
        self.refusals: list[tuple[list[Instrument], str]] = []
        self.gone: list[Instrument] = []
        router.listen(self)

    def ticked(self, ticks: list[Tick]) -> None:
        self.ticks += ticks

    def gaps_opened(self, gaps: list[Gap]) -> None:
        self.opened += gaps

    def gaps_closed(self, gaps: list[Gap]) -> None:
        self.closed += gaps

    def rerouted(self, instruments: list[Instrument], account: str, broker: str) -> None:
        self.rerouted_to += [(i, account, broker) for i in instruments]

    def refused(self, instruments: list[Instrument], reason: str) -> None:
        self.refusals.append((instruments, reason))

    def delisted(self, instruments: list[Instrument]) -> None:
        self.gone += instruments


# -- where a symbol goes ----------------------------------------------------------------------------------


@played
async def test_the_first_account_takes_what_it_has_room_for_and_the_next_one_the_rest() -> None:
    async with two() as scene:
        router, every = scene.router, scene.instruments
        upstream: Upstream = router
        assert upstream.want("a", every, Mode.LTP).done()
        await scene.until(scene.live, 10)
        assert scene.at(0) == set(every[:8])
        assert scene.at(1) == set(every[8:])
        assert [router.broker(every[0]), router.broker(every[8])] == ["broker-first", "broker-second"]
        assert [(a.name, a.symbols, a.symbols_home, a.capacity) for a in router.accounts()] == [
            ("first", 8, 8, 8),
            ("second", 4, 4, 8),
        ]


@played
async def test_a_batch_is_refused_only_when_no_account_has_room_and_the_error_has_the_numbers_of_each() -> (
    None
):
    async with two(20) as scene:
        router, every = scene.router, scene.instruments
        with pytest.raises(PoolExhaustedError, match=r"4 symbols do not fit.*first: 0 of 8.*second: 0 of 8"):
            router.subscribe(every)
        assert not len(router.demand)
        assert not scene[0].pool.demand.instruments()
        done = router.subscribe(every, partial=True)
        assert len(done.accepted) == 16
        assert {r.code for r in done.refused} == {ErrorCode.MAX_CAPACITY_REACHED}
        assert "first: 8 of 8 places are taken" in done.refused[0].message
        assert "second: 8 of 8 places are taken" in done.refused[0].message


@played
async def test_rules_and_lists_say_which_account_a_symbol_may_go_to() -> None:
    def not_the_first(instrument: Instrument) -> bool:
        return instrument.symbol != "S001"

    async with two(exchanges={"second": {"BSE"}}, listed=(not_the_first, lambda _: True)) as scene:
        router, every = scene.router, scene.instruments
        with pytest.raises(UnknownInstrumentError, match="first, second does not list NSE:S001"):
            router.subscribe(every[:2])
        done = router.subscribe(every, partial=True)
        assert [(r.instrument, r.code) for r in done.refused[:1]] == [(every[0], ErrorCode.SYMBOL_NOT_FOUND)]
        assert {r.code for r in done.refused[1:]} == {ErrorCode.MAX_CAPACITY_REACHED}
        assert not scene[1].pool.demand.instruments(), "it may serve BSE only"
        assert every[0] not in router.book
        assert every[1] in router.book


@played
async def test_each_pool_sees_one_owner_with_the_highest_mode_and_priority_and_explain_the_true_ones() -> (
    None
):
    async with two() as scene:
        router, symbol, pool = scene.router, scene.instruments[0], scene[0].pool
        router.subscribe([symbol], Mode.LTP, owner="a", priority=3)
        router.subscribe([symbol], Mode.DEPTH, owner="b")
        assert (pool.demand.owners(symbol), pool.demand.priority(symbol)) == (
            {"router": frozenset({Mode.LTP, Mode.DEPTH})},
            3,
        )
        told = router.explain(symbol)
        assert [owner.name for owner in told.owners] == ["a", "b"]
        assert (told.mode, told.priority) == (Mode.DEPTH, 3)
        assert router.release("b") == 1
        assert (pool.demand.mode(symbol), router.demand.mode(symbol)) == (Mode.LTP, Mode.LTP)
        router.release("a")
        assert not pool.demand.instruments()


@played
async def test_a_symbol_that_one_broker_refuses_by_name_is_tried_at_the_next() -> None:
    async with two() as scene:
        router, (symbol, other) = scene.router, scene.instruments[:2]
        scene[0].broker.refused[scene[0].feed.book.token(symbol) or 0] = Mode.LTP
        heard = Heard(router)
        router.subscribe([symbol, other], Mode.LTP)
        await scene.until(scene.live, 5)
        assert (router.account(symbol), router.account(other)) == ("second", "first")
        assert heard.rerouted_to == [(symbol, "second", "broker-second")]
        assert heard.refusals == [], "nobody is told of a refusal that another account makes good"
        assert "first, which refused it" in router.explain(symbol).why


@played
async def test_what_an_account_lists_no_more_finds_its_home_at_another_or_is_given_up() -> None:
    async with two(listed=(lambda _: True, lambda i: i.symbol != "S002")) as scene:
        router, (kept, lost, *_), feed = scene.router, scene.instruments, scene[0].feed
        heard = Heard(router)
        router.subscribe([kept, lost], Mode.LTP)
        await scene.until(scene.live, 5)
        book = type(feed.book)()
        for n, name in enumerate(("NEW", "NEWER")):  # with the tokens of the two
            book.add(f"NSE:{name}", feed.book.token(scene.instruments[n]) or 0)
        feed.book = book
        router.relist()
        assert heard.gone == [lost]
        assert router.demand.instruments() == (kept,)
        await scene.until(scene.live, 5)
        assert router.account(kept) == "second"


@played
async def test_a_mode_that_rises_and_has_no_room_at_home_moves_to_another_account_without_a_hole() -> None:
    random, weighed = Random(2), ModeRule((Limit(4, (0, 1, 2, 4)),))
    first = account("first", random, 4, places=4, connections=1, modes=weighed)
    second = account("second", random, 4, places=4, connections=1, modes=weighed)
    async with over([first, second]) as scene:
        router, every = scene.router, scene.instruments
        heard = Heard(router)
        router.subscribe(every, Mode.LTP)
        await scene.until(scene.live, 5)
        assert router.want("b", every[:1], Mode.DEPTH).result().accepted == (every[0],)
        await scene.until(lambda: router.account(every[0]) == "second", 10)
        await scene.until(lambda: len(scene[0].pool.demand.instruments()) == 3, 10)
        assert heard.opened == []
        assert heard.rerouted_to == [(every[0], "second", "broker-second")]
        (refused,) = router.want("b", every[1:2], Mode.DEPTH).result().refused
        assert refused.code is ErrorCode.MAX_CAPACITY_REACHED
        assert router.demand.mode(every[1]) is Mode.LTP, "it keeps the mode that it has"
        router.release("b")
        await scene.until(lambda: scene[1].broker.served() and scene.live(), 10)
        assert scene[1].pool.demand.mode(every[0]) is Mode.LTP


# -- away and home ----------------------------------------------------------------------------------------


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


@played
async def test_no_trade_of_two_accounts_is_older_than_the_last_though_ticks_have_no_time() -> None:
    random = Random(3)
    late = account("late", random, 6, places=6, connections=1, lag_ms=1500)
    good = account("good", random, 6, places=6, connections=1)
    async with over([late, good]) as scene:
        router, every = scene.router, scene.instruments
        heard = Heard(router)
        router.subscribe(every, Mode.QUOTE)
        await scene.until(scene.live, 5)
        scene[0].die()
        await scene.until(lambda: len(scene.at(1)) == 6 and scene.live(), 10)
        scene[0].log_in()
        await scene.until(lambda: not scene[1].pool.demand.instruments(), 40)
        await scene.until(scene.live, 5)
        await asyncio.sleep(5)
        for symbol in every:
            volumes = [t.volume for t in heard.ticks if t.instrument == symbol and isinstance(t, QuoteTick)]
            assert volumes == sorted(volumes)
            assert len(volumes) > 5


@played
async def test_no_tick_of_two_accounts_passes_and_none_is_older_than_the_last() -> None:
    random = Random(3)
    late = account("late", random, 6, places=6, connections=1, lag_ms=1500)
    good = account("good", random, 6, places=6, connections=1)
    async with over([late, good]) as scene:
        router, every = scene.router, scene.instruments
        heard = Heard(router)
        router.subscribe(every, Mode.DEPTH)
        await scene.until(scene.live, 5)
        scene[0].die()
        await scene.until(lambda: len(scene.at(1)) == 6 and scene.live(), 10)
        scene[0].log_in()
        await scene.until(lambda: not scene[1].pool.demand.instruments(), 40)
        await scene.until(scene.live, 5)
        await asyncio.sleep(5)
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


# -- the rest of an upstream ------------------------------------------------------------------------------


@played
async def test_operators_name_a_connection_of_any_account() -> None:
    async with two() as scene:
        router = scene.router
        router.subscribe(scene.instruments, Mode.LTP)
        await scene.until(scene.live, 5)
        names = {c["name"]: c["account"] for c in router.get_pool_stats()["websocket"]["per_connection"]}
        assert names == {"first-1": "first", "second-1": "second"}
        with pytest.raises(BrokerpoolError, match="Open are: first-1, second-1") as error:
            router.rotate("third-1")
        assert error.value.code is ErrorCode.CONNECTION_UNKNOWN
        with pytest.raises(BrokerpoolError) as error:
            router.drain("second-1")
        assert error.value.code is ErrorCode.CONNECTION_NOT_MOVABLE


@played
async def test_statistics_add_up_and_have_an_entry_for_each_account() -> None:
    async with two() as scene:
        router = scene.router
        router.subscribe(scene.instruments, Mode.LTP)
        await scene.until(scene.live, 5)
        told, alone = router.get_pool_stats()["websocket"], scene[0].pool.get_pool_stats()["websocket"]
        assert list(told) == list(alone), "the members of a pool"
        assert (told["total_symbols"], told["connections"], told["capacity_used"]) == (12, 2, 0.75)
        assert [(a["name"], a["symbols"]) for a in told["accounts"]] == [("first", 8), ("second", 4)]
        assert [a["name"] for a in alone["accounts"]] == ["first"]


@played
async def test_a_router_that_is_closed_has_closed_its_pools_and_takes_nothing_new() -> None:
    async with two() as scene:
        router = scene.router
        router.subscribe(scene.instruments, Mode.LTP)
        await scene.until(scene.live, 5)
        await router.close()
        assert not scene[0].broker.sockets
        assert not scene[1].broker.sockets
        with pytest.raises(PoolClosedError):
            router.want("a", scene.instruments, Mode.LTP)


@played
async def test_a_listener_that_raises_changes_nothing_for_the_others() -> None:
    class Broken(PoolListener):
        def ticked(self, ticks: list[Tick]) -> None:
            raise ValueError("broken")

    async with two() as scene:
        scene.router.listen(Broken())
        heard = Heard(scene.router)
        scene.router.subscribe(scene.instruments[:1], Mode.LTP)
        await scene.until(lambda: heard.ticks, 5)
        assert number_of(heard.ticks[0])
        faults = scene.router.get_pool_stats()["websocket"]["faults"]
        assert any("Broken.ticked" in name for name in faults)


@played
async def test_routes_need_names_and_pools_of_their_own() -> None:
    random = Random(1)
    one, same, other = (account(name, random, 3) for name in ("one", "one", "other"))
    try:
        for routes, told in (
            ([], "one route at least"),
            ([Route("a", one.pool), Route("a", other.pool)], "a name of its own"),
            ([Route("a", one.pool), Route("b", same.pool)], r"WebSocketPool\(name="),
        ):
            with pytest.raises(ValueError, match=told):
                Router(routes)
        with pytest.raises(TypeError):
            Router([one.pool])  # type: ignore[list-item]
    finally:
        for each in (one, same, other):
            await each.pool.close()
            await each.broker.close()


@played
async def test_who_waits_for_symbols_is_told_when_all_tick_and_else_how_far_each_has_come() -> None:
    async with two(20) as scene:
        router, every = scene.router, scene.instruments
        router.subscribe(every[:12])
        await router.wait_live(every[:12])
        assert scene.live()
        with pytest.raises(UnknownInstrumentError, match="first, second does not list NSE:NO-SUCH"):
            await router.wait_live([every[0], "NSE:NO-SUCH"])
        scene[1].broker.muted.update(scene[1].feed.book.token(i) or 0 for i in every)
        scene[1].broker.snapshots = False
        router.subscribe(every[12:13])
        begun = scene.loop.time()
        with pytest.raises(NotLiveError, match=r"2 symbols had no tick within 4 s. first: 8 of 8") as late:
            await router.wait_live(every[10:14], timeout=4)
        assert scene.loop.time() - begun == pytest.approx(4)
        assert late.value.states == {every[12]: "sent", every[13]: "not wanted"}


@played
async def test_each_account_that_tells_of_orders_holds_a_connection_open_while_somebody_asks() -> None:
    async with two() as scene:
        scene[1].feed.tells_orders = False
        scene.router.hold_open(True)
        await scene.until(lambda: scene[0].pool.connected, 2)
        await asyncio.sleep(120)
        assert [len(each.broker.ledger.dials) for each in scene.accounts] == [1, 0]
        scene[1].feed.tells_orders = True
        scene.router.hold_open(True)
        await scene.until(lambda: scene[1].pool.connected, 2)
        scene.router.subscribe(scene.instruments)
        await scene.until(scene.live, 10)
        assert [len(each.broker.ledger.dials) for each in scene.accounts] == [1, 1]
        scene.router.release("default")
        scene.router.hold_open(False)
        await scene.until(lambda: not any(each.broker.sockets for each in scene.accounts), 40)
        await scene.router.close()
        scene.router.hold_open(False)
        with pytest.raises(PoolClosedError):
            scene.router.hold_open(True)


@played
async def test_one_pool_answers_as_an_upstream_of_one_account() -> None:
    one = account("only", Random(1), 3)
    try:
        pool: WebSocketPool = one.pool
        symbol = one.feed.instruments[0]
        assert (pool.name, pool.broker(symbol), pool.account(symbol)) == ("broker-only", "broker-only", "")
        pool.subscribe([symbol])
        await pool.wait_live([symbol])
        assert pool.account(symbol) == "only"
        (status,) = pool.accounts()
        assert (status.name, status.broker, status.connected, status.symbols) == (
            "only",
            "broker-only",
            True,
            1,
        )
    finally:
        await one.pool.close()
        await one.broker.close()
