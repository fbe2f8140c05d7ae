"""Kite's wire format (Kite Connect v3): big-endian packets whose length is their only type tag."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import repeat
from operator import length_hint, truediv
from typing import Any, TypeAlias

import msgspec

from brokerpool.brokers.wire import LONGEST_TEXT, ControlBatch, Farewell, Signal, SignalKind, Wire
from brokerpool.brokers.zerodha.order_updates import InstrumentOf, order_update
from brokerpool.instruments import Instrument, Token
from brokerpool.ticks import DepthLevel, DepthTick, Mode, QuoteTick, Tick

# The low byte of a token is the segment, and the segment says how many wire units make a rupee: 3 is CDS,
# 6 BCD, 12 NCO (as in kiteconnect 5.2.2; older SDKs take NCO for 100). Integers, because int / int is both
# exact and quicker than int / float.
_FINER = {3: 10_000_000, 6: 10_000, 12: 10_000}
_FINER_SEGMENTS = bytes(_FINER)
_DIVISORS = tuple(_FINER.get(segment, 100) for segment in range(256))

# Each row starts with the packet's own length, so that one unpacking both checks and reads a packet.
_LTP = struct.Struct(">HIi")
_INDEX_QUOTE = struct.Struct(">HIiiiii4x")
_INDEX_FULL = struct.Struct(">HIiiiii4xI")
_QUOTE = struct.Struct(">HIiIiIII16s")
_FULL = struct.Struct(">HIiIiIII16sIIIII" + "IiHxx" * 10)
_OHLC = struct.Struct(">iiii")

_frame_head = struct.Struct(">HH").unpack_from
_length_at = struct.Struct(">H").unpack_from
_count = struct.Struct(">H").pack
_ltp_frame = struct.Struct(">HHIi").unpack

_Row: TypeAlias = tuple[Any, ...]
#: What the ticks of one session share: its four prices on the wire, the divisor, the prices, the raw close.
_Session: TypeAlias = tuple[bytes, int, float, float, float, float, int]
_Reader: TypeAlias = Callable[["KiteWire", Iterable[_Row], Mapping[Token, Instrument], int, list[Tick]], bool]
_Kind: TypeAlias = tuple[int, Callable[..., _Row], Callable[..., Iterator[_Row]], _Reader]

# A socket carries 3000 instruments; contracts that come and go must not add up for ever.
_MAX_SESSIONS = 8192
#: Packets that are read in one turn of the event loop: full ones take a millisecond with what follows.
_MOST_IN_PART = 250
# LTP packets that stand together are read by columns: not for fewer than pay, and at most so many at once.
_SHORTEST_COLUMN, _LONGEST_COLUMN = 16, 128

_MODE_NAMES = {Mode.LTP: "ltp", Mode.QUOTE: "quote", Mode.DEPTH: "full"}
_SIGNALS = {"error": SignalKind.REFUSED, "order": SignalKind.ORDER_UPDATE, "message": SignalKind.TOLD}


class KiteWire(Wire):
    """Reads and writes the messages of one Kite socket, with the meanings of kiteconnect 5.2.2."""

    def __init__(self, instrument_of: InstrumentOf = lambda token: None) -> None:
        """`instrument_of` knows the symbols of orders, which need not be subscribed."""
        self._instrument_of = instrument_of
        self.skipped = {"unknown_token": 0, "unknown_length": 0, "truncated": 0}
        self.signals: list[Signal] = []
        self._sessions: dict[int, _Session] = {}

    def requests(self, batch: ControlBatch) -> list[str]:
        """Return the messages of a batch: unsubscribe, subscribe, then one message for each mode.

        The mode is always named, also quote: what a new token starts with is the broker's choice.
        """
        messages = []
        if batch.drop:
            messages.append(_message("unsubscribe", list(batch.drop)))
        if batch.add:
            messages.append(_message("subscribe", list(batch.add)))
        for mode, name in _MODE_NAMES.items():
            tokens = [token for part in (batch.add, batch.remode) for token, m in part.items() if m == mode]
            if tokens:
                messages.append(_message("mode", [name, tokens]))
        return messages

    def text(self, message: str, routes: Mapping[Token, Instrument], received_ms: int) -> list[Tick]:
        """Classify `{"type": "error" | "order" | "message", "data": ..}`: Kite's ticks are binary."""
        self.signals.append(_signal(message, self._instrument_of))
        return []

    def farewell(self, code: int, reason: str) -> Farewell:
        """Kite says nothing when it ends a socket; what became of the token shows at the next dial."""
        return Farewell.LOST

    def parts(self, message: str | bytes) -> Iterable[str | bytes]:
        """Return a message of more than 250 packets as several; to Kite it could hold 65,535."""
        if isinstance(message, str):
            return (message,)
        left = _length_at(message, 0)[0] if len(message) >= 2 else 0
        return (message,) if left <= _MOST_IN_PART else self._cut(message, left)

    def _cut(self, payload: bytes, left: int) -> Iterator[bytes]:
        begin, size = 2, len(payload)
        while left:
            end, count = begin, min(left, _MOST_IN_PART)
            for _ in range(count):
                if end + 2 > size:
                    # Ends too early, which `binary` shall see once.
                    yield _count(count) + payload[begin:]
                    return
                end += 2 + _length_at(payload, end)[0]
            yield _count(count) + payload[begin:end]
            if end > size:
                return
            left -= count
            begin = end

    def binary(
        self, payload: bytes | memoryview, routes: Mapping[Token, Instrument], received_ms: int
    ) -> list[Tick]:
        """Return the ticks of one binary message: a count, then that many packets behind their lengths.

        A message below two bytes is the broker's heartbeat. Never raises: what is left out is counted in
        `skipped`, for a message that ends too early once.
        """
        size = len(payload)
        if size == 12:  # One LTP packet and nothing else: all that small watch lists get, so the short way.
            count, length, token, last = _ltp_frame(payload)
            if count == 1 and length == 8 and token in routes:
                return [Tick(routes[token], last / _DIVISORS[token & 0xFF], received_ms)]
        if size < 4:
            self.skipped["truncated"] += size > 1 and bytes(payload[:2]) != b"\0\0"
            return []
        left, length = _frame_head(payload)
        ticks: list[Tick] = []
        if isinstance(payload, bytes):
            payload = memoryview(payload)  # so that slices are no copies, however often two kinds alternate
        offset = 2
        try:
            while left:
                kind = _KINDS.get(length)
                if kind is None:
                    self.skipped["unknown_length"] += 1
                    left -= 1
                    offset += 2 + length
                else:
                    stride, unpack_at, unpack_run, read = kind
                    count = min(left, (size - offset) // stride) if left > 1 else 1
                    column = None
                    if length == 8 and count >= _SHORTEST_COLUMN:
                        count = min(count, _LONGEST_COLUMN)
                        column = _ltp_column(
                            bytes(payload[offset : offset + count * stride]), count, routes, received_ms
                        )
                    if column is not None:
                        ticks += column
                    elif count > 1:
                        rows = unpack_run(payload[offset : offset + count * stride])
                        if not read(self, rows, routes, received_ms, ticks):
                            count -= 1 + length_hint(rows)
                    else:
                        count = 1
                        read(self, (unpack_at(payload, offset),), routes, received_ms, ticks)
                    left -= count
                    offset += count * stride
                if left:
                    (length,) = _length_at(payload, offset)
        except struct.error:
            self.skipped["truncated"] += 1
        return ticks

    # Each of these reads rows of one kind up to the first row of another; True when there was none. They are
    # called once for a run of packets: a call for each packet would cost as much as reading it.

    def _read_ltp(
        self, rows: Iterable[_Row], routes: Mapping[Token, Instrument], received_ms: int, ticks: list[Tick]
    ) -> bool:
        for length, token, last in rows:
            if length != 8:
                return False
            try:
                ticks.append(Tick(routes[token], last / _DIVISORS[token & 0xFF], received_ms))
            except KeyError:
                self.skipped["unknown_token"] += 1
        return True

    def _read_index(
        self, rows: Iterable[_Row], routes: Mapping[Token, Instrument], received_ms: int, ticks: list[Tick]
    ) -> bool:
        for length, token, last, high, low, open_, close, *sent in rows:
            if length != (32 if sent else 28):
                return False
            instrument = routes.get(token)
            if instrument is None:
                self.skipped["unknown_token"] += 1
                continue
            divisor = _DIVISORS[token & 0xFF]
            ltp, previous = last / divisor, close / divisor
            ticks.append(
                (DepthTick if sent else QuoteTick)(
                    instrument,
                    ltp,
                    (sent and sent[0] * 1000) or received_ms,
                    open_ / divisor,
                    high / divisor,
                    low / divisor,
                    previous,
                    change=(last - close) / divisor,
                    change_percent=(ltp - previous) * 100.0 / previous if close else 0.0,
                )
            )
        return True

    def _read_quote(
        self, rows: Iterable[_Row], routes: Mapping[Token, Instrument], received_ms: int, ticks: list[Tick]
    ) -> bool:
        sessions = self._sessions
        for length, token, last, last_quantity, average, volume, buys, sells, ohlc in rows:
            if length != 44:
                return False
            try:
                instrument = routes[token]
            except KeyError:
                self.skipped["unknown_token"] += 1
                continue
            try:
                seen, divisor, open_, high, low, close, raw_close = sessions[token]
            except KeyError:
                seen = None
            if seen != ohlc:
                _, divisor, open_, high, low, close, raw_close = self._remember(token, ohlc)
            ltp = last / divisor
            try:
                percent = (ltp - close) * 100.0 / close
            except ZeroDivisionError:
                percent = 0.0
            ticks.append(
                QuoteTick(
                    instrument,
                    ltp,
                    received_ms,
                    open_,
                    high,
                    low,
                    close,
                    volume,
                    last_quantity,
                    average / divisor,
                    (last - raw_close) / divisor,
                    percent,
                    buys,
                    sells,
                )
            )
        return True

    def _read_full(
        self, rows: Iterable[_Row], routes: Mapping[Token, Instrument], received_ms: int, ticks: list[Tick]
    ) -> bool:
        sessions = self._sessions
        # Spelled out: with a loop over the ten levels the packet would cost half as much again.
        # fmt: off
        for (
            length, token, last, last_quantity, average, volume, buys, sells, ohlc,
            traded_at, oi, oi_high, oi_low, exchange_time,
            bq0, bp0, bn0, bq1, bp1, bn1, bq2, bp2, bn2, bq3, bp3, bn3, bq4, bp4, bn4,
            sq0, sp0, sn0, sq1, sp1, sn1, sq2, sp2, sn2, sq3, sp3, sn3, sq4, sp4, sn4,
        ) in rows:
            # fmt: on
            if length != 184:
                return False
            try:
                instrument = routes[token]
            except KeyError:
                self.skipped["unknown_token"] += 1
                continue
            try:
                seen, divisor, open_, high, low, close, raw_close = sessions[token]
            except KeyError:
                seen = None
            if seen != ohlc:
                _, divisor, open_, high, low, close, raw_close = self._remember(token, ohlc)
            ltp = last / divisor
            try:
                percent = (ltp - close) * 100.0 / close
            except ZeroDivisionError:
                percent = 0.0
            ticks.append(
                DepthTick(
                    instrument,
                    ltp,
                    exchange_time * 1000 or received_ms,
                    open_,
                    high,
                    low,
                    close,
                    volume,
                    last_quantity,
                    average / divisor,
                    (last - raw_close) / divisor,
                    percent,
                    buys,
                    sells,
                    traded_at * 1000,
                    oi,
                    oi_high,
                    oi_low,
                    (
                        DepthLevel(bp0 / divisor, bq0, bn0),
                        DepthLevel(bp1 / divisor, bq1, bn1),
                        DepthLevel(bp2 / divisor, bq2, bn2),
                        DepthLevel(bp3 / divisor, bq3, bn3),
                        DepthLevel(bp4 / divisor, bq4, bn4),
                    ),
                    (
                        DepthLevel(sp0 / divisor, sq0, sn0),
                        DepthLevel(sp1 / divisor, sq1, sn1),
                        DepthLevel(sp2 / divisor, sq2, sn2),
                        DepthLevel(sp3 / divisor, sq3, sn3),
                        DepthLevel(sp4 / divisor, sq4, sn4),
                    ),
                )
            )
        return True

    def _remember(self, token: int, ohlc: bytes) -> _Session:
        # Open and close stand for the day and high and low change in few packets: worth reading once.
        if len(self._sessions) >= _MAX_SESSIONS:
            self._sessions.clear()
        divisor = _DIVISORS[token & 0xFF]
        open_, high, low, close = _OHLC.unpack(ohlc)
        session = (ohlc, divisor, open_ / divisor, high / divisor, low / divisor, close / divisor, close)
        self._sessions[token] = session
        return session


# By length of packet: the size of a row, how to unpack one row and a run of them, and who reads them.
_KINDS: dict[int, _Kind] = {
    layout.size - 2: (layout.size, layout.unpack_from, layout.iter_unpack, read)
    for layout, read in (
        (_LTP, KiteWire._read_ltp),
        (_INDEX_QUOTE, KiteWire._read_index),
        (_INDEX_FULL, KiteWire._read_index),
        (_QUOTE, KiteWire._read_quote),
        (_FULL, KiteWire._read_full),
    )
}


def _ltp_column(
    run: bytes, count: int, routes: Mapping[Token, Instrument], received_ms: int
) -> list[Tick] | None:
    """Read LTP packets without a line of Python for each; None if one is of another kind or unknown."""
    stride = _LTP.size
    if run[1::stride].count(8) != count or run[::stride].count(0) != count:
        return None
    words, segments = _ltp_words(count)(run), run[5::stride]  # the low byte of each token
    usual = len(segments.translate(None, _FINER_SEGMENTS)) == count
    divisors = repeat(100) if usual else map(_DIVISORS.__getitem__, segments)
    instruments = map(routes.__getitem__, words[::2])
    try:
        return list(map(Tick, instruments, map(truediv, words[1::2], divisors), repeat(received_ms)))
    except KeyError:
        return None


@lru_cache(_LONGEST_COLUMN)
def _ltp_words(count: int) -> Callable[[bytes], tuple[int, ...]]:
    return struct.Struct(">" + "xxIi" * count).unpack


def _signal(text: str, instrument_of: InstrumentOf) -> Signal:
    try:
        message = msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        return Signal(SignalKind.UNKNOWN, text[:LONGEST_TEXT])
    kind, data = message.get("type"), message.get("data")
    known = _SIGNALS.get(kind, SignalKind.UNKNOWN) if isinstance(kind, str) else SignalKind.UNKNOWN
    if known is SignalKind.ORDER_UPDATE:
        update = order_update(data, instrument_of) if isinstance(data, dict) else None
        return Signal(known, update) if update else Signal(SignalKind.UNKNOWN, text[:LONGEST_TEXT])
    return Signal(known, (data if isinstance(data, str) else text)[:LONGEST_TEXT])


def _message(action: str, value: list[Any]) -> str:
    return msgspec.json.encode({"a": action, "v": value}).decode()
