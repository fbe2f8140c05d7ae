"""Those who leave are cleared away in order, a share in each turn, and a fault of one stops no other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from brokerpool.gateway.departed_clients import DeferredCleanup
from brokerpool.testing.virtual_loop import run
from tests.gateway_client import client, gateway
from tests.rehearsal import until


def test_all_of_them_are_worked_off_in_order_and_a_fault_of_one_stops_no_other() -> None:
    done: list[str] = []

    def steps(name: str, count: int) -> Iterator[None]:
        for n in range(count):
            done.append(f"{name}{n}")
            yield

    def faulty() -> Iterator[None]:
        yield
        raise RuntimeError("a fault of ours")

    async def main() -> None:
        told: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        cleanup = DeferredCleanup()
        for left in (steps("a", 3), faulty(), steps("b", 2)):
            cleanup.add(left)
        assert done == [], "from the next turn on"
        await asyncio.sleep(1)
        assert done == ["a0", "a1", "a2", "b0", "b1"]
        assert len(told) == 1
        cleanup.add(steps("c", 5))
        cleanup.close()
        await asyncio.sleep(1)
        assert len(done) == 5

    run(main)


def test_a_share_is_taken_in_a_turn_and_the_others_have_theirs_in_between() -> None:
    async def main() -> None:
        cleanup, loop, seen = DeferredCleanup(), asyncio.get_running_loop(), 0

        def long() -> Iterator[None]:
            for _ in range(100):
                until = loop.time() + 0.0005
                while loop.time() < until:
                    pass
                yield

        cleanup.add(long())
        while len(cleanup):
            seen += 1
            await asyncio.sleep(0)
        assert seen > 30

    asyncio.run(main())


def test_what_clients_held_that_left_at_once_is_given_up_and_those_who_stay_keep_theirs() -> None:
    async def main() -> None:
        async with gateway({"symbols": 300}) as (broker, served_by), client(served_by) as stays:
            names = [row.tradingsymbol for row in broker.listings if row.exchange == "NSE"]
            await stays.subscribe(*names[:5])
            leaving = [client(served_by) for _ in range(10)]
            for each in leaving:
                session = await each.__aenter__()
                await session.subscribe(*names)
                session.connection.transport.abort()
            await until(lambda: served_by.clients == 1)
            await until(lambda: len(served_by.upstream.demand) == 5)
            assert set(served_by._fanout._topics) == set(served_by.upstream.demand.instruments())
            assert len(served_by._fanout._audiences) == 1
            for each in leaving:
                await each.__aexit__(None, None, None)
            await broker.step(100)
            assert {tick["symbol"] for tick in await stays.take(1)} <= set(names[:5])

    asyncio.run(main())
