"""What Kite says of an order, in the members that OpenAlgo's clients know; pure.

The members are those of Kite Connect's postbacks (kite.trade/docs/connect/v3/postbacks, looked up
2026-11-29). Over the WebSocket they come as `{"type": "order", "data": {...}}`, for every order of the user,
wherever it was placed. What Kite does not say, or not as documented, is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import msgspec

from brokerpool.instruments import Instrument, Token

#: OpenAlgo's member -> Kite's, for texts and for numbers.
_TEXTS = {
    "user_id": "user_id",
    "orderid": "order_id",
    "action": "transaction_type",
    "pricetype": "order_type",
    "product": "product",
}
_WHOLE = {
    "quantity": "quantity",
    "filled_quantity": "filled_quantity",
    "pending_quantity": "pending_quantity",
}
_PRICES = {"price": "price", "trigger_price": "trigger_price", "average_price": "average_price"}
_LONGEST_WORD = 64
_LONGEST_REASON = 500


#: Gives the instrument behind a token, None where it is not listed.
InstrumentOf: TypeAlias = Callable[[Token], Instrument | None]


def order_update(data: Mapping[str, Any], instrument_of: InstrumentOf) -> str | None:
    """Return the update as JSON text; None for what names no order.

    The symbol is OpenAlgo's, and left out with the exchange where `instrument_of` does not know the token.
    """
    update: dict[str, Any] = {"type": "order_update", "broker": "zerodha"}
    for ours, theirs in _TEXTS.items():
        if isinstance(word := data.get(theirs), str) and 0 < len(word) <= _LONGEST_WORD:
            update[ours] = word
    if "orderid" not in update:
        return None
    token = data.get("instrument_token")
    instrument = instrument_of(token) if isinstance(token, int) else None
    if instrument is not None:
        update |= {"symbol": instrument.symbol, "exchange": instrument.exchange}
    for ours, theirs in _WHOLE.items():
        if isinstance(count := data.get(theirs), int) and not isinstance(count, bool):
            update[ours] = count
    for ours, theirs in _PRICES.items():
        if isinstance(price := data.get(theirs), int | float) and not isinstance(price, bool):
            update[ours] = price
    if isinstance(status := data.get("status"), str) and 0 < len(status) <= _LONGEST_WORD:
        update["order_status"] = status.lower()
        reason = data.get("status_message")
        if status == "REJECTED" and isinstance(reason, str) and reason:
            update["rejection_reason"] = reason[:_LONGEST_REASON]
    return msgspec.json.encode(update).decode()
