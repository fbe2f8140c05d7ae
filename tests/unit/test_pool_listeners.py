"""A listener that raises, over real sockets: the broker's socket, the ticks and the others stay."""

from __future__ import annotations

import asyncio

import pytest

from brokerpool import PoolListener
from brokerpool.ticks import Tick
from tests.rehearsal import instruments, rehearsal, until


class Raising(PoolListener):
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def ticked(self, ticks: list[Tick]) -> None:
        raise self.error

    def connection_changed(self, name: str, state: str, reason: str) -> None:
        raise self.error


@pytest.mark.parametrize("error", [RuntimeError("a user's bug"), asyncio.CancelledError()])
def test_a_listener_that_raises_at_each_tick_ends_no_socket_and_the_others_get_every_tick(
    error: BaseException,
) -> None:
    class Counting(PoolListener):
        ticks = calls = 0

        def ticked(self, ticks: list[Tick]) -> None:
            self.calls += 1
            self.ticks += len(ticks)

    async def main() -> None:
        async with rehearsal(symbols=5, rate=200) as (broker, pool):
            first, second = Counting(), Counting()
            for listener in (first, Raising(error), second):
                pool.listen(listener)
            pool.subscribe(instruments(broker))
            await until(lambda: second.ticks > 100)
            assert first.ticks == second.ticks
            (connection,) = pool.get_pool_stats()["websocket"]["per_connection"]
            assert (connection["state"], connection["dials"], connection["last_fault"]) == ("live", 1, "")
            assert broker.stats()["dials"] == 1
            assert pool.get_pool_stats()["websocket"]["faults"]["Raising.ticked"] == first.calls

    asyncio.run(main())
