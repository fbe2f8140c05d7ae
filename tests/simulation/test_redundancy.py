"""Two copies of every symbol: whichever socket is lost, and for however long, there is no hole."""

from __future__ import annotations

import asyncio

import pytest

from brokerpool import Mode
from brokerpool.testing.scripted_broker import Refusal
from brokerpool.testing.virtual_loop import run
from tests.simulation.stage import Stage, stage
from tests.simulation.witness import Witness

SEEDS = 10


async def lose(scene: Stage, number: int, seconds: float) -> None:
    """Kill one of the sockets and let it stay away for so long."""
    scene.broker.refusal = Refusal(503)
    scene.broker.sockets[number].kill()
    await asyncio.sleep(seconds)
    scene.broker.refusal = None
    await scene.until(lambda: len(scene.broker.sockets) == 2, 70)
    await asyncio.sleep(15)


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("away", [5.0, 60.0])
def test_the_two_sockets_of_a_symbol_stand_in_for_each_other(mode: Mode, away: float) -> None:
    ticks = 0

    async def main(seed: int) -> None:
        nonlocal ticks
        often = {"beats": (1, 4), "snapshots": seed % 2 == 0}
        async with stage(
            seed, symbols=6, per_connection=6, connections=2, redundancy=2, broker=often
        ) as scene:
            witness = Witness(scene.broker, scene.pool)
            scene.pool.listen(witness)
            scene.pool.subscribe(scene.feed.instruments, mode)
            witness.look(scene.feed.instruments)
            await scene.until(lambda: len(scene.broker.sockets) == 2 and scene.all_live(), 20)
            await asyncio.sleep(15)
            for number in (0, 1, 0, 0):
                await lose(scene, number, away)
            witness.finish()
            assert witness.problems == []
            assert witness.missed == 0
            assert witness.gaps == 0
            ticks += witness.ticks

    for seed in range(SEEDS):
        run(lambda seed=seed: main(seed))  # type: ignore[misc]  # mypy: a default is no type
    print(f"{SEEDS} pools in {mode.label} mode, away for {away:g} s: {ticks} ticks, none missed or doubled")
