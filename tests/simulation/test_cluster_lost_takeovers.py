"""A symbol is lost by an account from which nothing new has passed yet: a gap is told all the same.

It begins with the last tick that passed, though the account may have brought the same trade later.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest

from brokerpool import Instrument
from brokerpool.cluster.remote_placement import RemotePlacement
from brokerpool.cluster.routed_account import RemoteMember
from brokerpool.errors import ErrorCode, Refused
from brokerpool.feed.routing_table import Way
from brokerpool.testing.virtual_loop import run
from tests.simulation.cluster_scene import SYMBOLS, ClusterScene, cluster
from tests.simulation.cluster_witness import GatewayWitness


class Takeover(NamedTuple):
    """A gateway at which account one has taken symbols over with a trade that had passed from account two."""

    scene: ClusterScene
    witness: GatewayWitness
    placement: RemotePlacement
    one: RemoteMember
    two: RemoteMember
    #: Those symbols, and where they are.
    ways: dict[Instrument, Way]

    def answer(self, member: RemoteMember, *, refused: bool) -> None:
        """Have an account answer for them that it has room, or none."""
        for symbol in self.ways:
            asked = member.asked(symbol)
            assert asked is not None
            full = Refused(symbol, ErrorCode.MAX_CAPACITY_REACHED, "no place left")
            asked.answered(full if refused else None)
            self.placement.answered(member, [symbol])

    def dark(self) -> bool:
        """Tell whether a gap of each of them is open."""
        return set(self.ways) <= set(self.witness.dark())


@asynccontextmanager
async def taken_over(*, alone: bool = False) -> AsyncIterator[Takeover]:
    """Give the moment at which some were taken over; `alone`: at which account two has let go of them."""
    async with cluster(accounts=("one", "two")) as scene:
        scene.node("a", "one")
        scene.node("b", "two")
        witness = await scene.watched("g")
        accounts = scene.gateways[0].upstream._accounts
        (one, two), ways = accounts.members, accounts.table.ways
        scene.accounts[0].die()
        await scene.until(lambda: scene.served()[1] and not witness.dark(), 10)
        scene.broker._latency = (0.05, 0.05)  # more than the other one ever has
        scene.accounts[0].log_in()

        def taken() -> dict[Instrument, Way]:
            repeated = {i: w for i, w in ways.items() if w.floor is not None and w.feeding == one.number}
            return {i: way for i, way in repeated.items() if (way.guest is None) is alone}

        await scene.until(taken, 20)
        yield Takeover(scene, witness, accounts.placement, one, two, taken())
        assert not witness.problems


@pytest.mark.parametrize("alone", [True, False])
def test_the_gap_begins_with_the_tick_that_passed_though_who_took_over_had_its_trade_later(
    alone: bool,
) -> None:
    async def main() -> None:
        async with taken_over(alone=alone) as stage:
            stage.answer(stage.one, refused=True)
            assert all(way.home == stage.two.number for way in stage.ways.values())
            stage.scene.accounts[1].die()
            await stage.scene.until(stage.dark, 2)

    run(main)


def test_a_symbol_that_its_guest_loses_before_its_new_home_has_brought_anything_is_told_dark() -> None:
    async def main() -> None:
        async with taken_over() as stage:
            stage.answer(stage.one, refused=True)
            stage.answer(stage.one, refused=False)
            assert all(way.left and way.guest == stage.two.number for way in stage.ways.values())
            stage.answer(stage.two, refused=True)
            assert stage.dark()
            await stage.scene.until(lambda: not stage.witness.dark(), 5)

    run(main)


def test_a_symbol_whose_guest_goes_out_before_its_new_home_has_brought_anything_is_told_dark() -> None:
    async def main() -> None:
        async with taken_over() as stage:
            stage.answer(stage.one, refused=True)
            stage.answer(stage.one, refused=False)
            stage.scene.broker.muted |= set(range(1, len(SYMBOLS) + 1))
            stage.scene.accounts[1].die()
            await stage.scene.until(stage.dark, 2)

    run(main)
