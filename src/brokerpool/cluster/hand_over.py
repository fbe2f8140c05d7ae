"""Where a successor's ticks go on from its predecessor's, whose sockets were open at the same time; pure."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from brokerpool.cluster.messages import Batch
from brokerpool.cluster.tick_codec import TICKS, Kind
from brokerpool.feed.lifecycle_states import SymbolState
from brokerpool.ticks import QuoteTick, Tick

#: Batches of a successor that wait for the last one of its predecessor; with more it is no hand-over.
MOST_WAITING = 5000
#: What a predecessor has told of states and gaps as well, and of its own sockets.
_OF_BOTH = (Kind.STATE, Kind.STANDS, Kind.GAPS_OPENED, Kind.GAPS_CLOSED, Kind.FILLED)
#: A symbol in one of these has no connection that brings its ticks.
UNCARRIED = frozenset((SymbolState.ACCEPTED, SymbolState.DEGRADED, SymbolState.REFUSED))
#: A tick, and the epoch milliseconds at which its feed node received it.
Received = tuple[Tick, int]
#: A row, and when what is in it was received.
_TimedRow = tuple[Sequence[Any], int]


def same(one: Tick, other: Tick) -> bool:
    """Tell whether both are one trade; a packet without a time of its own has that of its arrival."""
    return type(one) is type(other) and replace(one, timestamp=other.timestamp) == other


def following(ticks: Sequence[Received], last: Tick, at: int) -> tuple[Sequence[Received], bool]:
    """Return those of a symbol's ticks that came after the last of another socket, and whether that is there.

    Of several that are the same, as bare prices may be, it is the one that came next to `at`, when the last
    one came. Where none is, they are judged by the day's volume, which rises with each trade, without one by
    time.
    """
    places = [place for place, (tick, _) in enumerate(ticks) if same(tick, last)]
    if not places:
        return [received for received in ticks if behind(last, received[0])], False
    place = min(places, key=lambda place: abs(ticks[place][1] - at))
    return ticks[place + 1 :], True


def behind(tick: Tick, last: Tick) -> bool:
    """Tell whether a tick is of before another one of another socket, as far as volume or time tell."""
    volume, other = _volume(tick), _volume(last)
    return volume < other if volume and other and volume != other else tick.timestamp < last.timestamp


def _volume(tick: Tick) -> float:
    return tick.volume if isinstance(tick, QuoteTick) else 0


class Successor:
    """What a successor has told so far, from its first batch on."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self._batches: deque[Batch] = deque(maxlen=MOST_WAITING)

    def heard(self, batch: Batch) -> None:
        """Keep a batch; a sign of life says nothing, and one that came late from somebody before neither."""
        if batch.rows and batch.epoch == self.epoch:
            self._batches.append(batch)

    @property
    def whole(self) -> bool:
        """True where all of it is there, in order."""
        return [batch.sequence for batch in self._batches] == [*range(1, len(self._batches) + 1)]

    @property
    def waiting(self) -> Iterator[Batch]:
        """Give the batches in order."""
        return iter(self._batches)

    @property
    def sequence(self) -> int:
        """The number of its last batch."""
        return self._batches[-1].sequence if self._batches else 0

    def carried(self) -> set[int]:
        """Return the numbers of symbols that a connection of its carries, by what it told last."""
        carried: set[int] = set()
        for batch in self._batches:
            for row in batch.rows:
                if row[0] == Kind.STATE:
                    lost = SymbolState(row[2]) in UNCARRIED
                    (carried.difference_update if lost else carried.update)(row[1])
        return carried

    def rows(self) -> tuple[dict[int, list[_TimedRow]], list[_TimedRow]]:
        """Return the rows of ticks by the number of their symbol, and all other news, with their times."""
        ticks: defaultdict[int, list[_TimedRow]] = defaultdict(list)
        news: list[_TimedRow] = []
        for batch in self._batches:
            for row in batch.rows:
                if row[0] <= TICKS:
                    ticks[row[1]].append((row, batch.received_ms))
                elif row[0] not in _OF_BOTH:
                    news.append((row, batch.received_ms))
        return ticks, news

    def resumed(self) -> dict[int, int]:
        """Return how many ticks of a symbol it had told when the last gap of it was over, by its number."""
        ticks: defaultdict[int, int] = defaultdict(int)
        resumed: dict[int, int] = {}
        for batch in self._batches:
            for row in batch.rows:
                if row[0] <= TICKS:
                    ticks[row[1]] += 1
                elif row[0] == Kind.GAPS_CLOSED:
                    resumed |= {gap[0]: ticks[gap[0]] for gap in row[1]}
        return resumed
