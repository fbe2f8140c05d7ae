"""Ticks as OpenAlgo's clients read them: one finished WebSocket frame per tick and mode, encoded once."""

from __future__ import annotations

import msgspec

from brokerpool.instruments import Instrument
from brokerpool.ticks import DepthLevel, DepthTick, Mode, QuoteTick, Tick
from brokerpool.transport.frames import server_frame

# The field order is the wire's order; clients that search the text expect symbol, exchange, ltp first.


class _Ltp(msgspec.Struct, gc=False):
    symbol: str
    exchange: str
    ltp: float
    timestamp: int


class _Quote(msgspec.Struct, gc=False):
    symbol: str
    exchange: str
    ltp: float
    open: float
    high: float
    low: float
    close: float
    volume: int
    last_trade_quantity: int
    avg_trade_price: float
    change: float
    change_percent: float
    oi: int
    total_buy_quantity: int
    total_sell_quantity: int
    timestamp: int


class _Book(msgspec.Struct, gc=False):
    buy: tuple[DepthLevel, ...]
    sell: tuple[DepthLevel, ...]


class _Depth(_Quote, gc=False):
    depth: _Book


_encode = msgspec.json.Encoder().encode


def _ltp(tick: Tick) -> _Ltp:
    return _Ltp(tick.instrument.symbol, tick.instrument.exchange, tick.ltp, tick.timestamp)


def _quote_members(
    tick: QuoteTick,
) -> tuple[str, str, float, float, float, float, float, int, int, float, float, float, int, int, int, int]:
    return (
        tick.instrument.symbol,
        tick.instrument.exchange,
        tick.ltp,
        tick.open,
        tick.high,
        tick.low,
        tick.close,
        tick.volume,
        tick.last_trade_quantity,
        tick.avg_trade_price,
        tick.change,
        tick.change_percent,
        tick.oi if isinstance(tick, DepthTick) else 0,
        tick.total_buy_quantity,
        tick.total_sell_quantity,
        tick.timestamp,
    )


def _data(tick: Tick, mode: Mode) -> _Ltp | _Quote | _Depth:
    """Return the members of the mode; the tick's own mode is that one or a higher one."""
    if mode == Mode.DEPTH and isinstance(tick, DepthTick):
        return _Depth(*_quote_members(tick), _Book(tick.buy, tick.sell))
    if mode == Mode.QUOTE and isinstance(tick, QuoteTick):
        return _Quote(*_quote_members(tick))
    return _ltp(tick)


class FrameWriter:
    """Encodes the ticks of one instrument in one mode; what never changes is encoded when it is made."""

    def __init__(self, instrument: Instrument, mode: Mode, broker: str) -> None:
        self._mode = mode
        symbol, exchange = _encode(instrument.symbol), _encode(instrument.exchange)
        head = b'{"type":"market_data","symbol":%b,"exchange":%b,"mode":%d,"data":'
        self._head = head % (symbol, exchange, mode)
        self.fed_by(broker)

    def fed_by(self, broker: str) -> None:
        """Name this broker in the frames from now on."""
        self._tail = b',"broker":%b}' % _encode(broker)
        self._snapshot_tail = b',"snapshot":true' + self._tail
        self._stale_tail = b',"snapshot":true,"stale":true' + self._tail

    def frame(self, tick: Tick) -> bytes:
        """Return the tick as a finished WebSocket frame, trimmed to the mode."""
        return server_frame(self._head + _encode(_data(tick, self._mode)) + self._tail)

    def snapshot(self, tick: Tick, *, stale: bool = False) -> bytes:
        """Return the same with `"snapshot":true`, and `"stale":true` for a value whose feed has stopped."""
        tail = self._stale_tail if stale else self._snapshot_tail
        return server_frame(self._head + _encode(_data(tick, self._mode)) + tail)


class DeepFrameWriter(FrameWriter):
    """Encodes the ticks of one instrument in depth mode, with the levels of a deeper book if there is one."""

    def __init__(self, instrument: Instrument, broker: str) -> None:
        super().__init__(instrument, Mode.DEPTH, broker)
        #: The newest one; None while its feed is away, and the levels are those of the tick.
        self.book: DepthTick | None = None

    def frame(self, tick: Tick) -> bytes:
        """Return the tick as a finished WebSocket frame, with the levels of the deeper book."""
        return super().frame(self._deepened(tick))

    def snapshot(self, tick: Tick, *, stale: bool = False) -> bytes:
        """Return the same as a snapshot, see `FrameWriter.snapshot`."""
        return super().snapshot(self._deepened(tick), stale=stale)

    def _deepened(self, tick: Tick) -> Tick:
        if self.book is None or not isinstance(tick, DepthTick):
            return tick
        return msgspec.structs.replace(tick, buy=self.book.buy, sell=self.book.sell)
