"""Several sockets that carry the same ticks of one symbol, in invented time, and ticks of each kind."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import strategies as st

from brokerpool.feed.deduplication import Deduplication
from brokerpool.feed.redundancy_progress import Agreement
from brokerpool.instruments import Instrument
from brokerpool.ticks import DepthLevel, DepthTick, QuoteTick, Tick

INFY = Instrument("NSE", "INFY")


DAY_MS = 86_400_000


class Sockets(Deduplication):
    """Several sockets in invented time, and what passes of what they bring."""

    def __init__(self, last: Tick | None = None, serving: Sequence[str] = ("a",), joined: str = "ab") -> None:
        self.agreement = Agreement()
        super().__init__(self.agreement, last, 0.0, serving)
        self.now = 0.0
        self.holes = 0
        self.serve(joined, 0.0)

    def brings(self, source: str, tick: Tick) -> list[Tick]:
        self.now += 0.001
        passing = self.brought(source, tick, self.now)
        self.holes += passing.hole
        return passing.ticks

    def waits(self, seconds: float) -> list[Tick]:
        """Let time go by, in which nothing comes, and look."""
        self.now += seconds
        passing = self.overdue(self.now)
        self.holes += passing.hole
        return passing.ticks

    def agree(self, one: str, other: str) -> None:
        """Have two bring the same of another symbol."""
        self.now += 0.001
        self.agreement.note(one, self.now - 0.001, other, self.now)

    def dies(self, source: str) -> None:
        self.lost(source)
        self.agreement.forget(source)


def ltp(price: float, at_ms: int = 0) -> Tick:
    return Tick(instrument=INFY, ltp=price, timestamp=at_ms)


def quote(number: int, *, volume: int | None = None, seen_at: int = 0) -> QuoteTick:
    """Return a tick with every third a trade and the others changes of the order book; no two are equal."""
    return QuoteTick(
        instrument=INFY,
        ltp=100.0 + number // 3 % 3,
        timestamp=1000 * number + seen_at,
        volume=number // 3 if volume is None else volume,
        total_buy_quantity=5000 + number,
    )


def depth(number: int, *, seen_at: int = 0) -> DepthTick:
    """Return a tick with the exchange's time, two of them in each second."""
    return DepthTick(
        instrument=INFY,
        ltp=100.0,
        timestamp=1000 * (number // 2),
        volume=10,
        buy=(DepthLevel(99.0, number, 1),),
    )


def price(number: int, *, seen_at: int = 0) -> Tick:
    return ltp(float(number))


kinds = st.sampled_from([quote, depth, price])


every_kind = pytest.mark.parametrize("kind", [quote, depth, price])


counts = st.integers(1, 200)


@st.composite
def interleavings(draw: st.DrawFn, count: int, sources: int, lag: int) -> list[tuple[str, int]]:
    """Return (source, number) in the order of arrival: each source in its order, at most `lag` apart."""
    at = [0] * sources
    order = []
    while min(at) < count:
        able = [s for s in range(sources) if at[s] < count and at[s] - min(at) < lag]
        source = draw(st.sampled_from(able))
        steps = draw(st.integers(1, lag))
        for _ in range(steps):
            if at[source] >= count or at[source] - min(at) >= lag:
                break
            order.append(("abc"[source], at[source]))
            at[source] += 1
    return order
