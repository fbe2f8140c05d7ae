"""What one SmartStream socket asked for: requests read, pairs of token and mode counted; pure.

Where the broker's documentation is silent, this is what is assumed:

- a request that would cross the limit is refused whole, as a failed one leaves all others alone;
- tokens that the broker does not list are ignored and count nothing;
- mode 4, the book of 20 levels, is refused as a bad request: this market has five levels.

A token in several modes counts once for each and is sent in the fullest only, where the broker sends a packet
for each.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import msgspec

from brokerpool.simulator.angel.instruments import joined
from brokerpool.simulator.broker_interface import Outcome
from brokerpool.ticks import Mode

_NAMES = {Mode.LTP: "LTP", Mode.QUOTE: "QUOTE", Mode.DEPTH: "SNAP_QUOTE"}
_SUBSCRIBE, _UNSUBSCRIBE = 1, 0
_PING, _PONG = "ping", b"pong"
_BAD_REQUEST, _LIMIT_EXCEEDED = "E1001", "E1002"


class _Part(msgspec.Struct):
    segment: int = msgspec.field(name="exchangeType")
    tokens: list[str]


class _Params(msgspec.Struct):
    mode: int
    asked: list[_Part] = msgspec.field(name="tokenList")


class _Request(msgspec.Struct):
    action: int
    params: _Params
    id: str = msgspec.field(name="correlationID", default="")


class _Named(msgspec.Struct):
    id: str = msgspec.field(name="correlationID", default="")


class SmartStreamSubscriptions:
    """The tokens of one socket with their modes; `handle` takes the messages of its client."""

    def __init__(self, limit: float, lists: Callable[[int], bool]) -> None:
        self._limit = limit
        self._lists = lists
        self._pairs: dict[int, set[Mode]] = {}
        #: The fullest mode of every token.
        self.modes: dict[int, Mode] = {}
        #: A dial without credentials is refused.
        self.logged_in = True
        #: Pairs of token and mode, which are what counts against the limit.
        self.entries = 0
        #: The most tokens that one request named.
        self.largest_batch = 0

    def handle(self, message: str | bytes) -> Outcome:
        """Carry out one request, or tell what is wrong with it; never raises, whatever the message is."""
        if message == _PING:
            return Outcome(answers=(_PONG,))
        try:
            request = msgspec.json.decode(message, type=_Request)
            mode = Mode(request.params.mode)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return _refused(_BAD_REQUEST, "Invalid request payload.", _id(message))
        tokens = self._tokens(request.params.asked)
        if request.action == _SUBSCRIBE:
            return self._subscribe(tokens, mode, request.id)
        if request.action == _UNSUBSCRIBE:
            return self._unsubscribe(tokens, mode)
        return _refused(_BAD_REQUEST, "Invalid request payload: no such action.", request.id)

    def report(self) -> dict[str, str]:
        """Return the modes of every token in Angel's words, ready for JSON."""
        return {
            str(token): "+".join(_NAMES[mode] for mode in sorted(modes))
            for token, modes in self._pairs.items()
        }

    def _tokens(self, asked: list[_Part]) -> list[int]:
        named = [joined(part.segment, number) for part in asked for number in part.tokens]
        self.largest_batch = max(self.largest_batch, len(named))
        return [token for token in dict.fromkeys(named) if token is not None and self._lists(token)]

    def _subscribe(self, tokens: list[int], mode: Mode, request: str) -> Outcome:
        new = [token for token in tokens if mode not in self._pairs.get(token, ())]
        if self.entries + len(new) > self._limit:
            text = f"Subscription limit exceeded: more than {self._limit} tokens and modes."
            return _refused(_LIMIT_EXCEEDED, text, request)
        self.entries += len(new)
        added: list[int] = []
        remoded: list[int] = []
        for token in new:
            self._pairs.setdefault(token, set()).add(mode)
            (remoded if token in self.modes else added).append(token)
        return self._changed(added, [], remoded)

    def _unsubscribe(self, tokens: list[int], mode: Mode) -> Outcome:
        gone = [token for token in tokens if mode in self._pairs.get(token, ())]
        self.entries -= len(gone)
        removed: list[int] = []
        remoded: list[int] = []
        for token in gone:
            self._pairs[token].discard(mode)
            (remoded if self._pairs[token] else removed).append(token)
        return self._changed([], removed, remoded)

    def _changed(self, added: list[int], removed: list[int], touched: list[int]) -> Outcome:
        for token in removed:
            del self._pairs[token], self.modes[token]
        remoded = [token for token in touched if max(self._pairs[token]) != self.modes[token]]
        for token in (*added, *remoded):
            self.modes[token] = max(self._pairs[token])
        return Outcome(added, removed, remoded)


def _refused(code: str, message: str, request: str) -> Outcome:
    told = {"correlationID": request, "errorCode": code, "errorMessage": message}
    return Outcome(error=json.dumps(told), over_limit=code == _LIMIT_EXCEEDED)


def _id(message: str | bytes) -> str:
    try:
        return msgspec.json.decode(message, type=_Named).id
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return ""
