"""A bus that is away and comes back, in virtual time: what is measured are the cluster's own clocks."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from brokerpool import Mode
from brokerpool.testing.virtual_loop import run
from tests.simulation.cluster_witness import GatewayWitness
from tests.simulation.test_cluster import SYMBOLS, cluster

#: Whoever is cut off is told so within this, and has everything again within it.
TOLD_SECONDS = 5.0
#: What the way back takes by the clocks of the cluster itself, see `cluster.timing`.
BACK_SECONDS = 1.5


@pytest.mark.parametrize("nodes", [("a",), ("a", "b")], ids=["alone", "with a standby"])
@pytest.mark.parametrize("unheard", [False, True], ids=["", "the last renewal unheard"])
@pytest.mark.parametrize("seconds", [1.0, 3.0, 8.0, 30.0])
def test_after_the_bus_was_away_everything_ticks_again_within_seconds_whatever_became_of_the_last_renewal(
    nodes: tuple[str, ...], unheard: bool, seconds: float
) -> None:
    async def main() -> None:
        async with cluster(*nodes) as scene:
            gateway, witness = await scene.gateway("g")
            await gateway.upstream.want("me", SYMBOLS, Mode.QUOTE)
            witness.look(set(SYMBOLS))
            await scene.until(lambda: not witness.silent(), 5)
            holder = next(node for node in scene.nodes if node.node.held)
            if unheard:  # it is written, and the answer does not come
                holder.bus.cut(sends=True, hears=False)
                await asyncio.sleep(0.55)
            scene.server.stop()
            if seconds > TOLD_SECONDS:
                await scene.until(lambda: len(witness.dark()) == len(SYMBOLS), TOLD_SECONDS)
            await asyncio.sleep(seconds)
            if seconds >= 3:
                assert not scene.broker.sockets, "its lease ran out"
            holder.bus.cut(sends=True, hears=True)
            scene.server.start()
            returned = scene.loop.wall_clock() * 1000
            await scene.until(lambda: not witness.silent(returned), BACK_SECONDS)
            assert not witness.problems

    run(main)


def test_a_bus_that_comes_and_goes_leaves_the_account_as_many_dials_as_it_had() -> None:
    async def main() -> None:
        async with cluster("a") as scene:
            gateway, witness = await scene.gateway("g")
            await gateway.upstream.want("me", SYMBOLS, Mode.QUOTE)
            witness.look(set(SYMBOLS))
            await scene.until(lambda: not witness.silent(), 5)
            for _ in range(8):  # within one of the broker's minutes, in which it takes 30 dials
                scene.server.stop()
                await asyncio.sleep(4)
                scene.server.start()
                returned = scene.loop.wall_clock() * 1000
                await scene.until(partial(_all_tick, witness, returned), BACK_SECONDS)
            assert not witness.problems

    run(main)


def _all_tick(witness: GatewayWitness, since_ms: float) -> bool:
    return not witness.silent(since_ms)
