"""What clients ask in the OpenAlgo client protocol, action by action; `client_replies` answers; no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, overload

import msgspec

from brokerpool.errors import ErrorCode
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode

_MODES = {"ltp": Mode.LTP, "quote": Mode.QUOTE, "depth": Mode.DEPTH}
MOST_PRIORITY = 9
#: Symbols of one request, unless the caller allows another number: what is decoded in 5 ms, whatever it is.
MOST_ENTRIES = 4_000
#: Commas and opening brackets that one of them may take: four members and what is around them, and room.
_SEPARATORS = 6
#: Of a symbol or an exchange: names are remembered, and shown to people.
_MOST_CHARACTERS = 256
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


class Entries(Sequence[Entry]):
    """The symbols of a request; each is understood when it is looked at, so a slice costs what it holds."""

    __slots__ = ("_default", "_items")

    def __init__(self, items: Sequence[object], default: Mode | None) -> None:
        self._items = items
        self._default = default

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, at: int) -> Entry: ...

    @overload
    def __getitem__(self, at: slice) -> list[Entry]: ...

    def __getitem__(self, at: int | slice) -> Entry | list[Entry]:
        if isinstance(at, slice):
            return [_entry(item, self._default) for item in self._items[at]]
        return _entry(self._items[at], self._default)


@dataclass(frozen=True, slots=True)
class Authenticate:
    api_key: str | None


@dataclass(frozen=True, slots=True)
class Ping:
    #: Members to be echoed: client_timestamp, _pingId.
    echo: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Subscribe:
    entries: Entries
    mode: Mode
    #: The mode as the client wrote it: a number or a text; acknowledgements use the same form.
    spelled: int | str
    request_id: Any
    #: What is carried first while connections are out; 0 unless the client says otherwise.
    priority: int = 0
    #: Levels of the order book that the client wants on each side; 0 where it does not say.
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    #: An entry without a mode gives up every mode.
    entries: Entries
    request_id: Any


@dataclass(frozen=True, slots=True)
class UnsubscribeAll:
    request_id: Any


@dataclass(frozen=True, slots=True)
class ListSubscriptions:
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
    Authenticate
    | Ping
    | Subscribe
    | Unsubscribe
    | UnsubscribeAll
    | ListSubscriptions
    | Orders
    | BrokerInfo
    | SupportedBrokers
)

#: What a reply echoes when the request carried no request_id.
NO_ID = msgspec.UNSET


def parse(message: str | bytes, most_entries: int = MOST_ENTRIES) -> Request:
    """Return the request that the frame holds. Raises RequestError for anything else, whatever it is.

    Decoding is one call and cannot be sliced, so what has more parts than a request of `most_entries`
    symbols is refused before it. What few parts cost grows with the bytes alone.
    """
    try:
        raw = message.encode() if isinstance(message, str) else message
        if _has_more_parts(raw, _SEPARATORS * most_entries):
            raise _too_large(most_entries)
        frame = _decode(raw)
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
            entries = _entries(frame, None, most_entries)
            return Subscribe(entries, mode, spelled, request_id, _priority(frame), _depth(frame))
        case "unsubscribe":
            default = _mode(frame["mode"]) if "mode" in frame else None
            return Unsubscribe(_entries(frame, default, most_entries), request_id)
        case "unsubscribe_all":
            return UnsubscribeAll(request_id)
        case "list_subscriptions":
            return ListSubscriptions(request_id)
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


def _depth(frame: dict[str, Any]) -> int:
    # `depth_level` is what OpenAlgo's published pages call it. Neither was ever refused, whatever it was.
    value = frame.get("depth", frame.get("depth_level", 0))
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _ping_echo(frame: dict[str, Any]) -> dict[str, Any]:
    names = {"timestamp": "client_timestamp", "_pingId": "_pingId"}
    return {reply: frame[name] for name, reply in names.items() if name in frame}


def _has_more_parts(raw: bytes, most: int) -> bool:
    found = 0
    for separator in (b",", b"{", b"["):
        found += raw.count(separator)
        if found > most:
            return True
    return False


def _too_large(most_entries: int) -> RequestError:
    text = f"one request may have {most_entries} symbols of a few members each"
    return RequestError(ErrorCode.REQUEST_TOO_LARGE, text)


def _entries(frame: dict[str, Any], default: Mode | None, most: int) -> Entries:
    # `instruments` is what OpenAlgo's published pages call the list; its own server never knew it.
    symbols = frame.get("symbols") or frame.get("instruments")
    if symbols:
        if not isinstance(symbols, list):
            raise RequestError(ErrorCode.INVALID_PARAMETERS, "symbols must be a list of objects")
        if len(symbols) > most:
            raise _too_large(most)
        return Entries(symbols, default)
    if not frame.get("symbol") or not frame.get("exchange"):
        raise RequestError(ErrorCode.INVALID_PARAMETERS, "symbols, or symbol and exchange, are needed")
    return Entries([frame], default)


def _entry(item: object, default: Mode | None) -> Entry:
    if not isinstance(item, dict):
        return _faulty("", "", default, "an entry of symbols must be an object with symbol and exchange")
    symbol, exchange = item.get("symbol"), item.get("exchange")
    if not isinstance(symbol, str) or not isinstance(exchange, str) or not symbol or not exchange:
        symbol, exchange = (part if isinstance(part, str) else "" for part in (symbol, exchange))
        return _faulty(symbol, exchange, default, "symbol and exchange must be texts that are not empty")
    if len(symbol) > _MOST_CHARACTERS or len(exchange) > _MOST_CHARACTERS:
        text = f"symbol and exchange may have {_MOST_CHARACTERS} characters each"
        return _faulty(symbol, exchange, default, text)
    try:
        mode = _mode(item["mode"]) if "mode" in item else default
    except RequestError as error:
        return _faulty(symbol, exchange, default, error.message)
    return Entry(symbol, exchange, mode, Instrument(exchange.upper(), symbol))


def _faulty(symbol: str, exchange: str, mode: Mode | None, fault: str) -> Entry:
    return Entry(symbol, exchange, mode, Instrument(exchange, symbol), fault)
