"""Whatever an OpenAlgo sends: the wire raises nothing, makes nothing up, and reads on as before."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from brokerpool import DepthTick, Instrument, Mode, QuoteTick, Tick
from brokerpool.brokers.openalgo import OpenAlgoBook, OpenAlgoWire
from brokerpool.brokers.openalgo.market_data import Data
from brokerpool.brokers.wire import ControlBatch, Signal, SignalKind
from brokerpool.instruments import EXCHANGES, Token

INFY = Instrument("NSE", "INFY")
ROUTES: dict[Token, Instrument] = {"NSE:INFY": INFY}
NOW = 1_767_587_400_000
GOOD = '{"type":"market_data","symbol":"INFY","exchange":"NSE","mode":1,"data":{"ltp":5},"broker":"x"}'


def _objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(
        st.sampled_from(["symbol", "exchange", "status", "message", "mode", "price"]), inner, max_size=4
    )


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(
        ["nan", "inf", "1e999", "12", "12.5", "-0", "", "LTP", "success", "error", "INFY", "NSE"]
    )
    | st.text(max_size=8)
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | _objects(inner), max_leaves=12)
levels = st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(("price", "quantity", "orders"), values)))
data = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(Data.__struct_fields__, values),
        "depth": values
        | st.fixed_dictionaries({}, optional={"buy": levels | values, "sell": levels | values}),
    },
)
types = st.sampled_from(
    [
        "market_data",
        "auth",
        "subscribe",
        "unsubscribe",
        "pong",
        "feed_status",
        "order_update",
        "subscribe_orders",
    ]
)


frames = st.fixed_dictionaries(
    {},
    optional={
        "type": types | values,
        "symbol": st.just("INFY") | values,
        "exchange": st.just("NSE") | values,
        "mode": st.integers(0, 4) | values,
        "data": data | values,
        "stale": values,
        "status": st.sampled_from(["success", "error", "partial", "stale", "gap", "delisted"]) | values,
        "code": st.just("AUTHENTICATION_ERROR") | values,
        "message": values,
        "request_id": st.integers(1, 3) | values,
        "subscriptions": st.lists(_objects(values), max_size=3) | values,
    },
)


def check(wire: OpenAlgoWire, ticks: list[Tick]) -> None:
    for tick in ticks:
        assert tick.instrument == INFY
        _check_tick(tick)
        # What cannot leave in JSON would be lost in every gateway.
        assert msgspec.json.decode(msgspec.json.encode(tick), type=type(tick)) == tick
    assert all(isinstance(s, Signal) and isinstance(s.text, str) for s in wire.signals)
    wire.signals.clear()
    (good,) = wire.text(GOOD, ROUTES, NOW)
    assert good == Tick(INFY, 5.0, NOW)


def _check_tick(tick: Tick) -> None:
    assert math.isfinite(tick.ltp)
    assert isinstance(tick.timestamp, int)
    if isinstance(tick, QuoteTick):
        assert all(math.isfinite(p) for p in (tick.open, tick.high, tick.low, tick.close, tick.change))
        assert all(type(q) is int for q in (tick.volume, tick.last_trade_quantity, tick.total_buy_quantity))
    if isinstance(tick, DepthTick):
        assert type(tick.oi) is int
        for level in tick.buy + tick.sell:
            assert math.isfinite(level.price)
            assert type(level.quantity) is type(level.orders) is int


@given(st.binary(max_size=200) | st.text(max_size=100))
def test_random_messages_raise_nothing(message: bytes | str) -> None:
    wire = OpenAlgoWire("key")
    ticks = wire.text(message, ROUTES, NOW) if isinstance(message, str) else wire.binary(message, ROUTES, NOW)
    check(wire, ticks)


@given(frames)
def test_random_frames_raise_nothing_and_no_number_is_made_up(said: dict[str, Any]) -> None:
    wire = OpenAlgoWire("key", orders=True)
    wire.requests(ControlBatch(add={"NSE:INFY": Mode.LTP}))
    wire.requests(ControlBatch(remode={"NSE:INFY": Mode.DEPTH}))
    check(wire, wire.text(json.dumps(said), ROUTES, NOW))


@given(data.map(lambda members: {**members, "ltp": 7.5}))
def test_a_frame_with_a_price_is_a_tick_whatever_else_is_in_it(members: dict[str, Any]) -> None:
    wire = OpenAlgoWire("key")
    said = {"type": "market_data", "symbol": "INFY", "exchange": "NSE", "mode": 3, "data": members}
    ticks = wire.text(json.dumps(said), ROUTES, NOW)
    assert [tick.ltp for tick in ticks] == [7.5]
    check(wire, ticks)


TOKENS: list[Token] = ["NSE:A", "NSE:B", "NSE:C"]
wishes = st.lists(
    st.dictionaries(st.sampled_from(TOKENS), st.none() | st.sampled_from(list(Mode))),
    max_size=8,
)


@given(wishes, st.booleans(), st.data())
def test_the_server_ends_up_with_what_is_wanted_and_nothing_else(
    steps: list[dict[Token, Mode | None]], one_symbol_a_frame: bool, draw: st.DataObject
) -> None:
    """The server keeps a subscription for each mode, answers late, and refuses what it likes."""
    wire = OpenAlgoWire("key", one_symbol_a_frame=one_symbol_a_frame)
    served: dict[Token, set[int]] = {}
    wanted: dict[Token, Mode] = {}
    asked: dict[Token, Mode] = {}
    unanswered: list[dict[str, Any]] = []

    def deliver(messages: list[str]) -> None:
        for message in messages:
            said = json.loads(message)
            entries = said.get("symbols") or [said]
            for entry in entries:
                token = f"{entry['exchange']}:{entry['symbol']}"
                modes = served.setdefault(token, set())
                if said["action"] == "unsubscribe":
                    modes.discard(entry["mode"])
            if said["action"] == "subscribe":
                unanswered.append(said)

    def answer() -> None:
        while unanswered:
            said = unanswered.pop(0)
            items = []
            for entry in said.get("symbols") or [said]:
                item = {"symbol": entry["symbol"], "exchange": entry["exchange"]}
                served[f"{entry['exchange']}:{entry['symbol']}"].add(said["mode"])
                items.append({**item, "status": "success", "mode": Mode(said["mode"]).label})
            reply = {"type": "subscribe", "status": "success", "subscriptions": items}
            wire.text(json.dumps({**reply, "request_id": said["request_id"]}), {}, NOW)
            answers = [s.words for s in wire.signals if s.kind is SignalKind.ANSWER]
            wire.signals.clear()
            deliver(answers)

    for step in steps:
        drop = [token for token, mode in step.items() if mode is None and token in asked]
        add = {t: m for t, m in step.items() if m is not None and t not in asked}
        remode = {t: m for t, m in step.items() if m is not None and t in asked and asked[t] is not m}
        for token in drop:
            del wanted[token], asked[token]
        wanted.update(add | remode)
        asked.update(add | remode)
        if draw.draw(st.booleans()):
            answer()
        if drop:
            answer()  # a server handles its messages in order
            deliver(wire.requests(ControlBatch(drop=drop)))
        if add or remode:
            deliver(wire.requests(ControlBatch(add=add, remode=remode)))
    answer()
    assert {token: modes for token, modes in served.items() if modes} == {
        token: {int(mode)} for token, mode in wanted.items()
    }


@given(st.sampled_from(sorted(EXCHANGES)), st.text(max_size=70))
def test_a_book_without_a_list_takes_well_formed_names_and_gives_them_back(
    exchange: str, symbol: str
) -> None:
    book = OpenAlgoBook()
    instrument = Instrument(exchange, symbol)
    token = book.token(instrument)
    if token is None:
        assert (
            not symbol
            or len(symbol) > 64
            or not symbol.isascii()
            or symbol != symbol.upper()
            or any(not "!" <= c <= "~" for c in symbol)
        )
        assert instrument not in book
    else:
        assert book.instrument(token) == instrument
        assert instrument in book
    assert len(book) == 0
    assert list(book) == []
