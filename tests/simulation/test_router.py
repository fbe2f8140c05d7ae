"""Several accounts as one upstream: where a symbol goes."""

from __future__ import annotations

from random import Random

import pytest

from brokerpool import (
    Instrument,
    Mode,
    PoolExhaustedError,
    UnknownInstrumentError,
)
from brokerpool.brokers.capacity import Limit, ModeRule
from brokerpool.errors import ErrorCode
from brokerpool.feed.upstream_interface import Upstream
from tests.simulation.accounts_stage import account, over
from tests.simulation.router_stage import Heard, played, two


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
