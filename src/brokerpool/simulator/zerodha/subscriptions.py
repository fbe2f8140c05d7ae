"""What one Kite socket asked for: requests read, limits kept; pure.

Where the broker's documentation is silent, this is what is assumed:

- a batch that would cross the limit is refused whole, as the published error says that nothing changes;
- a token subscribed twice counts twice against the limit and is sent once (the broker's staff say so);
  one unsubscribe takes all its entries away, and its mode stays what it was;
- tokens that the broker does not list are ignored and count nothing;
- a mode for a token that is not subscribed is ignored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from brokerpool.simulator.broker_interface import Outcome
from brokerpool.ticks import Mode

MODES = {"ltp": Mode.LTP, "quote": Mode.QUOTE, "full": Mode.DEPTH}
_MODE_NAMES = {mode: name for name, mode in MODES.items()}


class _Request(msgspec.Struct):
    a: str
    v: Any = None


class KiteSubscriptions:
    """The tokens of one socket with their modes; `handle` takes the messages of its client."""

    def __init__(self, limit: float, lists: Callable[[int], bool]) -> None:
        self._limit = limit
        self._lists = lists
        self._times: dict[int, int] = {}
        self.modes: dict[int, Mode] = {}
        #: A dial without credentials is refused.
        self.logged_in = True
        #: Subscribe entries that count against the limit, duplicates included.
        self.entries = 0
        #: The most tokens that one request named.
        self.largest_batch = 0

    def handle(self, message: str | bytes) -> Outcome:
        """Carry out one request, or tell what is wrong with it; never raises, whatever the message is."""
        if isinstance(message, bytes):
            return Outcome(error="Requests are text messages.")
        try:
            request = msgspec.json.decode(message, type=_Request)
            match request.a:
                case "subscribe":
                    return self._subscribe(self._tokens(request.v))
                case "unsubscribe":
                    return self._unsubscribe(self._tokens(request.v))
                case "mode":
                    mode, tokens = msgspec.convert(request.v, tuple[str, list[int]])
                    if mode not in MODES:
                        return Outcome(error="Unknown mode. Use ltp, quote or full.")
                    return self._set_mode(MODES[mode], self._tokens(tokens))
        except (msgspec.MsgspecError, RecursionError):
            return Outcome(error="Malformed request. Expected JSON with a (the action) and v (the tokens).")
        return Outcome(error="Unknown action. Use subscribe, unsubscribe or mode.")

    def report(self) -> dict[str, str]:
        """Return the mode of every token in Kite's words, ready for JSON."""
        return {str(token): _MODE_NAMES[mode] for token, mode in self.modes.items()}

    def _tokens(self, value: object) -> list[int]:
        tokens = msgspec.convert(value, list[int])
        self.largest_batch = max(self.largest_batch, len(tokens))
        return [token for token in tokens if self._lists(token)]

    def _subscribe(self, tokens: list[int]) -> Outcome:
        if self.entries + len(tokens) > self._limit:
            return Outcome(error=f"Can't subscribe to more than {self._limit} instruments.", over_limit=True)
        added = []
        for token in tokens:
            if token not in self.modes:
                self.modes[token] = Mode.QUOTE
                added.append(token)
            self._times[token] = self._times.get(token, 0) + 1
        self.entries += len(tokens)
        return Outcome(added=added)

    def _unsubscribe(self, tokens: list[int]) -> Outcome:
        removed = []
        for token in tokens:
            if self.modes.pop(token, None) is not None:
                self.entries -= self._times.pop(token)
                removed.append(token)
        return Outcome(removed=removed)

    def _set_mode(self, mode: Mode, tokens: list[int]) -> Outcome:
        remoded = []
        for token in tokens:
            if self.modes.get(token, mode) != mode:
                self.modes[token] = mode
                remoded.append(token)
        return Outcome(remoded=remoded)
