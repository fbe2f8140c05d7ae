"""Upstox's market data, written of the simulated exchange's quotes; pure, clock injected."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime, time

from brokerpool.simulator.exchange import LEVELS, Quote
from brokerpool.simulator.fault_switches import Malformation
from brokerpool.simulator.history import IST
from brokerpool.simulator.listed_instruments import Listing
from brokerpool.simulator.upstox import protobuf
from brokerpool.simulator.upstox.instruments import key, segment
from brokerpool.ticks import Mode

#: What the market is, between the broker's modes and ours: QUOTE stands for its mode option_greeks.
MODES = {"ltpc": Mode.LTP, "option_greeks": Mode.QUOTE, "full": Mode.DEPTH}

_NOBODY = "NSE_EQ|NOBODY"
_NORMAL_OPEN = 2
_OPTIONS = ("CE", "PE")
_MINUTE = 60_000


class UpstoxWire:
    """One record an instrument, under its key; several in a message."""

    TEXT = False
    #: There is none: the broker sends pings.
    HEARTBEAT = b""
    #: A larger burst leaves in several messages, so that none grows without bound.
    PACKETS_PER_FRAME = 500

    def __init__(self, listings: Iterable[Listing], clock: Callable[[], float]) -> None:
        self._clock = clock
        self._listings = {listing.token: listing for listing in listings}
        self._keys = {token: key(listing) for token, listing in self._listings.items()}
        #: Instrument key -> token.
        self.tokens = {name: token for token, name in self._keys.items()}

    def greeting(self) -> bytes:
        """Return the status of the market, which a new socket is told first."""
        segments = sorted({segment(listing) for listing in self._listings.values()})
        return protobuf.market_info([(name, _NORMAL_OPEN) for name in segments], self._now())

    def record(self, quote: Quote, mode: Mode) -> bytes:
        """Return the record of a quote in a mode."""
        name = self._keys[quote.token]
        if mode is Mode.LTP:
            return protobuf.record(protobuf.price_row(name, _ltpc(quote)))
        if mode is Mode.QUOTE:
            return protobuf.record(protobuf.greeks_row(name, self._with_greeks(quote)))
        if quote.is_index:
            index = protobuf.index(_ltpc(quote), _bars(quote))
            return protobuf.record(protobuf.full_row(name, index=index))
        return protobuf.record(protobuf.full_row(name, market=self._market(quote)))

    def records(self, quote: Quote, modes: Collection[Mode]) -> dict[Mode, tuple[bytes]]:
        """Return the record of each mode."""
        return {mode: (self.record(quote, mode),) for mode in modes}

    def frame(self, records: Sequence[bytes]) -> bytes:
        """Return the message that carries the records, with the time at which it leaves."""
        return protobuf.feed(records, self._now())

    def malformed(self, kind: Malformation, records: Sequence[bytes]) -> bytes:
        """Return the message, spoilt in one way; of a wrong length means rows that end too early."""
        if kind is Malformation.TRUNCATED:
            return self.frame(records)[:-3]
        rows = [row for record in records for row in self.packets(record)]
        if kind is Malformation.UNKNOWN_TOKEN:
            return self.frame(
                [protobuf.record(protobuf.text(1, _NOBODY) + protobuf.message(2, _feed(row))) for row in rows]
            )
        return self.frame([protobuf.record(row[:-1]) for row in rows])

    def packets(self, message: bytes) -> Iterator[bytes]:
        """Yield the rows of a message; stops at the first that is cut short."""
        return (content for number, content in protobuf.fields(message) if number == 2)

    def packet_token(self, packet: bytes) -> int | None:
        """Return the token of a row, None for a key that nobody lists."""
        name = next((content for number, content in protobuf.fields(packet) if number == 1), b"")
        return self.tokens.get(name.decode("utf-8", "replace"))

    def trimmed(self, packet: bytes, mode: Mode) -> bytes:
        """Return the record of a row in mode ltpc, where that is wanted; in any other as it is."""
        feed = dict(protobuf.fields(_feed(packet)))
        if mode is not Mode.LTP or 1 in feed:
            return protobuf.record(packet)
        inside = dict(protobuf.fields(feed.get(2, b"") or feed.get(3, b"")))
        full = inside if 3 in feed else dict(protobuf.fields(inside.get(1, b"") or inside.get(2, b"")))
        name = self._keys.get(self.packet_token(packet) or 0, _NOBODY)
        return protobuf.record(protobuf.price_row(name, full.get(1, b"")))

    def error(self, text: str) -> bytes:
        """Return nothing: the broker says nothing of a bad request."""
        return b""

    # -- inside -------------------------------------------------------------------------------------------

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _market(self, quote: Quote) -> bytes:
        unit = quote.unit
        return protobuf.market(
            _ltpc(quote),
            protobuf.book(list(_levels(quote))),
            self._greeks(quote),
            _bars(quote),
            average=quote.average / unit,
            volume=quote.volume,
            oi=float(quote.oi),
            volatility=self._volatility(quote),
            buys=float(quote.buy_total),
            sells=float(quote.sell_total),
        )

    def _with_greeks(self, quote: Quote) -> bytes:
        return protobuf.with_greeks(
            _ltpc(quote),
            next(_levels(quote)),
            self._greeks(quote),
            quote.volume,
            float(quote.oi),
            self._volatility(quote),
        )

    def _greeks(self, quote: Quote) -> bytes:
        kind = self._listings[quote.token].kind
        if kind not in _OPTIONS:
            return b""
        # Made up, and never the same for two prices.
        delta = 0.5 + (quote.ltp % 100) / 400
        return protobuf.greeks(delta if kind == "CE" else -delta, -12.3, 0.0009, 11.2, 1.5)

    def _volatility(self, quote: Quote) -> float:
        return 0.1523 if self._listings[quote.token].kind in _OPTIONS else 0.0


def _ltpc(quote: Quote) -> bytes:
    # An index is not traded: its price has the time of its making.
    at = (quote.last_trade_time or quote.exchange_time) * 1000
    return protobuf.ltpc(quote.ltp / quote.unit, at, quote.last_quantity, quote.close / quote.unit)


def _levels(quote: Quote) -> Iterator[bytes]:
    unit, depth, asks = quote.unit, quote.depth, LEVELS * 3
    for bid in range(0, asks, 3):
        ask = asks + bid
        yield protobuf.level(depth[bid], depth[bid + 1] / unit, depth[ask], depth[ask + 1] / unit)


def _bars(quote: Quote) -> bytes:
    """Return the bars of the day and of the minute, of which the exchange keeps the last price alone."""
    unit, at = quote.unit, quote.exchange_time
    price = quote.ltp / unit
    midnight = datetime.combine(datetime.fromtimestamp(at, IST).date(), time(), IST)
    day = protobuf.bar(
        "1d",
        quote.open / unit,
        quote.high / unit,
        quote.low / unit,
        price,
        quote.volume,
        int(midnight.timestamp() * 1000),
    )
    minute = at * 1000 // _MINUTE * _MINUTE
    return protobuf.bars([day, protobuf.bar("I1", price, price, price, price, quote.last_quantity, minute)])


def _feed(row: bytes) -> bytes:
    return next((content for number, content in protobuf.fields(row) if number == 2), b"")
