"""What a call that is passed through is, by its path, and what its client is answered; pure."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from brokerpool.errors import (
    BrokerpoolError,
    CallFailedError,
    CallRefusedError,
    ErrorCode,
    OutcomeUnknown,
    PoolClosedError,
)
from brokerpool.gateway.rest.failures import Failure, failure
from brokerpool.http.call_queue import Lane

#: Below it are the calls of OpenAlgo's REST.
PREFIX = "/api/v1"

#: Groups of calls with rate limits and breakers of their own: what ails queries holds up no order, and a 429
#: for orders no cancel.
CANCELS, ORDERS, SMART_ORDERS, QUERIES = "cancel", "order", "smart_order", "other"

#: Bytes of an unclear answer that are told.
LONGEST_ANSWER = 2000

#: Longer ones name nothing that OpenAlgo has, whose longest has 30 characters.
LONGEST_PATH = 128
_PATH = re.compile(r"/api/v1(?:/[A-Za-z0-9_:-]+)+")

#: Calls that only ask, also those that are sent by POST.
_ASKING = frozenset(
    (
        *("funds", "orderbook", "tradebook", "positionbook", "holdings", "openposition", "orderstatus"),
        *("gttorderbook", "margin", "analyzer", "pnl/symbols", "market/holidays", "market/timings"),
        *("optionchain", "optionsymbol", "optiongreeks", "multioptiongreeks", "syntheticfuture"),
        *("quotes", "multiquotes", "depth", "history", "intervals", "symbol", "search", "expiry"),
        *("instruments", "ping"),
    )
)

_IN_BOOK = "has its symbol, exchange, action, quantity and price, with a time not before sent_at"
_LOOK_UP = {
    "placed": f"POST {PREFIX}/orderbook and look whether an order {_IN_BOOK}. A basket or a split order may"
    " be there in part.",
    "changed": f"POST {PREFIX}/orderstatus with the orderid of this call (or {PREFIX}/orderbook) and compare"
    " quantity and price.",
    "cancelled": f"POST {PREFIX}/orderbook and look which of the orders that were meant are still open.",
    "closed": f"POST {PREFIX}/positionbook and {PREFIX}/orderbook and look which positions are still open.",
    "other": "Ask the endpoint that shows what this one changes.",
}


class OrderCall(NamedTuple):
    """One kind of call: how urgent it is, whether it may be sent twice, and where it shows."""

    method: str
    path: str
    lane: Lane
    #: Group of the rate limits.
    group: str
    #: True for one that only asks: it may be repeated. Any other one is sent once at most.
    asks: bool
    #: How to find out what became of it; empty for one that only asks.
    look_up: str

    @property
    def label(self) -> str:
        """What it is called in logs: method and path."""
        return f"{self.method} {self.path}"


class OutcomeUnknownAnswer(msgspec.Struct, tag_field="status", tag="error"):
    """The answer to a call that was sent and has no clear end; it is not sent again."""

    message: str
    endpoint: str
    #: Epoch milliseconds, not later than when its first byte left.
    sent_at: int
    look_up: str
    #: The name that the call has in the gateway's log and journal.
    tag: str
    code: str = ErrorCode.OUTCOME_UNKNOWN.name
    #: What the broker answered where that tells nothing for certain: status, and beginning of the text.
    upstream_status: int | UnsetType = UNSET
    upstream_answer: str | UnsetType = UNSET


def well_formed(path: str) -> bool:
    """Tell whether a path can be a call's: short, below the prefix, of letters, digits, `-`, `_` and `:`."""
    return len(path) <= LONGEST_PATH and _PATH.fullmatch(path) is not None


def order_call(method: str, path: str) -> OrderCall:
    """Return what the call is. What is not known is taken to change something unless it is a GET."""
    name = path.removeprefix(f"{PREFIX}/")
    if name in _ASKING:
        return OrderCall(method, path, Lane.QUERY, QUERIES, True, "")
    if name.startswith("cancel"):
        return OrderCall(method, path, Lane.CANCEL, CANCELS, False, _LOOK_UP["cancelled"])
    if name == "closeposition":
        return OrderCall(method, path, Lane.CANCEL, CANCELS, False, _LOOK_UP["closed"])
    if name.startswith("modify"):
        return OrderCall(method, path, Lane.PLACE, ORDERS, False, _LOOK_UP["changed"])
    if name.startswith("place") or name.endswith("order"):
        group = SMART_ORDERS if name == "placesmartorder" else ORDERS
        return OrderCall(method, path, Lane.PLACE, group, False, _LOOK_UP["placed"])
    asks = method == "GET"
    return OrderCall(method, path, Lane.QUERY, QUERIES, asks, "" if asks else _LOOK_UP["other"])


def outcome(status: int) -> str:
    """Return in a word what the broker's answer says of the call."""
    return "accepted" if status < HTTPStatus.BAD_REQUEST else "rejected"


def unanswered(error: BrokerpoolError) -> str:
    """Return in a word what became of a call that has no answer of the broker."""
    if isinstance(error, OutcomeUnknown):
        return "unknown"
    return "failed" if isinstance(error, CallFailedError) and error.sent else "not sent"


def answer(
    error: BrokerpoolError, call: OrderCall, tag: str, sent_at: int
) -> tuple[int, Failure | OutcomeUnknownAnswer]:
    """Return status and answer for a call without an answer of the broker; 504 is OUTCOME_UNKNOWN alone."""
    if isinstance(error, OutcomeUnknown):
        text = f"{call.label} was sent and has no clear answer: it may have been carried out, or not."
        told = OutcomeUnknownAnswer(f"{text} Do not send it again.", call.path, sent_at, call.look_up, tag)
        if error.status is not None:
            told.upstream_status = error.status
            told.upstream_answer = error.answer[:LONGEST_ANSWER].decode("utf-8", "replace")
        return HTTPStatus.GATEWAY_TIMEOUT, told
    status, refused = failure(error)
    if isinstance(error, CallFailedError):
        status = HTTPStatus.BAD_GATEWAY
    elif isinstance(error, CallRefusedError | PoolClosedError) and status != HTTPStatus.TOO_MANY_REQUESTS:
        status = HTTPStatus.SERVICE_UNAVAILABLE
    return status, refused
