"""A hand-over between two feed nodes whose sockets are both open, as a gateway's shard sees it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from brokerpool.cluster.hand_over import following
from brokerpool.cluster.messages import Batch
from brokerpool.cluster.shard_batches import Outlets
from brokerpool.cluster.shard_receiver import ShardReceiver
from brokerpool.cluster.tick_codec import Kind, stands_row
from brokerpool.feed.gaps import Gap, GapBook
from brokerpool.feed.lifecycle_states import SymbolState
from brokerpool.feed.listeners import PoolListener
from brokerpool.instruments import Instrument
from brokerpool.ticks import QuoteTick, Tick

INFY, TCS = Instrument("NSE", "INFY"), Instrument("NSE", "TCS")
NOW = 1_790_000_000_000


def trade(instrument: Instrument, volume: int, timestamp: int = NOW) -> QuoteTick:
    """Return a trade; both sockets see it, each with its own time of arrival."""
    return QuoteTick(instrument, 100.0 + volume / 100, timestamp, volume=volume)


class Seen(PoolListener):
    def __init__(self) -> None:
        self.volumes: dict[Instrument, list[int]] = {INFY: [], TCS: []}
        self.gaps: list[str] = []
        self.begun: list[int] = []
        self.over: list[int | None] = []

    def ticked(self, ticks: list[Tick]) -> None:
        for tick in ticks:
            assert isinstance(tick, QuoteTick)
            self.volumes[tick.instrument].append(tick.volume)

    def gaps_opened(self, gaps: list[Gap]) -> None:
        self.gaps += [gap.reason for gap in gaps]
        self.begun += [gap.from_ms for gap in gaps]

    def gaps_closed(self, gaps: list[Gap]) -> None:
        self.over += [gap.to_ms for gap in gaps]


class Node:
    """What one feed node tells of a single shard."""

    def __init__(self, epoch: int) -> None:
        self._outlets = Outlets(epoch, 1)

    def told(self, *ticks: Tick, at: int = NOW) -> Iterator[Batch]:
        self._outlets.ticked(ticks, at)
        return self._flushed()

    def gap(self, instrument: Instrument, begins: int) -> Iterator[Batch]:
        self._outlets.gaps(Kind.GAPS_OPENED, [Gap(instrument, begins, "its connection is lost")], begins)
        return self._flushed()

    def back(self, tick: Tick, begun: int, over: int) -> Iterator[Batch]:
        """The symbol's gap is over with this tick."""
        gap = Gap(tick.instrument, begun, "its connection is lost", to_ms=over)
        self._outlets.gaps(Kind.GAPS_CLOSED, [gap], over)
        return self.told(tick, at=over)

    def live(self, *instruments: Instrument) -> Iterator[Batch]:
        return self.states(SymbolState.LIVE, *instruments)

    def states(self, state: SymbolState, *instruments: Instrument) -> Iterator[Batch]:
        self._outlets.states(instruments, state, NOW)
        return self._flushed()

    def left(self, *, relieved: bool) -> Iterator[Batch]:
        self._outlets.leave(relieved=relieved, received_ms=NOW)
        return self._flushed()

    def _flushed(self) -> Iterator[Batch]:
        return (batch for _, batch in [*self._outlets.flush(0.0)])


class Stage:
    def __init__(self) -> None:
        self.seen = Seen()
        self.view = ShardReceiver(self.seen, GapBook())
        self.view.hold(INFY)
        self.view.hold(TCS)
        self.old, self.new = Node(1), Node(2)
        self.hear(self.old.told(trade(INFY, 1), trade(TCS, 1)))
        self.view.snapshot(self.old._outlets.snapshot(0, ()), 0.0)
        assert self.seen.volumes == {INFY: [], TCS: []}
        self.hear(self.old.told(trade(INFY, 2), trade(TCS, 2)))

    def hear(self, batches: Iterator[Batch]) -> None:
        for batch in batches:
            self.view.heard(batch, 0.0)

    def follows(self, volumes: Sequence[int], told: Sequence[int] = (2,)) -> None:
        assert self.seen.volumes == {INFY: [2, *volumes], TCS: [*told]}


def test_every_trade_comes_once_and_no_gap_is_told_whichever_socket_was_ahead() -> None:
    stage = Stage()
    stage.hear(stage.new.live(INFY, TCS))
    stage.hear(stage.new.told(trade(INFY, 2, NOW + 5), trade(TCS, 2, NOW + 5), trade(INFY, 3)))
    stage.hear(stage.old.told(trade(INFY, 3, NOW + 7)))
    stage.hear(stage.new.told(trade(INFY, 4)))
    stage.follows([3])  # the successor's wait until its predecessor has told its last
    stage.hear(stage.old.left(relieved=True))
    stage.follows([3, 4])
    stage.hear(stage.new.told(trade(INFY, 5), trade(TCS, 3)))
    stage.follows([3, 4, 5], [2, 3])
    assert stage.seen.gaps == []


def test_a_successor_that_is_behind_repeats_nothing() -> None:
    stage = Stage()
    stage.hear(stage.new.live(INFY, TCS))
    stage.hear(stage.new.told(trade(INFY, 2)))
    stage.hear(stage.old.told(trade(INFY, 3), trade(INFY, 4)))
    stage.hear(stage.old.left(relieved=True))
    stage.hear(stage.new.told(trade(INFY, 3, NOW + 9)))
    stage.hear(stage.new.told(trade(INFY, 4, NOW + 9), trade(INFY, 5)))
    stage.follows([3, 4, 5])
    assert stage.seen.gaps == []


def test_a_quote_after_a_bare_price_is_told_for_nothing_says_that_both_are_one_trade() -> None:
    last, quote = Tick(INFY, 100.0, NOW), QuoteTick(INFY, 100.0, NOW + 8, volume=4)
    assert following([(quote, NOW)], last, NOW) == ([(quote, NOW)], False)
    assert following([(last, NOW)], last, NOW) == ([], True)


def test_of_equal_prices_the_one_that_came_at_the_same_time_is_the_predecessors_last() -> None:
    one, other, after = (Tick(INFY, price, NOW) for price in (100.0, 100.05, 100.1))
    told = [(one, NOW), (other, NOW + 100), (one, NOW + 200), (after, NOW + 300)]
    assert following(told, one, NOW + 40) == (told[1:], True)
    assert following(told, one, NOW + 160) == (told[3:], True)


def test_a_symbol_that_the_successor_has_not_told_of_yet_goes_on_without_a_repetition() -> None:
    stage = Stage()
    stage.hear(stage.new.live(INFY, TCS))
    stage.hear(stage.old.left(relieved=True))
    stage.hear(stage.new.told(trade(TCS, 2, NOW + 3)))
    stage.hear(stage.new.told(trade(TCS, 3)))
    stage.follows([], [2, 3])
    assert stage.seen.gaps == []


def test_a_symbol_whose_connection_the_successor_loses_before_its_first_tick_has_a_gap() -> None:
    stage = Stage()
    stage.hear(stage.new.states(SymbolState.ACCEPTED, INFY, TCS))
    stage.hear(stage.new.states(SymbolState.SENT, INFY, TCS))
    stage.hear(stage.old.left(relieved=True))
    assert stage.seen.gaps == []
    stage.hear(stage.new.told(trade(INFY, 3)))
    stage.hear(stage.new.states(SymbolState.ACCEPTED, INFY, TCS))
    assert len(stage.seen.gaps) == 1  # of the one that had ticked the successor tells itself
    stage.hear(stage.new.told(trade(TCS, 5)))
    stage.follows([3], [2, 5])
    assert not stage.view.held[TCS].dark


@pytest.mark.parametrize("before_the_end", [True, False])
def test_a_gap_begins_with_the_predecessors_last_tick_though_the_successor_had_that_trade_later(
    before_the_end: bool,
) -> None:
    stage = Stage()
    stage.hear(stage.new.live(INFY, TCS))
    if not before_the_end:
        stage.hear(stage.old.left(relieved=True))
    stage.hear(stage.new.told(trade(INFY, 2, NOW + 30), at=NOW + 30))
    if before_the_end:
        stage.hear(stage.old.left(relieved=True))
    stage.hear(stage.new.gap(INFY, NOW + 31))
    stage.hear(stage.new.told(trade(INFY, 3), at=NOW + 50))
    stage.hear(stage.new.gap(INFY, NOW + 51))
    assert stage.seen.begun == [NOW, NOW + 51]


def test_a_gap_is_over_with_the_successors_first_tick_and_the_next_one_begins_with_its_last() -> None:
    stage = Stage()
    stage.hear(stage.new.live(INFY, TCS))
    stage.hear(stage.old.gap(INFY, NOW))
    stage.hear(stage.new.told(trade(INFY, 3), at=NOW + 40))
    stage.hear(stage.new.told(trade(INFY, 4), at=NOW + 60))
    stage.hear(stage.old.left(relieved=True))
    stage.follows([3, 4])
    stage.view.doubt("something may be lost")
    assert stage.seen.over == [NOW + 40]
    assert stage.seen.begun == [NOW, NOW + 60, NOW]  # of TCS nobody has told anything since


def test_a_gap_of_both_is_one_until_the_last_of_them_is_over() -> None:
    stage = Stage()
    stage.hear(stage.new.live(INFY, TCS))
    stage.hear(stage.old.gap(INFY, NOW))
    stage.hear(stage.new.told(trade(INFY, 3), trade(TCS, 3), at=NOW + 40))
    stage.hear(stage.old.told(trade(TCS, 3), trade(TCS, 4), at=NOW + 45))
    for instrument in (INFY, TCS):
        stage.hear(stage.new.gap(instrument, NOW + 40))
    stage.hear(stage.new.back(trade(INFY, 7), NOW + 40, NOW + 60))
    stage.hear(stage.new.back(trade(TCS, 5), NOW + 40, NOW + 60))
    stage.hear(stage.old.left(relieved=True))
    stage.follows([7], [2, 3, 4, 5])  # what TCS traded meanwhile has come from the other one
    assert (stage.seen.begun, stage.seen.over) == ([NOW], [NOW + 60])


@pytest.mark.parametrize("before", [(), (SymbolState.SENT, SymbolState.LIVE)])
def test_a_symbol_that_no_connection_of_the_successor_carries_when_it_takes_over_has_a_gap(
    before: Sequence[SymbolState],
) -> None:
    stage = Stage()
    stage.hear(stage.new.live(INFY))
    for state in (*before, SymbolState.ACCEPTED):
        stage.hear(stage.new.states(state, TCS))
    stage.hear(stage.new.told(trade(INFY, 2), trade(TCS, 2)))
    stage.hear(stage.old.left(relieved=True))
    assert len(stage.seen.gaps) == 1
    assert stage.view.held[TCS].dark


@pytest.mark.parametrize("known", [True, False])
def test_a_symbol_that_the_successors_broker_has_not_been_asked_for_has_a_gap_until_its_first_tick(
    known: bool,
) -> None:
    stage = Stage()
    stage.hear(stage.new.live(INFY))
    stage.hear(stage.new.told(trade(INFY, 2)))
    if known:
        stage.new._outlets.told(TCS)  # introduced with the next batch, and nothing said of it
        stage.hear(stage.new.told(trade(INFY, 3)))
    stage.hear(stage.old.left(relieved=True))
    assert stage.seen.begun == [NOW]
    stage.hear(stage.new.states(SymbolState.SENT, TCS))
    assert stage.view.held[TCS].dark
    stage.hear(stage.new.told(trade(TCS, 9), at=NOW + 70))
    assert stage.seen.over == [NOW + 70]
    stage.follows([3] if known else [], [2, 9])


def test_a_gap_of_a_symbol_without_a_trade_meanwhile_is_over_with_the_first_word_of_it() -> None:
    stage = Stage()
    stage.hear(stage.new.live(INFY))
    stage.hear(stage.old.left(relieved=True))
    assert stage.view.held[TCS].dark
    stage.hear(stage.new.told(trade(TCS, 2, NOW + 80), at=NOW + 80))
    assert (stage.seen.over, stage.view.held[TCS].dark) == ([NOW + 80], False)
    stage.follows([])


@pytest.mark.parametrize("relieved", [True, False])
def test_a_predecessor_that_leaves_with_no_successor_that_carries_all_is_a_gap(relieved: bool) -> None:
    stage = Stage()
    if not relieved:
        stage.hear(stage.new.told(trade(INFY, 3)))
    stage.hear(stage.old.left(relieved=relieved))
    assert len(stage.seen.gaps) == 2
    assert stage.view.lacks_snapshot


def test_a_snapshot_of_a_successor_that_lags_passes_nothing_older_and_its_next_tick_ends_the_gap() -> None:
    stage = Stage()
    stage.hear(stage.new.told(trade(INFY, 2, NOW + 5), trade(TCS, 2, NOW + 5)))
    stage.hear(stage.old.told(trade(INFY, 3), trade(TCS, 2), at=NOW + 50))
    stage.hear(stage.old.left(relieved=False))
    of = stage.new._outlets.told
    lagging = [
        stands_row(of(i).number, NOW + 5, trade(i, 2, NOW + 5), None, SymbolState.LIVE, "", "")
        for i in (INFY, TCS)
    ]
    stage.view.snapshot(stage.new._outlets.snapshot(0, lagging), 1.0)
    stage.follows([3], [2, 2])
    assert stage.view.held[INFY].dark
    stage.hear(stage.new.told(trade(INFY, 3, NOW + 60), at=NOW + 60))
    stage.hear(stage.new.told(trade(INFY, 4, NOW + 70), at=NOW + 70))
    stage.follows([3, 4], [2, 2])
    assert stage.seen.over[-1] == NOW + 60


def test_a_lost_message_of_the_successor_is_a_gap_and_not_silence() -> None:
    stage = Stage()
    [*stage.new.told(trade(INFY, 3))]  # never came
    stage.hear(stage.new.told(trade(INFY, 4)))
    stage.hear(stage.old.left(relieved=True))
    assert len(stage.seen.gaps) == 2
    assert stage.view.lacks_snapshot


def test_a_predecessor_that_dies_meanwhile_is_a_gap_and_the_successor_goes_on() -> None:
    stage = Stage()
    stage.hear(stage.new.told(trade(INFY, 2), trade(INFY, 3)))
    stage.view.look(0.0, 1.5)
    stage.view.look(2.0, 1.5)
    assert len(stage.seen.gaps) == 2
    stage.view.snapshot(stage.new._outlets.snapshot(0, ()), 2.0)
    stage.hear(stage.new.told(trade(INFY, 4)))
    stage.follows([4])
