"""Kite's order messages in the members of OpenAlgo's clients: translated, and nothing made up."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerpool import Instrument
from brokerpool.brokers.wire import SignalKind
from brokerpool.brokers.zerodha.codec import KiteWire
from brokerpool.brokers.zerodha.order_updates import order_update
from brokerpool.instruments import Token

#: The members of the documentation's postback, with invented values.
POSTBACK: dict[str, Any] = {
    "user_id": "XX0001",
    "unfilled_quantity": 0,
    "app_id": 7,
    "checksum": "00ff",
    "placed_by": "XX0001",
    "order_id": "250424000000001",
    "exchange_order_id": "1100000000000001",
    "parent_order_id": None,
    "status": "REJECTED",
    "status_message": "Insufficient funds.",
    "status_message_raw": "RMS:1",
    "order_timestamp": "2025-04-24 09:24:25",
    "variety": "regular",
    "exchange": "NFO",
    "tradingsymbol": "NIFTY25APRFUT",
    "instrument_token": 12345,
    "order_type": "SL-M",
    "transaction_type": "SELL",
    "validity": "DAY",
    "product": "NRML",
    "quantity": 75,
    "disclosed_quantity": 0,
    "price": 0,
    "trigger_price": 24100.05,
    "average_price": 0,
    "filled_quantity": 25,
    "pending_quantity": 50,
    "cancelled_quantity": 0,
    "market_protection": 0,
    "meta": {},
    "tag": None,
    "guid": "x",
}
FUTURE = Instrument("NFO", "NIFTY24APR25FUT")
LISTED: dict[Token, Instrument] = {12345: FUTURE}


def told(data: dict[str, Any]) -> dict[str, Any] | None:
    text = order_update(data, LISTED.get)
    return None if text is None else json.loads(text)


def test_a_postback_has_all_members_that_kite_says_in_openalgos_words() -> None:
    assert told(POSTBACK) == {
        "type": "order_update",
        "broker": "zerodha",
        "user_id": "XX0001",
        "orderid": "250424000000001",
        "symbol": "NIFTY24APR25FUT",
        "exchange": "NFO",
        "action": "SELL",
        "quantity": 75,
        "price": 0,
        "trigger_price": 24100.05,
        "pricetype": "SL-M",
        "product": "NRML",
        "order_status": "rejected",
        "filled_quantity": 25,
        "pending_quantity": 50,
        "average_price": 0,
        "rejection_reason": "Insufficient funds.",
    }


@pytest.mark.parametrize("status", ["COMPLETE", "OPEN", "TRIGGER PENDING", "CANCELLED", "UPDATE"])
def test_a_reason_belongs_to_a_rejection_only(status: str) -> None:
    update = told({**POSTBACK, "status": status})
    assert update is not None
    assert update["order_status"] == status.lower()
    assert "rejection_reason" not in update


def test_a_symbol_that_the_list_does_not_have_is_left_out_and_not_spelt_as_kite_does() -> None:
    update = told({**POSTBACK, "instrument_token": 1})
    assert update is not None
    assert not {"symbol", "exchange"} & set(update)


@pytest.mark.parametrize("wrong", [None, "", 5, True, [], {}, "x" * 65, 1e300])
@pytest.mark.parametrize("member", ["status", "quantity", "price", "product", "instrument_token", "user_id"])
def test_a_member_that_is_not_as_documented_costs_that_member(member: str, wrong: Any) -> None:
    whole, update = told(POSTBACK), told({**POSTBACK, member: wrong})
    assert whole is not None
    assert update is not None
    assert set(update) <= set(whole)
    same = {name for name in update if update[name] == whole[name]}
    assert len(same) >= len(whole) - 2


MEMBERS = st.sampled_from(list(POSTBACK))
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=5,
)


@given(st.dictionaries(MEMBERS, ANY))
def test_whatever_an_order_message_says_the_wire_makes_one_signal_of_it_and_invents_no_member(
    changed: dict[str, Any],
) -> None:
    wire = KiteWire()
    assert wire.text(json.dumps({"type": "order", "data": {**POSTBACK, **changed}}), {}, 0) == []
    (signal,) = wire.signals
    if signal.kind is SignalKind.ORDER_UPDATE:
        assert "symbol" not in json.loads(signal.text)
        assert json.loads(signal.text)["orderid"]
    else:
        assert signal.kind is SignalKind.UNKNOWN
