"""The simulator's encoder and the adapter's decoder are exact inverses: nothing is lost, nothing made up."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from brokerpool.brokers.zerodha.codec import KiteWire
from brokerpool.instruments import Instrument, Token
from brokerpool.simulator.exchange import Quote
from brokerpool.simulator.fault_switches import Malformation
from brokerpool.simulator.zerodha.instruments import INDICES, divisor
from brokerpool.simulator.zerodha.wire import frame, malformed, packets, record, trimmed
from brokerpool.ticks import DepthLevel, DepthTick, Mode, QuoteTick, Tick

RECEIVED = 1_795_341_600_123

_SEGMENTS = st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 9, 12])
# The highest number is left to the simulator's unknown token.
_TOKENS = st.builds(lambda number, segment: number << 8 | segment, st.integers(1, 2**24 - 2), _SEGMENTS)
_PRICES = st.integers(0, 2**31 - 1)
_COUNTERS = st.integers(0, 2**32 - 1)
# Zero means "none" on the wire, and the decoder then has the time of receipt.
_TIMES = st.integers(1, 2**32 - 1)
_LEVELS = st.tuples(_COUNTERS, _PRICES, st.integers(0, 2**16 - 1))
_DEPTHS = st.lists(_LEVELS, min_size=10, max_size=10).map(lambda levels: tuple(itertools.chain(*levels)))
_MODES = st.sampled_from(Mode)


@st.composite
def quotes(draw: st.DrawFn) -> Quote:
    quote = Quote(
        token=draw(_TOKENS),
        ltp=draw(_PRICES),
        open=draw(_PRICES),
        high=draw(_PRICES),
        low=draw(_PRICES),
        close=draw(_PRICES),
        exchange_time=draw(_TIMES),
    )
    quote.is_index = quote.token & 0xFF == INDICES
    if quote.is_index:
        quote.change = quote.ltp - quote.close
        return quote
    quote.last_quantity = draw(_COUNTERS)
    quote.average = draw(_PRICES)
    quote.volume, quote.buy_total, quote.sell_total = draw(_COUNTERS), draw(_COUNTERS), draw(_COUNTERS)
    quote.oi, quote.oi_high, quote.oi_low = draw(_COUNTERS), draw(_COUNTERS), draw(_COUNTERS)
    quote.last_trade_time = draw(_COUNTERS)
    quote.levels = draw(_DEPTHS)
    return quote


def routes(*several: Quote) -> Mapping[Token, Instrument]:
    return {quote.token: Instrument("NSE", f"T{quote.token}") for quote in several}


def said(quote: Quote, mode: Mode) -> Tick:
    """The tick that a packet of this mode must become."""
    unit = divisor(quote.token)
    ltp, close = quote.ltp / unit, quote.close / unit
    fields: dict[str, Any] = {"timestamp": RECEIVED}
    if mode >= Mode.QUOTE:
        fields |= {name: getattr(quote, name) / unit for name in ("open", "high", "low", "close")}
        fields["change"] = (quote.ltp - quote.close) / unit
        # As the official python SDK computes it.
        fields["change_percent"] = (ltp - close) * 100 / close if quote.close else 0.0
        fields |= {
            "volume": quote.volume,
            "last_trade_quantity": quote.last_quantity,
            "avg_trade_price": quote.average / unit,
            "total_buy_quantity": quote.buy_total,
            "total_sell_quantity": quote.sell_total,
        }
    if mode == Mode.DEPTH:
        fields["timestamp"] = quote.exchange_time * 1000
    if mode == Mode.DEPTH and not quote.is_index:
        book = quote.depth
        levels = tuple(DepthLevel(book[i + 1] / unit, book[i], book[i + 2]) for i in range(0, 30, 3))
        fields |= {
            "last_trade_time": quote.last_trade_time * 1000,
            "oi": quote.oi,
            "oi_day_high": quote.oi_high,
            "oi_day_low": quote.oi_low,
            "buy": levels[:5],
            "sell": levels[5:],
        }
    kind = {Mode.LTP: Tick, Mode.QUOTE: QuoteTick, Mode.DEPTH: DepthTick}[mode]
    return kind(instrument=Instrument("NSE", f"T{quote.token}"), ltp=ltp, **fields)


def quote_of(tick: Tick, token: int) -> Quote:
    """The quote behind a tick: only what the tick tells, back in the wire's units."""
    unit = divisor(token)

    def units(price: float) -> int:
        return round(price * unit)

    quote = Quote(token, units(tick.ltp), is_index=token & 0xFF == INDICES)
    if isinstance(tick, QuoteTick):
        quote.open, quote.high, quote.low = units(tick.open), units(tick.high), units(tick.low)
        quote.close, quote.change = units(tick.close), units(tick.change)
        quote.last_quantity, quote.average = tick.last_trade_quantity, units(tick.avg_trade_price)
        quote.volume = tick.volume
        quote.buy_total, quote.sell_total = tick.total_buy_quantity, tick.total_sell_quantity
    if isinstance(tick, DepthTick):
        quote.exchange_time, quote.last_trade_time = tick.timestamp // 1000, tick.last_trade_time // 1000
        quote.oi, quote.oi_high, quote.oi_low = tick.oi, tick.oi_day_high, tick.oi_day_low
        rows = [(level.quantity, units(level.price), level.orders) for level in tick.buy + tick.sell]
        if rows:
            quote.levels = tuple(itertools.chain.from_iterable(rows))
    return quote


@given(quotes(), _MODES)
def test_a_packet_becomes_the_tick_and_the_tick_the_packet(quote: Quote, mode: Mode) -> None:
    message = frame([record(quote, mode)])
    (tick,) = KiteWire().binary(message, routes(quote), RECEIVED)
    assert tick == said(quote, mode)
    assert frame([record(quote_of(tick, quote.token), mode)]) == message


@given(st.lists(st.tuples(quotes(), _MODES), max_size=12))
def test_a_frame_of_any_packets_becomes_their_ticks_in_order(sent: list[tuple[Quote, Mode]]) -> None:
    wire = KiteWire()
    message = frame([record(quote, mode) for quote, mode in sent])
    ticks = wire.binary(message, routes(*(quote for quote, _ in sent)), RECEIVED)
    assert ticks == [said(quote, mode) for quote, mode in sent]
    assert not any(wire.skipped.values())


@given(quotes(), _MODES, _MODES)
def test_a_packet_is_trimmed_to_what_the_lower_mode_would_have_sent(
    quote: Quote, recorded: Mode, wanted: Mode
) -> None:
    (packet,) = packets(frame([record(quote, recorded)]))
    assert trimmed(packet, wanted) == record(quote, min(recorded, wanted))


@given(st.lists(st.tuples(quotes(), _MODES), min_size=1, max_size=5), st.sampled_from(Malformation))
def test_the_adapter_counts_what_is_malformed(sent: list[tuple[Quote, Mode]], kind: Malformation) -> None:
    wire = KiteWire()
    message = malformed(kind, [record(quote, mode) for quote, mode in sent])
    known = routes(*(quote for quote, _ in sent))
    ticks = wire.binary(message, known, RECEIVED)
    whole = sent[:-1] if kind is Malformation.TRUNCATED else []
    assert ticks == [said(quote, mode) for quote, mode in whole]
    reason = {
        Malformation.TRUNCATED: "truncated",
        Malformation.UNKNOWN_TOKEN: "unknown_token",
        Malformation.WRONG_LENGTH: "unknown_length",
    }[kind]
    assert wire.skipped[reason] == (1 if kind is Malformation.TRUNCATED else len(sent))


@given(st.binary(max_size=300))
def test_no_bytes_make_the_splitter_raise(message: bytes) -> None:
    for packet in packets(message):
        for mode in Mode:
            assert trimmed(packet, mode)
