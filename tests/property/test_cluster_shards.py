"""Shards: whatever is lost, doubled or late, a gateway has each tick once and in order, or a gap is told."""

from __future__ import annotations

from random import Random
from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st

from brokerpool.cluster.messages import Batch, Decoder, Snapshot, encode
from brokerpool.cluster.shard_batches import Outlets
from brokerpool.cluster.shard_receiver import ShardReceiver
from brokerpool.cluster.tick_codec import stands_row, tick_of, tick_row
from brokerpool.feed.gaps import Gap, GapBook
from brokerpool.feed.listeners import PoolListener
from brokerpool.instruments import Instrument
from brokerpool.ticks import DepthLevel, DepthTick, QuoteTick, Tick

_INSTRUMENTS = [Instrument("NSE", f"S{n}") for n in range(4)]
T = TypeVar("T")
_batch, _snapshot = Decoder(Batch), Decoder(Snapshot)


def _read(message: T | None) -> T:
    assert message is not None
    return message


class _Gateway(PoolListener):
    """Knows the number of each symbol's last tick, and which gaps are open."""

    def __init__(self) -> None:
        self.last: dict[Instrument, int] = {}
        self.open: dict[Instrument, Gap] = {}
        self.gap_since: set[Instrument] = set()

    def ticked(self, ticks: list[Tick]) -> None:
        for tick in ticks:
            i, number = tick.instrument, int(tick.ltp)
            assert i not in self.open, "gaps are told as closed before the tick"
            assert number > self.last.get(i, -1), "each once and in order"
            if i in self.last and i not in self.gap_since:
                assert number == self.last[i] + 1, "what is missing is told"
            self.last[i] = number
            self.gap_since.discard(i)

    def gaps_opened(self, gaps: list[Gap]) -> None:
        for gap in gaps:
            assert gap.instrument not in self.open
            assert gap.from_ms == self.last[gap.instrument], "from the last tick before the hole"
            self.open[gap.instrument] = gap
            self.gap_since.add(gap.instrument)

    def gaps_closed(self, gaps: list[Gap]) -> None:
        for gap in gaps:
            del self.open[gap.instrument]


@given(st.integers(0, 2**32), st.floats(0, 0.4), st.floats(0, 0.4), st.booleans())
def test_a_gateway_has_each_tick_once_and_in_order_or_is_told_of_the_gap(
    seed: int, lost: float, doubled: float, reorders: bool
) -> None:
    random, gateway = Random(seed), _Gateway()
    gaps = GapBook()
    view = ShardReceiver(gateway, gaps)
    for instrument in _INSTRUMENTS[:3]:
        view.hold(instrument)
    epoch, now, number = 1, 0.0, 0
    outlets = Outlets(epoch, 1)
    under_way: list[bytes] = []
    snapshots: list[bytes] = []

    def answer() -> bytes:
        for _, batch in outlets.flush(now):
            under_way.append(encode(batch))
        told = outlets.all_of(0)
        rows = [stands_row(t.number, t.received_ms, t.tick, None, None, "a", "b") for t in told]
        return encode(outlets.snapshot(0, rows))

    def hear(*, harmed: bool) -> None:
        while under_way:
            if harmed and random.random() < lost:
                under_way.pop(0)
                continue
            place = random.randrange(len(under_way)) if reorders and harmed else 0
            payload = under_way[place] if harmed and random.random() < doubled else under_way.pop(place)
            view.heard(_read(_batch(payload)), now)
            if harmed and random.random() < 0.5:
                return

    for _ in range(120):
        now += 0.1
        if random.random() < 0.02:
            epoch += 1
            outlets = Outlets(epoch, 1)
        number += 1
        ticks = [QuoteTick(i, float(number), number, volume=number) for i in _INSTRUMENTS]
        outlets.ticked(ticks, number)
        under_way += (encode(batch) for _, batch in outlets.flush(now))
        under_way += (encode(batch) for _, batch in outlets.signs_of_life(now, 0.0))
        hear(harmed=True)
        view.look(now, 1.5)
        if view.lacks_snapshot and random.random() < 0.5:
            snapshots.append(answer())
        if snapshots and random.random() < 0.7:
            view.snapshot(_read(_snapshot(snapshots.pop(0))), now)
    hear(harmed=False)
    now += 2.0  # for a predecessor that has said nothing since to be known as gone
    under_way += (encode(batch) for _, batch in outlets.signs_of_life(now, 0.0))
    hear(harmed=False)
    view.look(now, 1.5)
    for _ in range(3):
        if view.lacks_snapshot:
            view.snapshot(_read(_snapshot(answer())), now)
        under_way += (encode(batch) for _, batch in outlets.signs_of_life(now + 9, 0.0))
        hear(harmed=False)
    assert not view.lacks_snapshot
    assert not gateway.open
    assert gateway.last == dict.fromkeys(_INSTRUMENTS[:3], number)


def test_silence_and_a_lost_message_before_a_silence_show_within_the_time() -> None:
    gateway, outlets = _Gateway(), Outlets(1, 1)
    view = ShardReceiver(gateway, GapBook())
    infy = _INSTRUMENTS[0]
    view.hold(infy)
    view.look(0.0, 1.5)
    view.snapshot(outlets.snapshot(0, ()), 0.0)
    outlets.ticked([Tick(infy, 5.0, 1)], 5)
    for _, batch in outlets.flush(0.0):
        view.heard(batch, 0.0)
    outlets.ticked([Tick(infy, 6.0, 1)], 6)
    list(outlets.flush(0.1))
    (life,) = (batch for shard, batch in outlets.signs_of_life(0.6, 0.5) if shard.name == "0")
    view.heard(life, 0.6)
    assert gateway.open[infy].reason == "1 messages of its feed node were lost"
    view.snapshot(outlets.snapshot(0, ()), 0.7)
    view.look(2.1, 1.5)
    assert not view.lacks_snapshot
    view.look(2.2, 1.5)
    assert view.lacks_snapshot


def test_the_last_trade_that_comes_again_after_a_gap_ends_it_and_is_told_once() -> None:
    gateway, outlets = _Gateway(), Outlets(1, 1)
    view = ShardReceiver(gateway, GapBook())
    infy = _INSTRUMENTS[0]
    view.hold(infy)
    view.look(0.0, 1.5)
    view.snapshot(outlets.snapshot(0, ()), 0.0)

    def tick(price: float, timestamp: int, now: float) -> None:
        outlets.ticked([Tick(infy, price, timestamp)], timestamp)
        for _, batch in outlets.flush(now):
            view.heard(batch, now)

    tick(5.0, 5, 0.0)
    view.look(2.0, 1.5)
    assert infy in gateway.open
    view.snapshot(outlets.snapshot(0, ()), 2.1)
    tick(5.0, 9, 2.2)  # to who asks for a symbol anew a broker tells its last trade, as of now
    assert not gateway.open
    tick(6.0, 10, 2.3)
    assert gateway.last == {infy: 6}


_price, _count, _ms = st.floats(allow_nan=False), st.integers(0, 2**53), st.integers(0, 2**53)
_levels = st.lists(st.builds(DepthLevel, _price, _count, _count), max_size=5).map(tuple)
_any_tick = st.one_of(
    st.builds(Tick, st.just(_INSTRUMENTS[0]), _price, _ms),
    st.builds(QuoteTick, st.just(_INSTRUMENTS[0]), _price, _ms, volume=_count, change=_price),
    st.builds(DepthTick, st.just(_INSTRUMENTS[0]), _price, _ms, oi=_count, buy=_levels, sell=_levels),
)


@given(_any_tick)
def test_a_tick_is_the_same_one_at_the_other_end(tick: Tick) -> None:
    batch = _batch(encode(Batch(1, 1, 1, 1, (), (tick_row(7, tick),))))
    assert batch is not None
    (row,) = batch.rows
    assert tick_of(row, tick.instrument) == tick
    assert type(tick_of(row, tick.instrument)) is type(tick)


@given(st.binary(max_size=60))
def test_bytes_that_are_no_message_are_counted_and_left_alone(payload: bytes) -> None:
    decode = Decoder(Batch)
    decoded = decode(payload)
    assert (decoded is None) == (decode.faults == 1)
