"""What one Dhan socket asked for: requests read, limits kept; pure.

Where the broker's documentation is silent, this is what is assumed:

- a message that would cross a limit changes nothing, and the socket ends with code 804 unless told otherwise;
- a message that cannot be read ends the socket with 814;
- a second mode takes the place of the first, and a mode ends under its own code only;
- securities that the broker does not list are ignored and count nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import msgspec

from brokerpool.simulator.broker_interface import Outcome
from brokerpool.simulator.dhan.instruments import SEGMENTS
from brokerpool.simulator.dhan.wire import (
    INVALID_REQUEST,
    TOO_MANY_INSTRUMENTS,
    disconnect,
    open_interest,
    previous_close,
)
from brokerpool.simulator.exchange import Quote
from brokerpool.ticks import Mode

#: The codes that begin a mode; one more ends it (DhanHQ v2 documentation, annexure).
MODES = {15: Mode.LTP, 17: Mode.QUOTE, 21: Mode.DEPTH}
_GOODBYE = 12
#: Instruments in one message.
MOST_IN_MESSAGE = 100


class _Named(msgspec.Struct, rename="pascal"):
    exchange_segment: str
    security_id: str


class _Request(msgspec.Struct, rename="pascal"):
    request_code: int
    instrument_count: int = 0
    instrument_list: list[_Named] = []


class DhanSubscriptions:
    """The tokens of one socket with their modes; `handle` takes the messages of its client."""

    begins: ClassVar[Mapping[int, Mode]] = MODES
    ends: ClassVar[Mapping[int, Mode]] = {code + 1: mode for code, mode in MODES.items()}
    names: ClassVar[Mapping[Mode, str]] = {Mode.LTP: "ticker", Mode.QUOTE: "quote", Mode.DEPTH: "full"}
    most_in_message: ClassVar[int] = MOST_IN_MESSAGE

    def __init__(
        self,
        limit: float,
        lists: Callable[[int], bool],
        quotes: Mapping[int, Quote],
        *,
        over_limit_ends: bool = True,
    ) -> None:
        """`quotes` have the close of the session before, which every subscription is answered with."""
        self._limit = limit
        self._lists = lists
        self._quotes = quotes
        self._over_limit_ends = over_limit_ends
        self.modes: dict[int, Mode] = {}
        #: A dial without credentials is ended at once.
        self.logged_in = True
        #: The most tokens that one request named.
        self.largest_batch = 0

    @property
    def entries(self) -> int:
        """Tokens that count against the limit."""
        return len(self.modes)

    def handle(self, message: str | bytes) -> Outcome:
        """Carry out one request, or tell what is wrong with it; never raises, whatever the message is."""
        if isinstance(message, bytes):
            return self._wrong("Requests are text messages.")
        try:
            request = msgspec.json.decode(message, type=_Request)
            tokens = [token for named in request.instrument_list if (token := _token(named)) is not None]
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return self._wrong("Malformed request.")
        if request.request_code == _GOODBYE:
            return Outcome(ends=True)
        named = len(request.instrument_list)
        self.largest_batch = max(self.largest_batch, named)
        if named != request.instrument_count or not named:
            return self._wrong(f"{request.instrument_count} instruments announced, {named} named.")
        if named > self.most_in_message:
            return self._too_many(f"{named} instruments in a message, at most {self.most_in_message} taken.")
        known = [token for token in dict.fromkeys(tokens) if self._lists(token)]
        if (mode := self.begins.get(request.request_code)) is not None:
            return self._subscribe(mode, known)
        if (mode := self.ends.get(request.request_code)) is not None:
            return self._unsubscribe(mode, known)
        return self._wrong(f"Unknown request code {request.request_code}.")

    def report(self) -> dict[str, str]:
        """Return the mode of every token in Dhan's words, ready for JSON."""
        return {str(token): self.names[mode] for token, mode in self.modes.items()}

    def _subscribe(self, mode: Mode, tokens: Sequence[int]) -> Outcome:
        added = [token for token in tokens if token not in self.modes]
        if len(self.modes) + len(added) > self._limit:
            return self._too_many(f"More than {self._limit} instruments.")
        remoded = [token for token in tokens if self.modes.get(token, mode) != mode]
        self.modes.update(dict.fromkeys(tokens, mode))
        told = [packet for token in tokens for packet in self._told(token, mode)]
        return Outcome(added=added, remoded=remoded, messages=told)

    def _unsubscribe(self, mode: Mode, tokens: Sequence[int]) -> Outcome:
        removed = [token for token in tokens if self.modes.get(token) == mode]
        for token in removed:
            del self.modes[token]
        return Outcome(removed=removed)

    def _told(self, token: int, mode: Mode) -> list[bytes]:
        quote = self._quotes.get(token)
        if quote is None:
            return []
        return [previous_close(quote), *([open_interest(quote)] if quote.oi and mode is Mode.QUOTE else [])]

    def _too_many(self, error: str) -> Outcome:
        messages = (self._disconnect(TOO_MANY_INSTRUMENTS),)
        return Outcome(error=error, over_limit=True, messages=messages, ends=self._over_limit_ends)

    def _wrong(self, error: str) -> Outcome:
        return Outcome(error=error, messages=(self._disconnect(INVALID_REQUEST),), ends=True)

    def _disconnect(self, reason: int) -> bytes:
        return disconnect(reason)


def _token(named: _Named) -> int | None:
    segment = SEGMENTS.get(named.exchange_segment)
    if segment is None or not named.security_id.isdecimal():
        return None
    return int(named.security_id) << 8 | segment
