"""The client protocol's requests and replies; M1 to M12 are the decisions that its page explains."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from brokerpool.errors import ErrorCode
from brokerpool.gateway import protocol
from brokerpool.gateway.protocol import Entry, Outcome, RequestError, Subscribe, Unsubscribe
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode


def ask(**members: Any) -> protocol.Request:
    return protocol.parse(json.dumps(members))


def subscribe(**members: Any) -> Subscribe:
    request = ask(action="subscribe", **members)
    assert isinstance(request, Subscribe)
    return request


def unsubscribe(**members: Any) -> Unsubscribe:
    request = ask(action="unsubscribe", **members)
    assert isinstance(request, Unsubscribe)
    return request


INFY = {"symbol": "INFY", "exchange": "NSE"}


@pytest.mark.parametrize(
    ("spelled", "mode"), [(1, 1), (2, 2), (3, 3), ("LTP", 1), (" quote ", 2), ("Depth", 3)]
)
def test_every_spelling_of_a_mode_is_understood(spelled: int | str, mode: int) -> None:
    assert subscribe(**INFY, mode=spelled).mode == mode


@pytest.mark.parametrize("spelled", [0, 4, "1", "FULL", True, 1.0, None, [], {}])
def test_any_other_mode_is_refused(spelled: object) -> None:
    with pytest.raises(RequestError) as caught:
        subscribe(**INFY, mode=spelled)
    assert caught.value.code is ErrorCode.INVALID_MODE


def test_the_mode_defaults_to_quote() -> None:
    assert subscribe(**INFY).mode is Mode.QUOTE


def test_type_serves_as_action_when_there_is_no_action() -> None:
    assert protocol.parse('{"type":"auth","apikey":"k"}') == protocol.Authenticate("k")


def test_m1_an_entry_without_a_mode_takes_the_one_beside_the_list() -> None:
    request = unsubscribe(symbols=[INFY, {**INFY, "mode": 1}], mode=3)
    assert [entry.mode for entry in request.entries] == [Mode.DEPTH, Mode.LTP]


def test_m1_an_unsubscribe_without_any_mode_gives_up_all_modes() -> None:
    assert [entry.mode for entry in unsubscribe(symbols=[INFY]).entries] == [None]
    assert [entry.mode for entry in unsubscribe(**INFY).entries] == [None]


def test_m2_a_refused_key_is_typed_and_reads_as_a_welcome_to_nobody() -> None:
    for text in ("No API key was sent", "The API key is wrong"):
        reply = protocol.refused_key(text)
        assert json.loads(reply)["type"] == "auth"
        assert json.loads(reply)["status"] == "error"
        assert not any(word in reply.lower() for word in (b"success", b"authenticated", b"ok"))


def test_m2_other_errors_have_no_type() -> None:
    reply = json.loads(protocol.error(ErrorCode.INVALID_MODE, "no"))
    assert reply == {"status": "error", "code": "INVALID_MODE", "message": "no"}


@pytest.mark.parametrize(("spelled", "echoed"), [(3, 3), ("depth", "Depth"), ("DEPTH", "Depth")])
def test_m3_the_mode_is_echoed_as_a_number_or_a_label_as_the_client_sent_it(
    spelled: int | str, echoed: int | str
) -> None:
    request = subscribe(symbols=[INFY], mode=spelled)
    reply = json.loads(protocol.subscribed(request, [Outcome(request.entries[0])], 5, "zerodha"))
    assert reply["subscriptions"] == [
        {**INFY, "status": "success", "mode": echoed, "depth": 5, "broker": "zerodha"}
    ]
    assert reply["status"] == "success"


def test_m5_instruments_is_another_name_for_symbols() -> None:
    assert subscribe(instruments=[INFY]).entries == subscribe(symbols=[INFY]).entries


def test_symbols_win_over_symbol_and_an_empty_list_counts_as_absent() -> None:
    both = subscribe(symbols=[{"symbol": "TCS", "exchange": "BSE"}], **INFY)
    assert [entry.symbol for entry in both.entries] == ["TCS"]
    assert [entry.symbol for entry in subscribe(symbols=[], **INFY).entries] == ["INFY"]


def test_m8_a_refused_symbol_carries_code_and_mode_and_the_whole_stays_partial() -> None:
    request = subscribe(symbols=[INFY], mode=1)
    outcome = Outcome(request.entries[0], ErrorCode.SYMBOL_NOT_FOUND, "not listed")
    reply = json.loads(protocol.subscribed(request, [outcome], 5, "zerodha"))
    assert reply["status"] == "partial"
    assert reply["subscriptions"] == [
        {
            **INFY,
            "status": "error",
            "code": "SYMBOL_NOT_FOUND",
            "mode": 1,
            "message": "not listed",
            "broker": "zerodha",
        }
    ]


def test_m11_the_welcome_fits_into_one_small_read() -> None:
    assert len(protocol.authenticated("zerodha", "default")) < 1024


def test_m12_exchanges_may_be_lower_case_and_are_echoed_as_sent() -> None:
    request = subscribe(symbols=[{"symbol": "INFY", "exchange": "nse"}])
    assert request.entries[0].instrument == Instrument("NSE", "INFY")
    reply = json.loads(protocol.subscribed(request, [Outcome(request.entries[0])], 5, "zerodha"))
    assert reply["subscriptions"][0]["exchange"] == "nse"


@pytest.mark.parametrize("request_id", [7, "a", None, {"deep": [1, 2]}, 1.5])
def test_the_request_id_is_echoed_whatever_it_is(request_id: object) -> None:
    request = subscribe(**INFY, request_id=request_id)
    assert json.loads(protocol.subscribed(request, [], 5, "z"))["request_id"] == request_id
    leave = unsubscribe(**INFY, request_id=request_id)
    assert json.loads(protocol.unsubscribed(leave, [], "z"))["request_id"] == request_id
    assert "request_id" not in json.loads(protocol.subscribed(subscribe(**INFY), [], 5, "z"))


def test_a_ping_echoes_its_timestamp_and_id() -> None:
    ping = ask(action="ping", timestamp=5, _pingId="x")
    assert isinstance(ping, protocol.Ping)
    assert json.loads(protocol.pong(ping, 99)) == {
        "type": "pong",
        "status": "success",
        "server_timestamp": 99,
        "client_timestamp": 5,
        "_pingId": "x",
    }


@pytest.mark.parametrize(
    "entry",
    [
        "NSE:INFY",
        5,
        None,
        [],
        {},
        {"symbol": "INFY"},
        {"symbol": "", "exchange": "NSE"},
        {"symbol": 1, "exchange": 2},
    ],
)
def test_an_entry_that_names_no_symbol_is_refused_alone(entry: object) -> None:
    entries = subscribe(symbols=[entry, INFY]).entries
    assert entries[0].fault
    assert entries[1].fault is None


@pytest.mark.parametrize(
    "members", [{}, {"symbol": "INFY"}, {"exchange": "NSE"}, {"symbols": "INFY"}, {"symbols": {"a": 1}}]
)
def test_a_request_without_symbols_is_refused(members: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as caught:
        subscribe(**members)
    assert caught.value.code is ErrorCode.INVALID_PARAMETERS


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ([Outcome(Entry("A", "NSE", None, Instrument("NSE", "A")))], "success"),
        ([], "success"),
        (
            [
                Outcome(Entry("A", "NSE", None, Instrument("NSE", "A"))),
                Outcome(Entry("B", "", None, Instrument("", "B")), ErrorCode.INVALID_PARAMETERS),
            ],
            "partial",
        ),
        ([Outcome(Entry("B", "", None, Instrument("", "B")), ErrorCode.INVALID_PARAMETERS)], "error"),
    ],
)
def test_an_unsubscribe_tells_success_partial_and_error_apart(outcomes: list[Outcome], status: str) -> None:
    assert json.loads(protocol.unsubscribed(unsubscribe(**INFY), outcomes, "z"))["status"] == status


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
actions = st.sampled_from(["authenticate", "ping", "subscribe", "unsubscribe", "unsubscribe_all", "nonsense"])
members = ["action", "type", "symbols", "instruments", "symbol", "exchange", "mode", "request_id", "api_key"]


@given(
    st.binary(max_size=200).map(lambda b: b)
    | st.text(max_size=200)
    | json_values.map(json.dumps)
    | st.dictionaries(st.sampled_from(members), actions | json_values).map(json.dumps)
)
@example("[" * 100_000)
@example('{"action":"ping","timestamp":' + "[" * 5_000 + "]" * 5_000 + "}")
@example('{"action":"\\ud800"}')
def test_whatever_a_client_sends_becomes_a_request_or_a_coded_error(message: str | bytes) -> None:
    try:
        request = protocol.parse(message)
    except RequestError as error:
        json.loads(protocol.error(error.code, error.message))
    else:
        assert isinstance(request, protocol.Request)


def test_a_wish_for_order_updates_is_not_acknowledged_as_if_they_would_come() -> None:
    wish = ask(action="subscribe_orders", request_id=3)
    assert isinstance(wish, protocol.Orders)
    reply = json.loads(protocol.orders(wish))
    assert (reply["type"], reply["status"], reply["code"]) == (
        "subscribe_orders",
        "error",
        "ORDERS_NOT_CARRIED",
    )
    assert reply["request_id"] == 3
    leave = ask(action="unsubscribe_orders")
    assert isinstance(leave, protocol.Orders)
    assert json.loads(protocol.orders(leave))["status"] == "success"
