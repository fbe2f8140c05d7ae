"""SmartStream's wire (Angel One): requests in JSON, and little-endian packets, one a message."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any, TypeAlias

import msgspec

from brokerpool.brokers.angel import segments
from brokerpool.brokers.wire import LONGEST_TEXT, ControlBatch, MessageRun, Signal, SignalKind, Wire
from brokerpool.instruments import Instrument, Token
from brokerpool.ticks import DepthLevel, DepthTick, Mode, QuoteTick, Tick

# Mode, segment and token in one, exchange time in ms, last price; each mode goes on where the one below it
# ends. Between the first two stands a sequence number, which an index has not.
_LTP = struct.Struct("<27s8xqq")
_QUOTE = struct.Struct(_LTP.format + "qqqdd32s")
# A level of the book begins with the flag of its side, and the packet ends with four prices of the year.
_SNAP = struct.Struct(_QUOTE.format + "qq8x" + "hqqh" * 10 + "32x")
_OHLC = struct.Struct("<qqqq")
_DEPTH_20_BYTES = 443

_Row: TypeAlias = tuple[Any, ...]
_Reader: TypeAlias = Callable[
    ["SmartStreamWire", Iterable[_Row], Mapping[Token, Instrument], int, list[Tick]], None
]
#: How a packet is laid out, its layout behind the head of a frame by the size of that, and who reads it.
_Kind: TypeAlias = tuple[struct.Struct, Mapping[int, struct.Struct], _Reader]
_Levels: TypeAlias = tuple[DepthLevel, ...]
#: What the packets of one instrument share: the four prices as they come, its token, the divisor, the prices,
#: the close as it came, and the percent of it in a rupee.
_Day: TypeAlias = tuple[bytes, str, int, float, float, float, float, int, float]

#: Integers, because int / int is both exact and quicker than int / float.
_DIVISORS = tuple(10_000_000 if segment == segments.CURRENCIES else 100 for segment in range(256))

#: Sums of quantities come as doubles; one that is negative, or that 63 bits do not hold, is none.
_TOO_MANY = 2.0**63
#: Times of trades below this are in seconds, others in milliseconds: the documentation leaves it open.
_SECONDS = 100_000_000_000

# A socket carries 1000 instruments; contracts that come and go must not add up for ever.
_MOST_NAMES = 8192
#: Subscribe requests whose refusal can be told by tokens; more are not under way at a time.
_MOST_ASKED = 64
#: A correlation id has ten characters at most.
_IDS = 10**10

_SUBSCRIBE, _UNSUBSCRIBE = 1, 0
_PING, _PONG = "ping", "pong"


class _Complaint(msgspec.Struct):
    code: str = msgspec.field(name="errorCode")
    message: str = msgspec.field(name="errorMessage", default="")
    asked: str = msgspec.field(name="correlationID", default="")


class SmartStreamWire(Wire):
    """Reads and writes the messages of one SmartStream socket, with the meanings of smartapi-python 1.5.5.

    Angel counts a token once for each mode, so a token that changes its mode leaves the old one first.
    """

    def __init__(self) -> None:
        self.skipped = {"unknown_token": 0, "unknown_length": 0, "malformed": 0, "depth_20": 0}
        self.signals: list[Signal] = []
        self._ids: Iterator[int] = count(1)
        #: What was asked for, in which mode.
        self._modes: dict[Token, Mode] = {}
        #: Correlation id of a subscribe request -> its tokens.
        self._asked: dict[str, list[Token]] = {}
        #: Mode, segment and token as they come, mode by mode, so that each is known to be right.
        self._names: dict[bytes, tuple[str, int]] = {}
        self._days: dict[bytes, _Day] = {}
        self._full_days: dict[bytes, _Day] = {}
        self.run_sizes = _KINDS

    def heartbeat(self) -> str:
        """Return the text that Angel wants every 30 s, and answers with `pong`."""
        return _PING

    def requests(self, batch: ControlBatch) -> list[str]:
        """Return the messages of a batch: what leaves a mode, mode by mode, then what enters one."""
        leaving = [token for part in (batch.drop, batch.remode) for token in part if token in self._modes]
        messages = [
            self._request(_UNSUBSCRIBE, mode, tokens)
            for mode, tokens in _by_mode((token, self._modes.pop(token)) for token in leaving)
        ]
        entering = {**batch.add, **batch.remode}
        self._modes.update(entering)
        for mode, tokens in _by_mode(entering.items()):
            messages.append(self._request(_SUBSCRIBE, mode, tokens))
        return messages

    def text(self, message: str, routes: Mapping[Token, Instrument], received_ms: int) -> list[Tick]:
        """Read the answer to a ping, or a complaint: E1001 for a bad request, E1002 for one too many."""
        if message != _PONG:
            self.signals.append(self._signal(message))
        return []

    def binary(
        self, payload: bytes | memoryview, routes: Mapping[Token, Instrument], received_ms: int
    ) -> list[Tick]:
        """Return the tick of one packet, whose length must be that of its mode: 51, 123 or 379 bytes.

        Never raises: what is left out is counted in `skipped`, so also the 443 bytes of a 20-level book,
        which have no price.
        """
        ticks: list[Tick] = []
        kind = _KINDS.get(len(payload))
        if kind is None:
            self.skipped["depth_20" if len(payload) == _DEPTH_20_BYTES else "unknown_length"] += 1
        else:
            layout, _, read = kind
            read(self, (layout.unpack(payload),), routes, received_ms, ticks)
        return ticks

    def run(self, run: MessageRun, routes: Mapping[Token, Instrument], received_ms: int) -> list[Tick]:
        """Return the ticks of packets of one mode, at the cost of long messages, which Angel has none of."""
        ticks: list[Tick] = []
        _, behind_head, read = _KINDS[run.size]
        read(self, behind_head[run.head].iter_unpack(run.frames), routes, received_ms, ticks)
        return ticks

    # -- packets ------------------------------------------------------------------------------------------

    # Sums are brought to whole numbers by what int() would call, in half the time.

    def _read_ltp(
        self, rows: Iterable[_Row], routes: Mapping[Token, Instrument], received_ms: int, ticks: list[Tick]
    ) -> None:
        names = self._names
        for name, at, last in rows:
            try:
                try:
                    token, divisor = names[name]
                except KeyError:
                    token, divisor = self._name(name)
                ticks.append(Tick(routes[token], last / divisor, at if at > 0 else received_ms))
            except KeyError:
                self.skipped["unknown_token"] += 1
            except ValueError:
                self.skipped["malformed"] += 1

    def _read_quote(
        self, rows: Iterable[_Row], routes: Mapping[Token, Instrument], received_ms: int, ticks: list[Tick]
    ) -> None:
        days, most = self._days, _TOO_MANY
        for name, at, last, quantity, average, volume, buys, sells, ohlc in rows:
            try:
                try:
                    seen, token, divisor, open_, high, low, close, raw_close, percent = days[name]
                except KeyError:
                    seen = None
                if seen != ohlc:
                    day = _day(days, name, 2, ohlc)
                    _, token, divisor, open_, high, low, close, raw_close, percent = day
                if not 0.0 <= buys < most > sells >= 0.0:
                    raise ValueError("a sum of quantities")
                ltp = last / divisor
                ticks.append(
                    QuoteTick(
                        routes[token],
                        ltp,
                        at if at > 0 else received_ms,
                        open_,
                        high,
                        low,
                        close,
                        volume,
                        quantity,
                        average / divisor,
                        (last - raw_close) / divisor,
                        (ltp - close) * percent,
                        buys.__trunc__(),
                        sells.__trunc__(),
                    )
                )
            except KeyError:
                self.skipped["unknown_token"] += 1
            except ValueError:
                self.skipped["malformed"] += 1

    def _read_snap(
        self, rows: Iterable[_Row], routes: Mapping[Token, Instrument], received_ms: int, ticks: list[Tick]
    ) -> None:
        days, most, level = self._full_days, _TOO_MANY, DepthLevel
        # Spelled out: with a loop over the ten levels the packet would cost half as much again.
        # fmt: off
        for (
            name, at, last, quantity, average, volume, buys, sells, ohlc, traded_at, oi,
            f0, q0, p0, n0, f1, q1, p1, n1, f2, q2, p2, n2, f3, q3, p3, n3, f4, q4, p4, n4,
            f5, q5, p5, n5, f6, q6, p6, n6, f7, q7, p7, n7, f8, q8, p8, n8, f9, q9, p9, n9,
        ) in rows:
            # fmt: on
            try:
                try:
                    seen, token, divisor, open_, high, low, close, raw_close, percent = days[name]
                except KeyError:
                    seen = None
                if seen != ohlc:
                    day = _day(days, name, 3, ohlc)
                    _, token, divisor, open_, high, low, close, raw_close, percent = day
                if not 0.0 <= buys < most > sells >= 0.0:
                    raise ValueError("a sum of quantities")
                ltp = last / divisor
                bids: _Levels = (
                    level(p0 / divisor, q0, n0),
                    level(p1 / divisor, q1, n1),
                    level(p2 / divisor, q2, n2),
                    level(p3 / divisor, q3, n3),
                    level(p4 / divisor, q4, n4),
                )
                offers: _Levels = (
                    level(p5 / divisor, q5, n5),
                    level(p6 / divisor, q6, n6),
                    level(p7 / divisor, q7, n7),
                    level(p8 / divisor, q8, n8),
                    level(p9 / divisor, q9, n9),
                )
                # The documentation has bids first, official clients go by the flags: these three tell that
                # order from offers first and from both in turns.
                if f5 or f1 != 1 or f4 != 1:
                    bids, offers = _sides((f0, f1, f2, f3, f4, f5, f6, f7, f8, f9), bids + offers)
                ticks.append(
                    DepthTick(
                        routes[token],
                        ltp,
                        at if at > 0 else received_ms,
                        open_,
                        high,
                        low,
                        close,
                        volume,
                        quantity,
                        average / divisor,
                        (last - raw_close) / divisor,
                        (ltp - close) * percent,
                        buys.__trunc__(),
                        sells.__trunc__(),
                        traded_at * 1000 if 0 < traded_at < _SECONDS else max(0, traded_at),
                        oi,
                        0,
                        0,
                        bids,
                        offers,
                    )
                )
            except KeyError:
                self.skipped["unknown_token"] += 1
            except ValueError:
                self.skipped["malformed"] += 1

    def _name(self, name: bytes) -> tuple[str, int]:
        # What a packet names is looked up by its bytes as they come.
        _make_room(self._names)
        found = self._names[name] = _named(name, 1)
        return found

    # -- texts --------------------------------------------------------------------------------------------

    def _request(self, action: int, mode: Mode, tokens: list[Token]) -> str:
        number = str(next(self._ids) % _IDS)
        if action == _SUBSCRIBE:
            if len(self._asked) >= _MOST_ASKED:
                del self._asked[next(iter(self._asked))]
            self._asked[number] = tokens
        by_segment: dict[int, list[str]] = {}
        for segment, text in map(segments.parts, tokens):
            by_segment.setdefault(segment, []).append(text)
        asked = [{"exchangeType": segment, "tokens": texts} for segment, texts in by_segment.items()]
        message: dict[str, Any] = {
            "correlationID": number,
            "action": action,
            "params": {"mode": int(mode), "tokenList": asked},
        }
        return msgspec.json.encode(message).decode()

    def _signal(self, message: str) -> Signal:
        try:
            complaint = msgspec.json.decode(message, type=_Complaint)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return Signal(SignalKind.UNKNOWN, message[:LONGEST_TEXT])
        told = f"{complaint.code}: {complaint.message}"[:LONGEST_TEXT]
        return Signal(SignalKind.REFUSED, told, self._asked.pop(complaint.asked, ()))


def _named(name: bytes, mode: int) -> tuple[str, int]:
    """Return token and divisor of what a packet of this mode names; raises ValueError for another mode."""
    if name[0] != mode:
        raise ValueError(f"mode {name[0]} in a packet of mode {mode}")
    number = name[2:].partition(b"\0")[0].decode("ascii", "replace")
    return segments.token(name[1], number), _DIVISORS[name[1]]


def _day(days: dict[bytes, _Day], name: bytes, mode: int, ohlc: bytes) -> _Day:
    # Open and close stand for the day and high and low change in few packets: worth reading once.
    token, divisor = _named(name, mode)
    _make_room(days)
    open_, high, low, close = _OHLC.unpack(ohlc)
    before = close / divisor
    percent = 100.0 / before if close else 0.0
    day = (ohlc, token, divisor, open_ / divisor, high / divisor, low / divisor, before, close, percent)
    days[name] = day
    return day


def _make_room(known: dict[bytes, Any]) -> None:
    if len(known) >= _MOST_NAMES:
        known.clear()


def _by_mode(modes: Iterable[tuple[Token, Mode]]) -> Iterable[tuple[Mode, list[Token]]]:
    found: dict[Mode, list[Token]] = {}
    for token, mode in modes:
        found.setdefault(mode, []).append(token)
    return sorted(found.items())


def _sides(flags: Sequence[int], levels: _Levels) -> tuple[_Levels, _Levels]:
    """Return bids and offers by their flags; an index, which has no book, has none of either."""
    if not any(level.quantity or level.price for level in levels):
        return (), ()
    bids = tuple(level for level, flag in zip(levels, flags, strict=True) if flag)
    return bids, tuple(level for level, flag in zip(levels, flags, strict=True) if not flag)


def _kind(layout: struct.Struct, read: _Reader) -> tuple[int, _Kind]:
    # Frames of up to 125 bytes have a head of two bytes, longer ones of four.
    behind_head = {head: struct.Struct(f"<{head}x{layout.format[1:]}") for head in (2, 4)}
    return layout.size, (layout, behind_head, read)


# By the length of a message, which tells the mode.
_KINDS = dict(
    (
        _kind(_LTP, SmartStreamWire._read_ltp),
        _kind(_QUOTE, SmartStreamWire._read_quote),
        _kind(_SNAP, SmartStreamWire._read_snap),
    )
)
