"""The OpenAlgo wire: what is sent, in which frames, and what the server's answers mean."""

from __future__ import annotations

import json
from typing import Any

import pytest

from brokerpool import Instrument, Mode
from brokerpool.brokers.openalgo import OpenAlgoWire
from brokerpool.brokers.wire import ControlBatch, Farewell, SignalKind

KEY = "a-key-of-64-characters"
LTP, QUOTE, DEPTH = Mode.LTP, Mode.QUOTE, Mode.DEPTH
READY = {"type": "auth", "status": "success", "message": "Authentication successful", "broker": "dhan"}


def sent(wire: OpenAlgoWire, **batch: Any) -> list[dict[str, Any]]:
    return [json.loads(message) for message in wire.requests(ControlBatch(**batch))]


def told(wire: OpenAlgoWire, said: object) -> list[tuple[SignalKind, str, list[object]]]:
    wire.signals.clear()
    text = said if isinstance(said, str) else json.dumps(said)
    assert wire.text(text, {}, 0) == []
    return [(s.kind, s.words, list(s.tokens)) for s in wire.signals]


def ack(*items: dict[str, Any], request_id: object = None, **others: Any) -> dict[str, Any]:
    named = [{"symbol": "INFY", "exchange": "NSE", **item} for item in items]
    return {"type": "subscribe", "subscriptions": named, "request_id": request_id, **others}


def pairs(frame: dict[str, Any]) -> list[tuple[str, str]]:
    return [(entry["exchange"], entry["symbol"]) for entry in frame["symbols"]]


def test_one_frame_asks_for_all_symbols_of_a_mode_and_says_which() -> None:
    wire = OpenAlgoWire(KEY)
    frames = sent(wire, add={"NSE:INFY": LTP, "NSE:TCS:50": DEPTH, "NSE_INDEX:NIFTY": LTP})
    assert [(f["action"], f["mode"], f["request_id"], pairs(f)) for f in frames] == [
        ("subscribe", 1, 1, [("NSE", "INFY"), ("NSE_INDEX", "NIFTY")]),
        ("subscribe", 3, 3, [("NSE", "TCS:50")]),
    ]
    assert frames[0]["depth"] == 5


def test_frames_are_of_bounded_size() -> None:
    tokens = [f"NSE:S{n}" for n in range(450)]
    frames = sent(OpenAlgoWire(KEY), add=dict.fromkeys(tokens, QUOTE))
    assert [len(f["symbols"]) for f in frames] == [200, 200, 50]


def test_where_it_is_wanted_each_frame_names_one_symbol() -> None:
    wire = OpenAlgoWire(KEY, one_symbol_a_frame=True)
    frames = sent(wire, add={"NSE:INFY": LTP, "NSE:SBIN": LTP})
    assert [(f["exchange"], f["symbol"], f["mode"]) for f in frames] == [
        ("NSE", "INFY", 1),
        ("NSE", "SBIN", 1),
    ]
    assert all("symbols" not in f for f in frames)
    (frame,) = sent(wire, drop=["NSE:INFY"])
    assert frame == {"action": "unsubscribe", "exchange": "NSE", "symbol": "INFY", "mode": 1}


def test_an_unsubscribe_carries_the_mode_in_each_entry() -> None:
    wire = OpenAlgoWire(KEY)
    sent(wire, add={"NSE:INFY": LTP, "NSE:SBIN": DEPTH})
    (frame,) = sent(wire, drop=["NSE:INFY", "NSE:SBIN"])
    assert frame == {
        "action": "unsubscribe",
        "symbols": [
            {"symbol": "INFY", "exchange": "NSE", "mode": 1},
            {"symbol": "SBIN", "exchange": "NSE", "mode": 3},
        ],
    }


def test_a_new_mode_is_subscribed_first_and_the_old_one_given_up_once_it_is_acknowledged() -> None:
    wire = OpenAlgoWire(KEY)
    sent(wire, add={"NSE:INFY": LTP})
    (frame,) = sent(wire, remode={"NSE:INFY": DEPTH})
    assert (frame["action"], frame["mode"]) == ("subscribe", 3)
    signals = told(wire, ack({"status": "success", "mode": "Depth"}, request_id=3))
    assert [kind for kind, _, _ in signals] == [SignalKind.ACCEPTED, SignalKind.ANSWER]
    assert json.loads(signals[1][1]) == {
        "action": "unsubscribe",
        "symbols": [{"symbol": "INFY", "exchange": "NSE", "mode": 1}],
    }


def test_the_old_mode_goes_on_where_the_new_one_is_refused_and_a_drop_gives_up_both() -> None:
    wire = OpenAlgoWire(KEY)
    sent(wire, add={"NSE:INFY": LTP})
    sent(wire, remode={"NSE:INFY": DEPTH})
    signals = told(wire, ack({"status": "error", "message": "no depth for it"}, request_id=3))
    assert signals == [(SignalKind.REFUSED, "no depth for it", ["NSE:INFY"])]
    (frame,) = sent(wire, drop=["NSE:INFY"])
    assert [entry["mode"] for entry in frame["symbols"]] == [1, 3]


def test_answers_to_an_older_wish_change_nothing() -> None:
    wire = OpenAlgoWire(KEY)
    sent(wire, add={"NSE:INFY": LTP})
    sent(wire, remode={"NSE:INFY": DEPTH})
    assert told(wire, ack({"status": "success", "mode": "LTP"}, request_id=1)) == []
    assert told(wire, ack({"status": "error", "message": "no"}, request_id=1)) == []
    assert told(wire, ack({"status": "success", "mode": 1})) == [], "a server that echoes no request_id"


def test_an_acknowledgement_tells_what_is_accepted_and_what_is_refused_and_why() -> None:
    wire = OpenAlgoWire(KEY)
    sent(wire, add=dict.fromkeys(["NSE:INFY", "NSE:SBIN", "NSE:NOPE", "NSE:NEIN"], QUOTE))
    said = ack(
        {"status": "success", "mode": "Quote", "depth": 5},
        {"symbol": "SBIN", "status": "success", "mode": 2},
        {"symbol": "NOPE", "status": "error", "message": "Symbol not found"},
        {"symbol": "NEIN", "status": "error", "message": "Symbol not found", "code": "SYMBOL_NOT_FOUND"},
        status="partial",
    )
    assert told(wire, said) == [
        (SignalKind.ACCEPTED, "", ["NSE:INFY", "NSE:SBIN"]),
        (SignalKind.REFUSED, "Symbol not found", ["NSE:NOPE", "NSE:NEIN"]),
    ]


def test_the_key_is_said_first_and_its_acceptance_makes_the_socket_live() -> None:
    wire = OpenAlgoWire(KEY)
    assert [json.loads(m) for m in wire.hello()] == [{"action": "authenticate", "api_key": KEY}]
    assert told(wire, READY) == [(SignalKind.READY, "Authentication successful", [])]


def test_order_updates_are_asked_for_once_the_socket_is_live_and_passed_on_as_they_come() -> None:
    wire = OpenAlgoWire(KEY, orders=True)
    ready, asked = told(wire, READY)
    assert ready[0] is SignalKind.READY
    assert (asked[0], json.loads(asked[1])) == (SignalKind.ANSWER, {"action": "subscribe_orders"})
    update = '{"type":"order_update", "orderid":"7","order_status":"complete",  "made":"up"}'
    assert told(wire, update) == [(SignalKind.ORDER_UPDATE, update, [])]
    hole = '{"type":"feed_status","status":"orders_gap","broker":"zerodha","from":1,"to":2,"message":"reset"}'
    assert told(wire, hole) == [(SignalKind.ORDER_UPDATE, hole, [])]
    refused = {"type": "subscribe_orders", "status": "error", "code": "ORDERS_NOT_CARRIED", "message": "none"}
    assert told(wire, refused) == [(SignalKind.REFUSED, "ORDERS_NOT_CARRIED: none", [])]
    assert (
        told(wire, {"type": "subscribe_orders", "status": "success", "message": "yes"})[0][0]
        is SignalKind.TOLD
    )


@pytest.mark.parametrize(
    "said",
    [
        {"status": "error", "code": "AUTHENTICATION_ERROR", "message": "Invalid API key"},
        {"type": "auth", "status": "error", "code": "AUTHENTICATION_ERROR", "message": "no"},
        {"type": "auth", "status": "error", "code": "SCOPE_MISSING", "message": "no"},
        {"type": "auth", "status": "error", "message": "no"},
        {"type": "auth", "status": "failed"},
    ],
)
def test_a_wrong_key_is_refused_typed_or_not_and_the_close_that_follows_is_about_the_key(
    said: object,
) -> None:
    wire = OpenAlgoWire(KEY)
    assert [kind for kind, _, _ in told(wire, said)] == [SignalKind.LOGIN_REFUSED]
    assert wire.farewell(4401, "auth timeout") is Farewell.CREDENTIALS


@pytest.mark.parametrize(
    "said",
    [
        {"type": "auth", "status": "error", "code": "ADDRESS_LOCKED_OUT", "message": "wait"},
        {"type": "auth", "status": "error", "code": "KEY_CLIENT_LIMIT", "message": "wait"},
        {"status": "error", "code": "BROKER_CONNECTION_ERROR", "message": "wait"},
        {"status": "error", "code": "BROKER_ERROR", "message": "wait"},
        {"status": "error", "code": "SERVER_ERROR", "message": "wait"},
        {"status": "error", "message": "wait"},
        {"type": "subscribe", "status": "error", "message": "wait"},
        {"type": "subscribe_orders", "status": "error", "code": "SCOPE_MISSING", "message": "wait"},
        {"type": "auth", "status": "error", "code": ["AUTHENTICATION_ERROR"], "message": "wait"},
    ],
)
def test_other_errors_are_told_and_say_nothing_against_the_key(said: object) -> None:
    wire = OpenAlgoWire(KEY)
    ((kind, text, tokens),) = told(wire, said)
    assert (kind, text.endswith("wait"), tokens) == (SignalKind.REFUSED, True, [])
    assert wire.farewell(4401, "auth timeout") is Farewell.LOST


def test_a_server_that_was_too_slow_to_judge_the_key_does_not_park_the_account() -> None:
    assert OpenAlgoWire(KEY).farewell(4401, "auth timeout") is Farewell.LOST
    revoked = OpenAlgoWire(KEY)
    assert revoked.farewell(4403, "the API key is not valid any more") is Farewell.CREDENTIALS
    live = OpenAlgoWire(KEY)
    told(live, READY)
    assert live.farewell(4401, "") is Farewell.CREDENTIALS
    for code in (1000, 1001, 1006, 1011, 4408, 4429):
        assert live.farewell(code, "") is Farewell.LOST


def test_news_of_a_brokerpool_further_up_are_gaps() -> None:
    wire = OpenAlgoWire(KEY)
    symbol = {"type": "feed_status", "broker": "zerodha", "symbol": "INFY", "exchange": "NSE"}
    assert told(wire, {**symbol, "status": "stale", "from": 1, "message": "reset"}) == [
        (SignalKind.GAP_BEGUN, "reset", ["NSE:INFY"])
    ]
    over = told(wire, {**symbol, "status": "gap", "from": 1, "to": 2, "filled": False, "message": "reset"})
    assert [kind for kind, _, _ in over] == [SignalKind.GAP_BEGUN, SignalKind.GAP_OVER]
    delisted = told(wire, {**symbol, "status": "delisted", "message": "not listed any more"})
    assert delisted == [(SignalKind.REFUSED, "not listed any more", ["NSE:INFY"])]
    whole = {"type": "feed_status", "status": "degraded", "broker": "z", "symbols_down": 7, "message": "why"}
    assert told(wire, whole) == [(SignalKind.TOLD, "degraded: why", [])]


def test_what_fills_a_hole_further_up_comes_with_its_end_and_does_not_look_like_it() -> None:
    wire = OpenAlgoWire(KEY)
    wire.requests(ControlBatch(add={"NSE:INFY": Mode.LTP}))
    symbol = {"symbol": "INFY", "exchange": "NSE"}
    snapshot = {"type": "market_data", **symbol, "mode": 1, "data": {"ltp": 7}, "snapshot": True}
    stale = {"type": "feed_status", **symbol, "status": "stale", "from": 1, "message": "reset"}
    gap = {**stale, "status": "gap", "to": 2, "filled": True}

    def prices(said: dict[str, Any]) -> list[float]:
        return [tick.ltp for tick in wire.text(json.dumps(said), {"NSE:INFY": Instrument("NSE", "INFY")}, 0)]

    assert prices(snapshot) == [7], "the last value, told to who subscribes"
    assert prices(stale) == prices(snapshot) == []
    assert [signal.kind for signal in wire.signals] == [SignalKind.GAP_BEGUN]
    assert prices(gap) == [7]
    assert prices(gap) == [], "said once"
    assert prices(snapshot) == [7]


def test_holes_in_order_updates_further_up_are_told_among_them() -> None:
    wire = OpenAlgoWire(KEY)
    for status in ("orders_stale", "orders_gap", "orders_dropped"):
        said = json.dumps({"type": "feed_status", "status": status, "broker": "z", "from": 1})
        assert told(wire, said) == [(SignalKind.ORDER_UPDATE, said, [])]


def test_signs_of_life_and_known_answers_say_nothing() -> None:
    wire = OpenAlgoWire(KEY)
    assert json.loads(wire.heartbeat())["action"] == "ping"
    before = dict(wire.skipped)
    for said in (
        {"type": "pong", "status": "success", "server_timestamp": 1},
        {"type": "unsubscribe", "status": "success", "successful": [], "failed": []},
    ):
        assert told(wire, said) == []
    assert wire.skipped == before


def test_what_is_not_known_is_counted_and_told() -> None:
    wire = OpenAlgoWire(KEY)
    for said in ({"type": "hoopla"}, {"type": ["a"]}, {}):
        assert [kind for kind, _, _ in told(wire, said)] == [SignalKind.UNKNOWN]
    for text in ("[1]", "nope", "", "null"):
        assert [kind for kind, _, _ in told(wire, text)] == [SignalKind.UNKNOWN]
    assert (wire.skipped["unknown_frame"], wire.skipped["malformed"]) == (3, 4)
    assert wire.binary(b"\xff\xfe", {}, 0) == []
    assert wire.skipped["malformed"] == 5


def test_a_server_that_quotes_the_key_does_not_bring_it_into_a_signal() -> None:
    wire = OpenAlgoWire(KEY)
    for said in (
        {"status": "error", "code": "AUTHENTICATION_ERROR", "message": f"{KEY} is wrong"},
        {"type": "hoopla", "you_said": KEY},
        ack({"status": "error", "message": f"not for {KEY}"}),
    ):
        for _, text, _ in told(wire, said):
            assert KEY not in text
    assert KEY not in repr(wire)


def test_a_routed_tick_between_other_frames_is_read() -> None:
    wire = OpenAlgoWire(KEY)
    told(wire, "nope")
    frame = '{"type":"market_data","symbol":"INFY","exchange":"NSE","mode":1,"data":{"ltp":5},"broker":"x"}'
    (tick,) = wire.text(frame, {"NSE:INFY": Instrument("NSE", "INFY")}, 77)
    assert (tick.ltp, tick.timestamp) == (5.0, 77)
