"""The market: prices that walk, trade by trade, the same for the same seed; pure, clock injected."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TypeAlias

from brokerpool.simulator.listed_instruments import Listing

LEVELS = 5
EMPTY_DEPTH = (0,) * (2 * LEVELS * 3)

#: Ten levels, bids first, as lots, distance from the last price in ticks, and orders.
Shape: TypeAlias = tuple[tuple[int, int, int], ...]

#: What 32 unsigned bits hold, which is all that a counter has on some wires.
_COUNTER_LIMIT = 2**32

_MOVES = (-3, -2, -1, -1, -1, -1, 0, 0, 0, 0, 1, 1, 1, 1, 2, 3)
_LOTS = (1, 1, 1, 2, 2, 3, 5, 7, 10, 12, 20, 25, 40, 50, 75, 100)
_SHAPES = 64


@dataclass(slots=True)
class Quote:
    """All that the exchange tells of one instrument: prices in units as listed, times in epoch seconds."""

    token: int
    ltp: int = 0
    last_quantity: int = 0
    average: int = 0
    volume: int = 0
    buy_total: int = 0
    sell_total: int = 0
    open: int = 0
    high: int = 0
    low: int = 0
    close: int = 0
    last_trade_time: int = 0
    oi: int = 0
    oi_high: int = 0
    oi_low: int = 0
    exchange_time: int = 0
    #: From the close.
    change: int = 0

    #: An index has neither quantities nor a book.
    is_index: bool = False
    #: Units of a price in a rupee.
    unit: int = 100

    #: Of a price, and of a quantity.
    tick: int = 1
    lot: int = 1
    #: How the book stands around the last price; a book without orders has none.
    shape: Shape = ()
    #: What `depth` is; None while nobody has asked for it.
    levels: tuple[int, ...] | None = field(default=None, compare=False, repr=False)

    @property
    def depth(self) -> tuple[int, ...]:
        """Five bids, then five asks, each as quantity, price, orders; a level without orders is three zeros.

        Made when it is asked for: most feeds have no book, and of most trades nobody is told.
        """
        if self.levels is None:
            self.levels = _depth(self) if self.shape else EMPTY_DEPTH
        return self.levels

    def stand(self, shape: Shape) -> None:
        """Let the book be of this shape, around the present last price."""
        self.shape, self.levels = shape, None


class _Instrument:
    """One instrument's quote and what its walk needs besides."""

    __slots__ = ("buy_base", "ceiling", "floor", "has_oi", "lot", "quote", "sell_base", "tick", "turnover")

    def __init__(self, listing: Listing, rng: Random, now: int) -> None:
        tick, close = listing.tick, listing.price
        self.tick = tick
        self.lot = max(1, listing.lot)
        self.floor, self.ceiling = listing.band
        self.has_oi = listing.expiry is not None
        opening = min(self.ceiling, max(self.floor, close + rng.randint(-40, 40) * tick))
        quote = self.quote = Quote(
            listing.token, opening, open=opening, high=opening, low=opening, close=close, unit=listing.unit
        )
        quote.tick, quote.lot = tick, self.lot
        quote.is_index = listing.kind == "INDEX"
        quote.change = opening - close
        quote.exchange_time = now
        self.turnover = 0
        self.buy_base = rng.randint(1_000, 400_000) * self.lot
        self.sell_base = rng.randint(1_000, 400_000) * self.lot
        if not quote.is_index:
            quote.volume = rng.randint(1_000, 2_000_000) * self.lot % _COUNTER_LIMIT
            self.turnover = quote.volume * opening
            quote.average = opening
            quote.last_quantity = self.lot
            quote.last_trade_time = now
            quote.buy_total, quote.sell_total = self.buy_base, self.sell_base
        if self.has_oi:
            quote.oi = quote.oi_high = quote.oi_low = rng.randint(1_000, 100_000) * self.lot


class Market:
    """N instruments that trade in turn: each trades once a round, in an order that the seed shuffles.

    So no instrument is silent for longer than a round, whatever the seed; and two markets with the
    same listings, seed and clock readings say the same, trade by trade.
    """

    def __init__(self, listings: Sequence[Listing], *, seed: int, clock: Callable[[], float]) -> None:
        if not listings:
            raise ValueError("a market needs at least one listing")
        self._rng = Random(seed)
        self._clock = clock
        self._shapes = [_shape(self._rng) for _ in range(_SHAPES)]
        now = int(clock())
        self._instruments = [_Instrument(listing, self._rng, now) for listing in listings]
        for instrument in self._instruments:
            if not instrument.quote.is_index:
                instrument.quote.stand(self._shapes[0])
        self.quotes: Mapping[int, Quote] = {i.quote.token: i.quote for i in self._instruments}
        if len(self.quotes) != len(listings):
            raise ValueError(f"{len(listings) - len(self.quotes)} listings have the token of another one")
        self._rng.shuffle(self._instruments)
        self._turn = 0
        #: Trades since the start.
        self.ticks = 0

    def advance(self, ticks: int) -> Iterator[Quote]:
        """Let `ticks` trades happen and yield the quote after each; it changes with the next one."""
        now = int(self._clock())
        instruments, shapes = self._instruments, self._shapes
        draw = self._rng.getrandbits
        for _ in range(ticks):
            instrument = instruments[self._turn]
            self._turn = (self._turn + 1) % len(instruments)
            self.ticks += 1
            bits = draw(32)
            quote = instrument.quote
            _move(instrument, bits, now)
            if not quote.is_index:
                _trade(instrument, bits >> 4, now)
                quote.stand(shapes[(bits >> 8) % _SHAPES])
            yield quote


def _move(instrument: _Instrument, bits: int, now: int) -> None:
    quote = instrument.quote
    price = quote.ltp + _MOVES[bits & 15] * instrument.tick
    if not instrument.floor <= price <= instrument.ceiling:
        price = quote.ltp
    quote.ltp = price
    if price > quote.high:
        quote.high = price
    elif price < quote.low:
        quote.low = price
    quote.change = price - quote.close
    quote.exchange_time = now


def _trade(instrument: _Instrument, bits: int, now: int) -> None:
    quote, lot = instrument.quote, instrument.lot
    quantity = _LOTS[bits & 15] * lot
    quote.last_quantity = quantity
    quote.last_trade_time = now
    quote.volume += quantity
    if quote.volume >= _COUNTER_LIMIT:
        # A market that runs for weeks fills 32 bits; it then begins a new day.
        quote.volume = quantity
        instrument.turnover = 0
    instrument.turnover += quote.ltp * quantity
    quote.average = instrument.turnover // quote.volume
    quote.buy_total = instrument.buy_base + (bits >> 10 & 0xFF) * lot
    quote.sell_total = instrument.sell_base + (bits >> 18 & 0xFF) * lot
    if instrument.has_oi:
        quote.oi = min(_COUNTER_LIMIT - 1, max(0, quote.oi + ((bits >> 26) % 3 - 1) * lot))
        if quote.oi > quote.oi_high:
            quote.oi_high = quote.oi
        elif quote.oi < quote.oi_low:
            quote.oi_low = quote.oi


def _shape(rng: Random) -> Shape:
    levels: list[tuple[int, int, int]] = []
    for side in (-1, 1):
        distance = 0 if side == 1 else 1
        for _ in range(LEVELS):
            orders = rng.randint(1, 12)
            levels.append((orders * rng.randint(1, 60), side * distance, orders))
            distance += rng.choice((1, 1, 1, 2))
    return tuple(levels)


def _depth(quote: Quote) -> tuple[int, ...]:
    ltp, tick, lot = quote.ltp, quote.tick, quote.lot
    depth: list[int] = []
    for lots, distance, orders in quote.shape:
        price = ltp + distance * tick
        depth += (lots * lot, price, orders) if price > 0 else (0, 0, 0)
    return tuple(depth)
