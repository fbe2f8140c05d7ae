"""Acme's feed: JSON in text frames, a hello that carries the login, signs of life, refusals by name; pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from brokerpool.brokers.wire import LONGEST_TEXT, ControlBatch, Farewell, Signal, SignalKind, Wire
from brokerpool.instruments import Instrument, Token
from brokerpool.ticks import Mode, Tick

from .prices import Price, tick

#: Acme ends a socket with it when the login has come to its end.
_LOGGED_OUT = 4001

_DETAIL = {Mode.LTP: "last", Mode.QUOTE: "day", Mode.DEPTH: "book"}
_SIGNALS = {"ready": SignalKind.READY, "denied": SignalKind.LOGIN_REFUSED, "no": SignalKind.REFUSED}


class _Said(msgspec.Struct):
    """One message of Acme's: what it is, and what goes with that."""

    what: str = msgspec.field(name="is")
    why: str = ""
    ids: list[str] = []
    prices: list[Price] = []


class AcmeWire(Wire):
    """The messages of one socket."""

    def __init__(self, feed_token: str) -> None:
        self.skipped = {"malformed": 0, "unknown_token": 0}
        self.signals: list[Signal] = []
        self._feed_token = feed_token

    def hello(self) -> list[str]:
        """Return the message that logs in; Acme's upgrade carries no credentials."""
        return [_message(do="hello", token=self._feed_token)]

    def heartbeat(self) -> str:
        """Return what Acme wants to hear every 1.5 s."""
        return _message(do="alive")

    def requests(self, batch: ControlBatch) -> list[str]:
        """Return one message for what is to go, and one for each detail that is wanted."""
        messages = [_message(do="drop", ids=list(batch.drop))] if batch.drop else []
        wanted = {**batch.add, **batch.remode}
        for mode, detail in _DETAIL.items():
            ids = [token for token, its in wanted.items() if its is mode]
            if ids:
                messages.append(_message(do="add", ids=ids, detail=detail))
        return messages

    def binary(
        self, payload: bytes | memoryview, routes: Mapping[Token, Instrument], received_ms: int
    ) -> list[Tick]:
        """Acme sends none."""
        self.skipped["malformed"] += 1
        return []

    def text(self, message: str, routes: Mapping[Token, Instrument], received_ms: int) -> list[Tick]:
        """Return the ticks of one message; what is none becomes a signal."""
        try:
            said = msgspec.json.decode(message, type=_Said)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            self.skipped["malformed"] += 1
            return []
        if said.what != "prices":
            kind = _SIGNALS.get(said.what, SignalKind.UNKNOWN)
            self.signals.append(Signal(kind, said.why[:LONGEST_TEXT], said.ids))
            return []
        self.skipped["unknown_token"] += sum(price.id not in routes for price in said.prices)
        return [tick(routes[price.id], price) for price in said.prices if price.id in routes]

    def farewell(self, code: int, reason: str) -> Farewell:
        """Tell a login that has ended from a socket that was lost."""
        return Farewell.CREDENTIALS if code == _LOGGED_OUT else Farewell.LOST


def _message(**members: object) -> str:
    return msgspec.json.encode(members).decode()
