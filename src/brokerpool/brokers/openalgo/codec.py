"""OpenAlgo's client protocol from the client's side: JSON in text frames, modes of their own lives; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import msgspec

from brokerpool.brokers.openalgo.market_data import UNREADABLE, Frame, mended, read, tick
from brokerpool.brokers.wire import LONGEST_TEXT, ControlBatch, Farewell, Signal, SignalKind, Wire
from brokerpool.instruments import Instrument, Token
from brokerpool.ticks import Mode, Tick

#: Symbols in one frame; OpenAlgo's own SDK names thousands.
MOST_IN_FRAME = 200
#: Levels of the order book that are asked for.
DEPTH = 5

#: OpenAlgo ends a socket with it that did not authenticate in time.
AUTH_TIMEOUT = 4401
#: A brokerpool ends one with it whose key is not valid any more.
KEY_REVOKED = 4403

#: Answers to a key that speak against the key itself, by type and code; older servers give no type. What
#: others say, such as a lock-out, passes by itself.
_KEY_REFUSED = (
    ("auth", None),
    ("auth", "AUTHENTICATION_ERROR"),
    ("auth", "SCOPE_MISSING"),
    ("", "AUTHENTICATION_ERROR"),
)

_MODES: Mapping[object, Mode] = {mode.label: mode for mode in Mode} | {int(mode): mode for mode in Mode}

_encode = msgspec.json.Encoder().encode


class OpenAlgoWire(Wire):
    """Reads and writes the messages of one socket.

    A token is `EXCHANGE:SYMBOL`. The server keeps a subscription for each mode of a symbol, so a new mode is
    subscribed first, and the old one given up when the new one is acknowledged: where it is refused, the old
    one goes on.
    """

    def __init__(self, api_key: str, *, orders: bool = False, one_symbol_a_frame: bool = False) -> None:
        """With `orders` updates of orders are asked for as well."""
        self.skipped = dict.fromkeys(("unknown_token", "no_price", "stale", "malformed", "unknown_frame"), 0)
        self.signals: list[Signal] = []
        self._api_key = api_key
        self._orders = orders
        self._most = 1 if one_symbol_a_frame else MOST_IN_FRAME
        #: The mode that each token was asked for last, and all in which it may still be served.
        self._wanted: dict[Token, Mode] = {}
        self._held: dict[Token, set[Mode]] = {}
        #: Of which a brokerpool has said that the data has stopped, each with what has filled its hole.
        self._stopped: dict[Token, Tick | None] = {}
        #: Whether the server has judged the key on this socket, either way.
        self._judged = False

    # -- what is sent -------------------------------------------------------------------------------------

    def hello(self) -> list[str]:
        """Return the message that authenticates."""
        return [_message(action="authenticate", api_key=self._api_key)]

    def heartbeat(self) -> str:
        """Return the ping of the protocol, which the server answers with a pong."""
        return _message(action="ping")

    def requests(self, batch: ControlBatch) -> list[str]:
        """Return the messages of a batch: what is given up, each in its modes, then one mode after the other.

        Each subscribe carries its mode as `request_id`, so that its answer tells of which mode it speaks.
        """
        given_up = [(token, mode) for token in batch.drop for mode in sorted(self._held.pop(token, ()))]
        for token in batch.drop:
            self._wanted.pop(token, None)
            self._stopped.pop(token, None)
        messages = self._given_up(given_up)
        for mode in Mode:
            tokens = [token for part in (batch.add, batch.remode) for token, m in part.items() if m is mode]
            for token in tokens:
                self._wanted[token] = mode
                self._held.setdefault(token, set()).add(mode)
            for chunk in _chunks(tokens, self._most):
                entries = [_entry(token) for token in chunk]
                named = entries[0] if self._most == 1 else {"symbols": entries}
                messages.append(
                    _message(action="subscribe", mode=int(mode), depth=DEPTH, request_id=int(mode), **named)
                )
        return messages

    def _given_up(self, pairs: Iterable[tuple[Token, Mode]]) -> list[str]:
        """Return the messages that end these; the mode stands in each entry, where servers look for it."""
        messages = []
        for chunk in _chunks(pairs, self._most):
            entries = [{**_entry(token), "mode": int(mode)} for token, mode in chunk]
            named = entries[0] if self._most == 1 else {"symbols": entries}
            messages.append(_message(action="unsubscribe", **named))
        return messages

    # -- what comes ---------------------------------------------------------------------------------------

    def binary(
        self, payload: bytes | memoryview, routes: Mapping[Token, Instrument], received_ms: int
    ) -> list[Tick]:
        """Read a text that came in a binary frame."""
        try:
            text = str(payload, "utf-8")
        except UnicodeDecodeError:
            self.skipped["malformed"] += 1
            return []
        return self.text(text, routes, received_ms)

    def text(self, message: str, routes: Mapping[Token, Instrument], received_ms: int) -> list[Tick]:
        """Return the tick of one frame; what is no market data becomes signals."""
        try:
            frame = read(message)
        except UNREADABLE:
            return self._other(message, routes, received_ms)
        return self._ticks(frame, routes, received_ms)

    def farewell(self, code: int, reason: str) -> Farewell:
        """Tell a key that is not valid (any more) from a server that was too slow to judge it."""
        refused = code == KEY_REVOKED or (code == AUTH_TIMEOUT and self._judged)
        return Farewell.CREDENTIALS if refused else Farewell.LOST

    def _ticks(self, frame: Frame, routes: Mapping[Token, Instrument], received_ms: int) -> list[Tick]:
        token = f"{frame.exchange}:{frame.symbol}"
        instrument = routes.get(token)
        if instrument is None:
            self.skipped["unknown_token"] += 1
            return []
        if frame.stale:
            self.skipped["stale"] += 1
            self._tell(SignalKind.GAP_BEGUN, "further up its data has stopped", [token])
            return []
        found = tick(frame, instrument, received_ms)
        if found is None:
            self.skipped["no_price"] += 1
            return []
        if frame.snapshot and token in self._stopped:
            # It fills a hole that is still open, and must not look like the tick that ends it.
            self._stopped[token] = found
            return []
        return [found]

    def _other(self, message: str, routes: Mapping[Token, Instrument], received_ms: int) -> list[Tick]:
        try:
            said = msgspec.json.decode(message)
        except UNREADABLE:
            said = None
        if not isinstance(said, dict):
            self.skipped["malformed"] += 1
            self._tell(SignalKind.UNKNOWN, message)
            return []
        match said.get("type"):
            case "market_data":
                frame = mended(said)
                if frame is not None:
                    return self._ticks(frame, routes, received_ms)
                self.skipped["malformed"] += 1
            case "pong" | "unsubscribe":
                pass
            case "subscribe" if isinstance(said.get("subscriptions"), list):
                self._acknowledged(said)
            case "auth":
                self._authenticated(said)
            case "feed_status" if str(said.get("status")).startswith("orders_"):
                # What a brokerpool says of its order updates is for whoever gets them.
                self.signals.append(Signal(SignalKind.ORDER_UPDATE, message))
            case "feed_status":
                return self._feed_status(said, message)
            case "order_update":
                self.signals.append(Signal(SignalKind.ORDER_UPDATE, message))
            case kind if said.get("status") == "error":
                self._complaint(said, str(kind or ""))
            case "subscribe_orders" | "unsubscribe_orders" | "supported_brokers" | "broker_info":
                self._tell(SignalKind.TOLD, _words(said))
            case _:
                self.skipped["unknown_frame"] += 1
                self._tell(SignalKind.UNKNOWN, message)
        return []

    def _authenticated(self, said: Mapping[str, Any]) -> None:
        if said.get("status") != "success":
            self._complaint(said, "auth")
            return
        self._judged = True
        self._tell(SignalKind.READY, _words(said))
        if self._orders:
            self._tell(SignalKind.ANSWER, _message(action="subscribe_orders"))

    def _complaint(self, said: Mapping[str, Any], kind: str) -> None:
        """Tell an error; without a type of its own it may be the answer to the key."""
        code = said.get("code")
        if (kind, code) in _KEY_REFUSED:
            self._judged = True
            self._tell(SignalKind.LOGIN_REFUSED, _words(said))
        else:
            self._tell(SignalKind.REFUSED, f"{code or kind or 'error'}: {_words(said)}")

    def _acknowledged(self, said: Mapping[str, Any]) -> None:
        asked = _mode(said.get("request_id"))
        accepted: list[Token] = []
        refused: dict[str, list[Token]] = {}
        released: list[tuple[Token, Mode]] = []
        for item in said["subscriptions"]:
            if not isinstance(item, dict):
                continue
            token = f"{item.get('exchange')}:{item.get('symbol')}"
            wanted = self._wanted.get(token)
            mode = asked or _mode(item.get("mode")) or wanted
            if wanted is not None and mode is not wanted:
                continue  # of a wish that is not the last one
            if item.get("status") == "success":
                accepted.append(token)
                released += [(token, old) for old in sorted(self._held.get(token, ())) if old is not wanted]
            else:
                refused.setdefault(_words(item), []).append(token)
        if accepted:
            self._tell(SignalKind.ACCEPTED, "", accepted)
        for words, tokens in refused.items():
            self._tell(SignalKind.REFUSED, words, tokens)
        # They stay among what is held, for not every answer leaves: a drop gives up all modes once more.
        for message in self._given_up(released):
            self._tell(SignalKind.ANSWER, message)

    def _feed_status(self, said: Mapping[str, Any], message: str) -> list[Tick]:
        """Read a brokerpool's news: of the whole feed, of one symbol, or of order updates.

        A hole that was filled ends with the value that filled it, which may be the newest for long.
        """
        token = f"{said['exchange']}:{said['symbol']}" if {"exchange", "symbol"} <= said.keys() else None
        words = _words(said)
        match said.get("status"):
            case "stale" if token is not None:
                if token in self._wanted:
                    self._stopped.setdefault(token)
                self._tell(SignalKind.GAP_BEGUN, words, [token])
            case "gap" if token is not None:
                # Whether we were told of its beginning or not: it is over with the next tick.
                self._tell(SignalKind.GAP_BEGUN, words, [token])
                self._tell(SignalKind.GAP_OVER, words, [token])
                filled = self._stopped.pop(token, None)
                return [filled] if filled is not None else []
            case "delisted" if token is not None:
                self._tell(SignalKind.REFUSED, words, [token])
            case "orders_stale" | "orders_gap" | "orders_dropped":
                # They have a place among the updates, and are for the same ears.
                self.signals.append(Signal(SignalKind.ORDER_UPDATE, message))
            case status:
                self._tell(SignalKind.TOLD, f"{status}: {words}")
        return []

    def _tell(self, kind: SignalKind, text: str, tokens: Sequence[Token] = ()) -> None:
        if kind is not SignalKind.ANSWER:
            # A server that quotes what it was sent must not bring the key into a log.
            text = text.replace(self._api_key, "...")[:LONGEST_TEXT] if self._api_key else text[:LONGEST_TEXT]
        self.signals.append(Signal(kind, text, tokens))


def _entry(token: Token) -> dict[str, Any]:
    exchange, _, symbol = str(token).partition(":")
    return {"symbol": symbol, "exchange": exchange}


def _message(**members: object) -> str:
    return _encode(members).decode()


def _mode(value: object) -> Mode | None:
    return _MODES.get(value) if type(value) in (str, int) else None


def _words(said: Mapping[str, Any]) -> str:
    message = said.get("message")
    return message if isinstance(message, str) else ""


def _chunks(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
