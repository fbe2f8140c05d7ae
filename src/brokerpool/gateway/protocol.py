"""The OpenAlgo client protocol, without I/O: requests out of texts, replies into texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from brokerpool.errors import ErrorCode
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode

_MODES = {"ltp": Mode.LTP, "quote": Mode.QUOTE, "depth": Mode.DEPTH}
MOST_PRIORITY = 9
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class RequestError(Exception):
    """A request that cannot be carried out; becomes an error reply, and the connection stays."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Entry:
    """One symbol of a request, as the client spelled it."""

    symbol: str
    exchange: str
    mode: Mode | None
    #: What is meant: exchanges are upper case, symbols are taken as they are.
    instrument: Instrument
    #: Why the entry cannot be carried out; None when it can.
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Authenticate:
    api_key: str | None


@dataclass(frozen=True, slots=True)
class Ping:
    #: Members to be echoed: client_timestamp, _pingId.
    echo: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Subscribe:
    entries: Sequence[Entry]
    mode: Mode
    #: The mode as the client wrote it: a number or a text; acknowledgements use the same form.
    spelled: int | str
    request_id: Any
    #: What is carried first while connections are out; 0 unless the client says otherwise.
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    #: An entry without a mode gives up every mode.
    entries: Sequence[Entry]
    request_id: Any


@dataclass(frozen=True, slots=True)
class UnsubscribeAll:
    request_id: Any


@dataclass(frozen=True, slots=True)
class Orders:
    wanted: bool
    request_id: Any


@dataclass(frozen=True, slots=True)
class BrokerInfo:
    pass


@dataclass(frozen=True, slots=True)
class SupportedBrokers:
    pass


Request: TypeAlias = (
    Authenticate | Ping | Subscribe | Unsubscribe | UnsubscribeAll | Orders | BrokerInfo | SupportedBrokers
)

#: What a reply echoes when the request carried no request_id.
NO_ID = msgspec.UNSET


def parse(message: str | bytes) -> Request:
    """Return the request that the frame holds. Raises RequestError for anything else, whatever it is."""
    try:
        frame = _decode(message)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        raise RequestError(ErrorCode.INVALID_JSON, "the frame is not JSON") from None
    if not isinstance(frame, dict):
        raise RequestError(ErrorCode.INVALID_JSON, "the frame is not a JSON object")
    action = frame.get("action", frame.get("type"))
    request_id = frame.get("request_id", NO_ID)
    match action:
        case "authenticate" | "auth":
            key = frame.get("api_key", frame.get("apikey"))
            return Authenticate(key if isinstance(key, str) else None)
        case "ping":
            return Ping(_ping_echo(frame))
        case "subscribe":
            spelled = frame.get("mode", int(Mode.QUOTE))
            mode = _mode(spelled)
            return Subscribe(_entries(frame, None), mode, spelled, request_id, _priority(frame))
        case "unsubscribe":
            default = _mode(frame["mode"]) if "mode" in frame else None
            return Unsubscribe(_entries(frame, default), request_id)
        case "unsubscribe_all":
            return UnsubscribeAll(request_id)
        case "subscribe_orders" | "unsubscribe_orders":
            return Orders(action == "subscribe_orders", request_id)
        case "get_broker_info":
            return BrokerInfo()
        case "get_supported_brokers":
            return SupportedBrokers()
    known = isinstance(action, str) and len(action) <= 40
    raise RequestError(ErrorCode.INVALID_ACTION, f"unknown action {action!r}" if known else "unknown action")


def _mode(value: object) -> Mode:
    if isinstance(value, str) and value.strip().lower() in _MODES:
        return _MODES[value.strip().lower()]
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 3:
        return Mode(value)
    raise RequestError(ErrorCode.INVALID_MODE, "mode must be 1, 2, 3, LTP, Quote or Depth")


def _priority(frame: dict[str, Any]) -> int:
    value = frame.get("priority", 0)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MOST_PRIORITY:
        return value
    text = f"priority must be a whole number from -{MOST_PRIORITY} to {MOST_PRIORITY}"
    raise RequestError(ErrorCode.INVALID_PARAMETERS, text)


def _ping_echo(frame: dict[str, Any]) -> dict[str, Any]:
    names = {"timestamp": "client_timestamp", "_pingId": "_pingId"}
    return {reply: frame[name] for name, reply in names.items() if name in frame}


def _entries(frame: dict[str, Any], default: Mode | None) -> list[Entry]:
    # `instruments` is what OpenAlgo's published pages call the list; its own server never knew it.
    symbols = frame.get("symbols") or frame.get("instruments")
    if symbols:
        if not isinstance(symbols, list):
            raise RequestError(ErrorCode.INVALID_PARAMETERS, "symbols must be a list of objects")
        return [_entry(item, default) for item in symbols]
    if not frame.get("symbol") or not frame.get("exchange"):
        raise RequestError(ErrorCode.INVALID_PARAMETERS, "symbols, or symbol and exchange, are needed")
    return [_entry(frame, default)]


def _entry(item: object, default: Mode | None) -> Entry:
    if not isinstance(item, dict):
        return _faulty("", "", default, "an entry of symbols must be an object with symbol and exchange")
    symbol, exchange = item.get("symbol"), item.get("exchange")
    if not isinstance(symbol, str) or not isinstance(exchange, str) or not symbol or not exchange:
        symbol, exchange = (part if isinstance(part, str) else "" for part in (symbol, exchange))
        return _faulty(symbol, exchange, default, "symbol and exchange must be texts that are not empty")
    try:
        mode = _mode(item["mode"]) if "mode" in item else default
    except RequestError as error:
        return _faulty(symbol, exchange, default, error.message)
    return Entry(symbol, exchange, mode, Instrument(exchange.upper(), symbol))


def _faulty(symbol: str, exchange: str, mode: Mode | None, fault: str) -> Entry:
    return Entry(symbol, exchange, mode, Instrument(exchange, symbol), fault)


# -- replies ----------------------------------------------------------------------------------------------


def _reply(members: dict[str, Any], request_id: object = NO_ID) -> bytes:
    if request_id is not NO_ID:
        members["request_id"] = request_id
    return _encode(members)


def authenticated(broker: str, user_id: str) -> bytes:
    """The answer to a right key; under 1 KiB, because one client reads it with a single small recv."""
    return _reply(
        {
            "type": "auth",
            "status": "success",
            "message": "Authentication successful",
            "broker": broker,
            "user_id": user_id,
            "supported_features": {"ltp": True, "quote": True, "depth": True},
        }
    )


def refused_key(message: str, code: ErrorCode = ErrorCode.AUTHENTICATION_ERROR) -> bytes:
    """The answer to a key that does not open: typed, so that SDKs show it.

    One client takes any frame with "ok" or "success" in it for a welcome, so the text has neither.
    """
    return _reply({"type": "auth", "status": "error", "code": code.name, "message": message})


def error(code: ErrorCode, message: str) -> bytes:
    """Any other error: without a type, because clients correlate errors by its absence."""
    return _reply({"status": "error", "code": code.name, "message": message})


def pong(ping: Ping, server_ms: int) -> bytes:
    return _reply({"type": "pong", "status": "success", "server_timestamp": server_ms, **ping.echo})


def broker_info(broker: str, user_id: str, *, connected: bool) -> bytes:
    status = "connected" if connected else "disconnected"
    return _reply(
        {
            "type": "broker_info",
            "status": "success",
            "broker": broker,
            "adapter_status": status,
            "user_id": user_id,
        }
    )


def supported_brokers(brokers: Sequence[str]) -> bytes:
    return _reply(
        {"type": "supported_brokers", "status": "success", "brokers": list(brokers), "count": len(brokers)}
    )


def feed_status(broker: str, status: str, symbols_down: int, reason: str) -> bytes:
    """News of the broker's feed, which no request asked for; clients that do not know the type ignore it."""
    return _reply(
        {
            "type": "feed_status",
            "status": status,
            "broker": broker,
            "symbols_down": symbols_down,
            "message": reason,
        }
    )


def symbol_status(broker: str, status: str, instrument: Instrument, **members: object) -> bytes:
    """News of one symbol's feed: `stale` when its data has stopped, `gap` when it goes on, `delisted`."""
    return _reply(
        {
            "type": "feed_status",
            "status": status,
            "broker": broker,
            "symbol": instrument.symbol,
            "exchange": instrument.exchange,
            **members,
        }
    )


def orders(request: Orders) -> bytes:
    """The answer to a wish for order updates: typed, because clients wait for the type, and honest."""
    if not request.wanted:
        text = "No order updates are sent"
        return _reply(
            {"type": "unsubscribe_orders", "status": "success", "message": text}, request.request_id
        )
    code = ErrorCode.ORDERS_NOT_CARRIED
    members = {"type": "subscribe_orders", "status": "error", "code": code.name, "message": code.cause}
    return _reply(members, request.request_id)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one entry; `code` and `message` are set when it was refused."""

    entry: Entry
    code: ErrorCode | None = None
    message: str = ""


def subscribed(request: Subscribe, outcomes: Iterable[Outcome], depth: int, broker: str) -> bytes:
    """The answer to a subscribe: one item per entry, in the order of the request."""
    # Strict parsers read the label where they sent a number (and the other way round) as an error.
    mode: int | str = request.mode.label if isinstance(request.spelled, str) else int(request.mode)
    items = [_subscribed_item(outcome, mode, depth, broker) for outcome in outcomes]
    good = all(item["status"] == "success" for item in items)
    return _reply(
        {
            "type": "subscribe",
            "status": "success" if good else "partial",
            "subscriptions": items,
            "message": "Subscription processing complete",
            "broker": broker,
        },
        request.request_id,
    )


def _subscribed_item(outcome: Outcome, mode: int | str, depth: int, broker: str) -> dict[str, Any]:
    entry = outcome.entry
    item: dict[str, Any] = {"symbol": entry.symbol, "exchange": entry.exchange}
    if outcome.code is None:
        return item | {"status": "success", "mode": mode, "depth": depth, "broker": broker}
    item |= {"status": "error", "code": outcome.code.name, "mode": mode}
    return item | {"message": outcome.message, "broker": broker}


def unsubscribed(request: Unsubscribe | UnsubscribeAll, outcomes: Iterable[Outcome], broker: str) -> bytes:
    """The answer to an unsubscribe, or to unsubscribe_all."""
    successful, failed = [], []
    for outcome in outcomes:
        item = {"symbol": outcome.entry.symbol, "exchange": outcome.entry.exchange}
        if outcome.code is None:
            successful.append(item | {"status": "success", "broker": broker})
        else:
            failed.append(
                item
                | {"status": "error", "code": outcome.code.name, "message": outcome.message, "broker": broker}
            )
    everything = isinstance(request, UnsubscribeAll)
    return _reply(
        {
            "type": "unsubscribe_all" if everything else "unsubscribe",
            "status": "success" if not failed else "partial" if successful else "error",
            "message": f"{len(successful)} unsubscribed, {len(failed)} refused",
            "successful": successful,
            "failed": failed,
            "broker": broker,
        },
        request.request_id,
    )
