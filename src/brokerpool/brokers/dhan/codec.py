"""Dhan's wire format (DhanHQ v2, live market feed): little-endian packets behind a header of eight bytes."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import length_hint
from typing import Any, TypeAlias

from brokerpool.brokers.dhan.disconnects import farewell, words
from brokerpool.brokers.dhan.float_prices import ROUND, UNITS, rupees
from brokerpool.brokers.dhan.subscribe_messages import requests
from brokerpool.brokers.wire import ControlBatch, Farewell, MessageRun, Signal, SignalKind, Wire
from brokerpool.instruments import Instrument, Token
from brokerpool.ticks import DepthLevel, DepthTick, Mode, QuoteTick, Tick

# The header is a code (u8), the packet's length (u16), a segment (u8) and a security id (u32). Read as one
# number, its low 24 bits tell the kind, and what is above them is the token. The day's four prices stand as
# the bytes that they are, for they seldom change.
_TICKER = struct.Struct("<QfI")
_QUOTE = struct.Struct("<QfHIfIII16s")
_FULL = struct.Struct("<QfHIfIIIIII16s" + "IIHHff" * 5)
_PREVIOUS_CLOSE = struct.Struct("<Qf4x")
_DISCONNECT = struct.Struct("<8xH")
_DAY = struct.Struct("<ffff").unpack

_head_at = struct.Struct("<Q").unpack_from
_length_at = struct.Struct("<H").unpack_from
_ticker = _TICKER.unpack

_HEADER_BYTES = 8
_KIND_MASK = 0xFF_FFFF
_TICKER_KIND = 2 | _TICKER.size << 8
_QUOTE_KIND = 4 | _QUOTE.size << 8
_FULL_KIND = 8 | _FULL.size << 8
_PREVIOUS_CLOSE_KIND = 6 | _PREVIOUS_CLOSE.size << 8
_DISCONNECT_KIND = 50 | _DISCONNECT.size << 8
#: A sign of life that some have seen (OpenAlgo), open interest, which no tick below depth has, and that the
#: market is open.
_NO_TICKS = (0, 5, 7)

#: Times are told as if India's wall clock were UTC's.
_INDIA_MS = 19_800_000
#: "01/01/1980 00:00:00" is how the broker says never.
_NEVER = 315_532_800

#: Packets that are read in one turn of the event loop: full ones take a millisecond with what follows.
_MOST_IN_PART = 250
# A socket carries 5000 instruments; contracts that come and go must not add up for ever.
_MAX_SESSIONS = 8192

_Row: TypeAlias = tuple[Any, ...]
#: What the ticks of one session share: the day's prices on the wire, the token, and the parts of a rupee that
#: prices come in; open, high, low and the close of the session before, in rupees; that close in those parts,
#: and the percent of it in a rupee.
_Session: TypeAlias = tuple[bytes, int, float, float, float, float, float, float, float]
_Reader: TypeAlias = Callable[["DhanWire", Iterable[_Row], Mapping[Token, Instrument], int, list[Tick]], bool]
#: A packet's size, its layout, who reads it, and the layout behind the head of a frame by the size of that.
_Kind: TypeAlias = tuple[int, struct.Struct, _Reader, Mapping[int, struct.Struct]]


class _NoPriceError(Exception):
    """A price of a packet is infinite, or no number."""


class DhanWire(Wire):
    """Reads and writes the messages of one Dhan socket, with the meanings of dhanhq 2.3.0."""

    def __init__(self) -> None:
        self.skipped = {"unknown_token": 0, "unknown_kind": 0, "truncated": 0, "bad_price": 0}
        self.signals: list[Signal] = []
        self._modes: dict[Token, Mode] = {}
        # The closes of the session before: they come once, after the subscription.
        self._closes: dict[Token, float] = {}
        # By the heads of packets, kind by kind, so that a head that is known is one of that kind.
        self._quote_sessions: dict[int, _Session] = {}
        self._full_sessions: dict[int, _Session] = {}
        self._farewell = Farewell.LOST
        self.run_sizes = (_TICKER.size, _QUOTE.size, _FULL.size)

    def requests(self, batch: ControlBatch) -> list[str]:
        """Return the messages of a batch; a mode ends under the code under which it began."""
        for token in batch.drop:
            self._closes.pop(token, None)
            self._forget(token)
        return requests(batch, self._modes)

    def farewell(self, code: int, reason: str) -> Farewell:
        """Tell what the last packet of the socket said; Dhan's close frames say nothing."""
        return self._farewell

    def parts(self, message: str | bytes) -> Iterable[str | bytes | memoryview]:
        """Return a long message as several of 250 packets."""
        return (message,) if isinstance(message, str) else _cut(message)

    def binary(
        self, payload: bytes | memoryview, routes: Mapping[Token, Instrument], received_ms: int
    ) -> list[Tick]:
        """Return the ticks of one binary message: packets one after the other, each with its length.

        Never raises: what is left out is counted in `skipped`, for a message that ends too early once.
        """
        size = len(payload)
        if size == _TICKER.size:  # One packet and nothing else: how ticks of small watch lists come.
            head, last, traded_at = _ticker(payload)
            token = head >> 24
            # What is taken from itself is 0, unless it is no number.
            if head & _KIND_MASK == _TICKER_KIND and token in routes and not last - last:
                unit = UNITS[token & 0xFF]
                at = traded_at * 1000 - _INDIA_MS if traded_at > _NEVER else received_ms
                return [Tick(routes[token], (last * unit + ROUND - ROUND) / unit, at)]
        ticks: list[Tick] = []
        offset = 0
        try:
            while offset < size:
                reader = _READERS.get(_head_at(payload, offset)[0] & _KIND_MASK)
                if reader is None:
                    offset = self._other(payload, offset, routes)
                    continue
                stride, layout, read, _ = reader
                if size < offset + 2 * stride:
                    read(self, (layout.unpack_from(payload, offset),), routes, received_ms, ticks)
                    offset += stride
                    continue
                count = (size - offset) // stride
                rows = layout.iter_unpack(memoryview(payload)[offset : offset + count * stride])
                if not read(self, rows, routes, received_ms, ticks):
                    count -= 1 + length_hint(rows)
                offset += count * stride
        except struct.error:
            self.skipped["truncated"] += 1
        return ticks

    def run(self, run: MessageRun, routes: Mapping[Token, Instrument], received_ms: int) -> list[Tick]:
        """Return the ticks of messages that are as long as one packet, at the cost of a long message."""
        ticks: list[Tick] = []
        frames, stride = run.frames, run.head + run.size
        while frames:
            size, _, read, behind_head = _READERS.get(_head_at(frames, run.head)[0] & _KIND_MASK, _NO_READER)
            count = 1
            if size == run.size:
                rows = behind_head[run.head].iter_unpack(frames)
                if read(self, rows, routes, received_ms, ticks):
                    break
                count = len(frames) // stride - 1 - length_hint(rows)
            else:
                ticks += self.binary(frames[run.head : stride], routes, received_ms)
            frames = frames[count * stride :]
        return ticks

    def _other(self, payload: bytes | memoryview, begin: int, routes: Mapping[Token, Instrument]) -> int:
        """Read a packet that is no tick, and return where it ends. Raises struct.error for what is none."""
        end = _packet_end(payload, begin)
        kind = _head_at(payload, begin)[0] & _KIND_MASK
        if kind == _PREVIOUS_CLOSE_KIND:
            head, close = _PREVIOUS_CLOSE.unpack_from(payload, begin)
            token = head >> 24
            if token not in routes:
                self.skipped["unknown_token"] += 1
            elif close - close:
                self.skipped["bad_price"] += 1
            else:
                self._closes[token] = rupees(close, token)
                self._forget(token)
        elif kind == _DISCONNECT_KIND:
            (reason,) = _DISCONNECT.unpack_from(payload, begin)
            self.signals.append(Signal(SignalKind.REFUSED, words(reason)))
            self._farewell = farewell(reason)
        elif payload[begin] not in _NO_TICKS:
            self.skipped["unknown_kind"] += 1
        return end

    # Each of these reads rows of one kind up to the first row of another; True when there was none. They are
    # called once for a run of packets: a call for each packet would cost as much as reading it.

    def _read_ticker(
        self, rows: Iterable[_Row], routes: Mapping[Token, Instrument], received_ms: int, ticks: list[Tick]
    ) -> bool:
        for head, last, traded_at in rows:
            if head & _KIND_MASK != _TICKER_KIND:
                return False
            token = head >> 24
            if last - last:
                self.skipped["bad_price"] += 1
                continue
            unit = UNITS[token & 0xFF]
            try:
                at = traded_at * 1000 - _INDIA_MS if traded_at > _NEVER else received_ms
                ticks.append(Tick(routes[token], (last * unit + ROUND - ROUND) / unit, at))
            except KeyError:
                self.skipped["unknown_token"] += 1
        return True

    def _read_quote(
        self, rows: Iterable[_Row], routes: Mapping[Token, Instrument], received_ms: int, ticks: list[Tick]
    ) -> bool:
        sessions, near = self._quote_sessions, ROUND
        for head, last, quantity, traded_at, average, volume, sells, buys, day in rows:
            try:
                seen, token, unit, open_, high, low, close, close_parts, percent = sessions[head]
            except KeyError:
                if head & _KIND_MASK != _QUOTE_KIND:
                    return False
                seen = None
            try:
                if seen != day:
                    session = self._remember(sessions, head, day, routes)
                    _, token, unit, open_, high, low, close, close_parts, percent = session
                instrument = routes[token]
                total = last + average
                if total - total:
                    raise _NoPriceError
            except KeyError:
                self.skipped["unknown_token"] += 1
                continue
            except _NoPriceError:
                self.skipped["bad_price"] += 1
                continue
            parts = last * unit + near - near
            ltp = parts / unit
            ticks.append(
                QuoteTick(
                    instrument,
                    ltp,
                    traded_at * 1000 - _INDIA_MS if traded_at > _NEVER else received_ms,
                    open_,
                    high,
                    low,
                    close,
                    volume,
                    quantity,
                    (average * unit + near - near) / unit,
                    (parts - close_parts) / unit if close else 0.0,
                    (ltp - close) * percent if close else 0.0,
                    buys,
                    sells,
                )
            )
        return True

    def _read_full(
        self, rows: Iterable[_Row], routes: Mapping[Token, Instrument], received_ms: int, ticks: list[Tick]
    ) -> bool:
        sessions, level, near = self._full_sessions, DepthLevel, ROUND
        # Spelled out: with a loop over the rows of the book the packet would cost half as much again.
        # fmt: off
        for (
            head, last, quantity, traded_at, average, volume, sells, buys, oi, oi_high, oi_low, day,
            bq0, sq0, bn0, sn0, bp0, sp0, bq1, sq1, bn1, sn1, bp1, sp1, bq2, sq2, bn2, sn2, bp2, sp2,
            bq3, sq3, bn3, sn3, bp3, sp3, bq4, sq4, bn4, sn4, bp4, sp4,
        ) in rows:
            # fmt: on
            try:
                seen, token, unit, open_, high, low, close, close_parts, percent = sessions[head]
            except KeyError:
                if head & _KIND_MASK != _FULL_KIND:
                    return False
                seen = None
            try:
                if seen != day:
                    session = self._remember(sessions, head, day, routes)
                    _, token, unit, open_, high, low, close, close_parts, percent = session
                instrument = routes[token]
                total = last + average + bp0 + bp1 + bp2 + bp3 + bp4 + sp0 + sp1 + sp2 + sp3 + sp4
                if total - total:
                    raise _NoPriceError
            except KeyError:
                self.skipped["unknown_token"] += 1
                continue
            except _NoPriceError:
                self.skipped["bad_price"] += 1
                continue
            parts = last * unit + near - near
            ltp = parts / unit
            traded_ms = traded_at * 1000 - _INDIA_MS if traded_at > _NEVER else 0
            ticks.append(
                DepthTick(
                    instrument,
                    ltp,
                    traded_ms or received_ms,
                    open_,
                    high,
                    low,
                    close,
                    volume,
                    quantity,
                    (average * unit + near - near) / unit,
                    (parts - close_parts) / unit if close else 0.0,
                    (ltp - close) * percent if close else 0.0,
                    buys,
                    sells,
                    traded_ms,
                    oi,
                    oi_high,
                    oi_low,
                    (
                        level((bp0 * unit + near - near) / unit, bq0, bn0),
                        level((bp1 * unit + near - near) / unit, bq1, bn1),
                        level((bp2 * unit + near - near) / unit, bq2, bn2),
                        level((bp3 * unit + near - near) / unit, bq3, bn3),
                        level((bp4 * unit + near - near) / unit, bq4, bn4),
                    ),
                    (
                        level((sp0 * unit + near - near) / unit, sq0, sn0),
                        level((sp1 * unit + near - near) / unit, sq1, sn1),
                        level((sp2 * unit + near - near) / unit, sq2, sn2),
                        level((sp3 * unit + near - near) / unit, sq3, sn3),
                        level((sp4 * unit + near - near) / unit, sq4, sn4),
                    ),
                )
            )
        return True

    def _remember(
        self, sessions: dict[int, _Session], head: int, day: bytes, routes: Mapping[Token, Instrument]
    ) -> _Session:
        """Return what a session's packets share, worth reading once.

        Raises KeyError for a token that is not routed, and _NoPriceError when a price is none.
        """
        token = head >> 24
        if token not in routes:
            raise KeyError(token)
        open_, close, high, low = _DAY(day)
        total = open_ + close + high + low
        if total - total:
            raise _NoPriceError
        if len(sessions) >= _MAX_SESSIONS:
            sessions.clear()
        unit = UNITS[token & 0xFF]
        before = self._closes.get(token, rupees(close, token))
        session = sessions[head] = (
            day,
            token,
            unit,
            rupees(open_, token),
            rupees(high, token),
            rupees(low, token),
            before,
            before * unit + ROUND - ROUND,
            100.0 / before if before else 0.0,
        )
        return session

    def _forget(self, token: Token) -> None:
        self._quote_sessions.pop(int(token) << 24 | _QUOTE_KIND, None)
        self._full_sessions.pop(int(token) << 24 | _FULL_KIND, None)


def _reader(layout: struct.Struct, read: _Reader) -> _Kind:
    # Frames of up to 125 bytes have a head of two bytes, longer ones of four.
    behind_head = {head: struct.Struct(f"<{head}x{layout.format[1:]}") for head in (2, 4)}
    return layout.size, layout, read, behind_head


# By kind.
_READERS = {
    _TICKER_KIND: _reader(_TICKER, DhanWire._read_ticker),
    _QUOTE_KIND: _reader(_QUOTE, DhanWire._read_quote),
    _FULL_KIND: _reader(_FULL, DhanWire._read_full),
}
#: Of what is no tick.
_NO_READER = _reader(struct.Struct("<"), DhanWire._read_ticker)


def _packet_end(message: bytes | memoryview, begin: int) -> int:
    """Return where a packet ends. Raises struct.error for what cannot be one."""
    end = begin + int(_length_at(message, begin + 1)[0])
    if end < begin + _HEADER_BYTES or end > len(message):
        raise struct.error("no packet")
    return end


def _cut(message: bytes) -> Iterator[memoryview]:
    view, begin, size = memoryview(message), 0, len(message)
    while begin < size:
        end, count = begin, 0
        try:
            while end < size and count < _MOST_IN_PART:
                end = _packet_end(view, end)
                count += 1
        except struct.error:
            end = size  # which `binary` shall see once
        yield view[begin:end]
        begin = end
