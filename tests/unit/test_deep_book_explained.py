"""What /explain says of a symbol whose order book of more levels comes from a feed of its own."""

from __future__ import annotations

import asyncio

from brokerpool.commands.explain import lines
from tests.gateway_client import client
from tests.rehearsal import until
from tests.unit.deep_book_stage import staged, subscribe
from tests.unit.test_monitor_explain import explained


def test_the_book_of_more_levels_is_told_with_its_own_state_connection_and_gap() -> None:
    async def main() -> None:
        async with staged(symbols=200) as stage, client(stage.served_by) as program:
            share, other = stage.shares(2)
            index = next(i for i in stage.account.book if i.exchange == "NSE_INDEX")
            await subscribe(program, share, depth=20)
            await subscribe(program, other, depth=5)
            await stage.books(1)
            await stage.trade()
            _, told = await explained(stage.served_by, str(share))
            book = told["deep_book"]
            assert (book["levels"], book["state"], book["gap"]) == (20, "live", None)
            assert [carrier["name"] for carrier in book["connections"]] == ["dhan-depth20-1"]
            assert [carrier["name"] for carrier in told["connections"]] == ["dhan-1"]
            assert 0 <= book["last_tick_age_seconds"] < 5
            stage.broker.depth20.down = True
            stage.broker.depth20.abort()
            await until(lambda: stage.deep.gap(share) is not None)
            _, told = await explained(stage.served_by, str(share))
            assert told["state"] == "live"
            assert told["gap"] is None
            assert told["deep_book"]["gap"] is not None
            said = [line.partition(":")[0] for line in lines(told)]
            assert said[-5:] == ["last tick", "20 levels", "connection", "last book", "open gap"]
            _, told = await explained(stage.served_by, str(other))
            assert told["deep_book"]["state"] == "not wanted"
            assert (await explained(stage.served_by, str(index)))[1]["deep_book"] is None

    asyncio.run(main())
