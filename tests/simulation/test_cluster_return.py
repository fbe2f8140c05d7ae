"""A bus that is away and comes back, in virtual time: what is measured are the cluster's own clocks."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from brokerpool import Mode
from brokerpool.cluster.nats_connection import PING_SECONDS
from brokerpool.testing.virtual_loop import run
from tests.simulation.cluster_scene import SYMBOLS, cluster
from tests.simulation.cluster_witness import GatewayWitness

#: Whoever is cut off is told so within this, and has everything again within it.
TOLD_SECONDS = 5.0
#: What the way back takes by the clocks of the cluster itself, see `cluster.durations`.
BACK_SECONDS = 1.5
#: After so long without an answer to its pings a line is given up; and what a virtual bus takes to connect.
PINGS_SECONDS, RECONNECT_SECONDS = 3 * PING_SECONDS, 1.0


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


@pytest.mark.parametrize("who", ["holder", "gateway"])
@pytest.mark.parametrize(("sends", "hears"), [(False, True), (True, False), (False, False)])
@pytest.mark.parametrize("seconds", [4.0, 20.0])
def test_who_is_cut_off_is_missed_in_time_and_back_within_seconds_and_the_others_notice_nothing(
    who: str, sends: bool, hears: bool, seconds: float
) -> None:
    async def main() -> None:
        async with cluster("a", "b") as scene:
            gateway, witness = await scene.gateway("g")
            other, unconcerned = await scene.gateway("h")
            for one, seen in ((gateway, witness), (other, unconcerned)):
                await one.upstream.want("me", SYMBOLS, Mode.QUOTE)
                seen.look(set(SYMBOLS))
            await scene.until(lambda: not witness.silent() and not unconcerned.silent(), 5)
            holder = next(node for node in scene.nodes if node.node.held)
            bus = holder.bus if who == "holder" else gateway.bus
            bus.cut(sends=sends, hears=hears)
            cut_at = scene.loop.time()
            await asyncio.sleep(PINGS_SECONDS)
            bus.cut(sends=False, hears=False)  # pings came to nothing: the line is given up
            dark = SYMBOLS if who == "gateway" else []
            left = TOLD_SECONDS - PINGS_SECONDS
            if dark:
                await scene.until(lambda: len(witness.dark()) == len(dark), left)
            else:  # the standby carries them all within the same time
                await scene.until(lambda: not witness.dark() and witness.gaps >= len(SYMBOLS), left)
            await asyncio.sleep(max(0.0, cut_at + seconds - scene.loop.time()))
            bus.cut(sends=True, hears=True)
            returned = scene.loop.wall_clock() * 1000
            await scene.until(lambda: not witness.silent(returned), RECONNECT_SECONDS + BACK_SECONDS)
            assert not witness.problems
            assert not unconcerned.problems
            assert unconcerned.gaps == (len(SYMBOLS) if who == "holder" else 0), "one gap a symbol, or none"

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
