"""What a gateway's witness takes for a broken promise, and the one repetition that it excuses."""

from __future__ import annotations

import pytest

from brokerpool import Instrument
from brokerpool.feed.gaps import Gap
from brokerpool.ticks import QuoteTick, Tick
from tests.simulation.cluster_witness import GatewayWitness

INFY = Instrument("NSE", "INFY")
PRICE, QUOTE = Tick(INFY, 4.0, 1), QuoteTick(INFY, 4.0, 2, volume=4)


class Stage:
    """A gateway that is told things by holders of an account."""

    def __init__(self) -> None:
        self.epoch, self.now = 1, 1000.0
        self.witness = GatewayWitness("g", lambda: self.now, lambda _: self.epoch)
        self.witness.look({INFY})

    def told(self, *ticks: Tick) -> list[str]:
        for tick in ticks:
            self.witness.ticked([tick])
        return self.witness.problems


@pytest.mark.parametrize(("last", "first"), [(PRICE, QUOTE), (QUOTE, PRICE)])
def test_a_price_that_the_next_holder_tells_in_another_mode_may_be_of_another_trade(
    last: Tick, first: Tick
) -> None:
    stage = Stage()
    stage.told(last)
    stage.epoch = 2
    assert not stage.told(first)
    assert stage.told(first), "the excuse is good for one tick"


@pytest.mark.parametrize(("last", "first"), [(PRICE, PRICE), (QUOTE, QUOTE)])
def test_a_trade_that_the_next_holder_repeats_in_the_same_mode_is_caught(last: Tick, first: Tick) -> None:
    stage = Stage()
    stage.told(last)
    stage.epoch = 2
    assert stage.told(first)


def test_a_trade_that_one_holder_tells_twice_is_caught_in_whatever_mode() -> None:
    assert Stage().told(PRICE, QUOTE)


def test_a_trade_that_is_lost_at_a_hand_over_is_caught() -> None:
    stage = Stage()
    stage.told(PRICE)
    stage.epoch = 2
    assert stage.told(QuoteTick(INFY, 6.0, 3, volume=6))


@pytest.mark.parametrize(("later_ms", "caught"), [(0, False), (1, False), (2, True)])
def test_a_gap_that_begins_behind_the_last_tick_is_caught(later_ms: int, caught: bool) -> None:
    stage = Stage()
    stage.told(PRICE)
    stage.witness.gaps_opened([Gap(INFY, 1_000_000 + later_ms, "its node is gone")])
    assert bool(stage.witness.problems) is caught
