"""Rows of a shard: ticks and news as short arrays in which numbers stand for instruments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any, Final, TypeAlias

from msgspec.structs import astuple

from brokerpool.feed.gaps import Gap
from brokerpool.feed.lifecycle_states import SymbolState
from brokerpool.ticks import DepthLevel, DepthTick, Mode, QuoteTick, Tick

Row: TypeAlias = tuple[Any, ...]


class Kind(IntEnum):
    """What a row is; those of ticks are their modes."""

    LTP = Mode.LTP
    QUOTE = Mode.QUOTE
    DEPTH = Mode.DEPTH
    #: How a symbol stands, for whoever does not know: number, received_ms, tick, gap, state, account, broker.
    STANDS = 10
    #: Numbers and what is new of those symbols: a state; why refused; nothing; account and broker.
    STATE = 11
    REFUSED = 12
    DELISTED = 13
    REROUTED = 14
    #: Gaps: number, from_ms, reason, to_ms, filled.
    GAPS_OPENED = 15
    GAPS_CLOSED = 16
    #: Ticks from another source.
    FILLED = 17
    #: The last of an epoch: whether its sockets were closed once those of a successor were live.
    LEFT = 18
    #: Of the account and no symbol: what the broker said of an order; a connection's name, state and reason.
    ORDER = 20
    CONNECTION = 21
    #: An entry of its journal: event, connection, symbols and reason.
    JOURNAL = 22


#: Rows of this kind or a lower one are ticks.
TICKS: Final = Kind.DEPTH
_CLASSES: Final = (Tick, Tick, QuoteTick, DepthTick)
_BOOK: Final = 2  # the last fields of a DepthTick are the two sides of the order book


def tick_row(number: int, tick: Tick) -> Row:
    """Return the tick as a row; its first two are the mode and the number of the instrument."""
    kind, fields = int(tick.mode), astuple(tick)
    if kind != TICKS:
        return (kind, number) + fields[1:]  # noqa: RUF005  (this is called for every tick, and joins faster)
    buy, sell = fields[-_BOOK:]
    return (
        kind,
        number,
        *fields[1:-_BOOK],
        [astuple(level) for level in buy],
        [astuple(level) for level in sell],
    )


def tick_of(row: Sequence[Any], instrument: Any) -> Tick:  # noqa: ANN401  (an Instrument; called for every tick)
    """Return the tick of a row. Raises TypeError for a row that has too many fields."""
    mode = row[0]
    if mode != TICKS:
        return _CLASSES[mode](instrument, *row[2:])
    buy, sell = (tuple([DepthLevel(*level) for level in side]) for side in row[-_BOOK:])
    return DepthTick(instrument, *(*row[2:-_BOOK], buy, sell))


def gap_row(number: int, gap: Gap) -> Row:
    """Return a gap as it stands in a row of gaps."""
    return number, gap.from_ms, gap.reason, gap.to_ms, gap.filled


def stands_row(
    number: int,
    received_ms: int,
    tick: Tick | None,
    gap: Gap | None,
    state: SymbolState | None,
    account: str,
    broker: str,
) -> Row:
    """Return how a symbol stands."""
    told = None if tick is None else tick_row(number, tick)
    hole = None if gap is None else gap_row(number, gap)
    return Kind.STANDS.value, number, received_ms, told, hole, state and state.value, account, broker


def numbers_row(kind: Kind, numbers: Iterable[int], *told: str) -> Row:
    """Return news of symbols."""
    return kind.value, list(numbers), *told
