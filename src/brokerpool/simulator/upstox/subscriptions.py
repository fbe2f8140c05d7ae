"""What one Upstox socket asked for: requests read, limits kept by mode; pure.

Where the broker's documentation is silent, this is what is assumed:

- nothing is said of a request that is refused, and it changes nothing: one that would cross a limit, one that
  is not understood, and one in a text frame;
- the limits are those of a socket, each mode's own one while no other mode is in use, else the lower one;
- keys that the broker does not list are ignored and count nothing;
- a `sub` for a key that is subscribed changes its mode, as the official JavaScript client relies on;
- a `change_mode` for a key that is not subscribed is ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from brokerpool.simulator.broker_interface import Outcome
from brokerpool.simulator.upstox.wire import MODES
from brokerpool.ticks import Mode

_MODE_NAMES = {mode: name for name, mode in MODES.items()}


class ModeLimit(NamedTuple):
    """Instruments of a mode on one socket: alone there, and beside others."""

    alone: int
    mixed: int


#: The broker's figures (Upstox documentation, Market Data Feed V3).
MODE_LIMITS = {
    Mode.LTP: ModeLimit(5000, 2000),
    Mode.QUOTE: ModeLimit(3000, 2000),
    Mode.DEPTH: ModeLimit(2000, 1500),
}


class _Data(msgspec.Struct):
    instrumentKeys: list[str]  # noqa: N815  (the broker's spelling)
    mode: str = ""


class _Request(msgspec.Struct):
    method: str
    data: _Data
    guid: str = ""


class UpstoxSubscriptions:
    """The keys of one socket with their modes; `handle` takes the messages of its client."""

    def __init__(self, limit: float, tokens: Mapping[str, int]) -> None:
        """`limit` lowers that of every mode; `tokens` has the number of each key."""
        self._limit = limit
        self._tokens = tokens
        self.modes: dict[int, Mode] = {}
        #: A dial without a code is refused.
        self.logged_in = True
        #: The most keys that one request named.
        self.largest_batch = 0

    @property
    def entries(self) -> int:
        """Instruments that count against the limits."""
        return len(self.modes)

    def handle(self, message: str | bytes) -> Outcome:
        """Carry out one request, or tell what is wrong with it; never raises, whatever the message is."""
        if isinstance(message, str):
            return Outcome(error="Requests are binary messages.")
        try:
            request = msgspec.json.decode(message, type=_Request)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return Outcome(error="Malformed request. Expected JSON with method and data.")
        keys = request.data.instrumentKeys
        self.largest_batch = max(self.largest_batch, len(keys))
        tokens = [token for key in keys if (token := self._tokens.get(key)) is not None]
        if request.method == "unsub":
            return Outcome(removed=[token for token in tokens if self.modes.pop(token, None) is not None])
        mode = MODES.get(request.data.mode)
        if mode is None or request.method not in ("sub", "change_mode"):
            return Outcome(error="Unknown method or mode.")
        if request.method == "change_mode":
            tokens = [token for token in tokens if token in self.modes]
        return self._put(tokens, mode)

    def report(self) -> dict[str, str]:
        """Return the mode of every token in Upstox's words, ready for JSON."""
        return {str(token): _MODE_NAMES[mode] for token, mode in self.modes.items()}

    def _put(self, tokens: Sequence[int], mode: Mode) -> Outcome:
        wanted = self.modes | dict.fromkeys(tokens, mode)
        if not self._fits(wanted):
            return Outcome(error="More instruments than the limits allow.", over_limit=True)
        added = [token for token in dict.fromkeys(tokens) if token not in self.modes]
        remoded = [token for token in dict.fromkeys(tokens) if self.modes.get(token, mode) is not mode]
        self.modes = wanted
        return Outcome(added=added, remoded=remoded)

    def _fits(self, wanted: Mapping[int, Mode]) -> bool:
        counts = {mode: count for mode in Mode if (count := list(wanted.values()).count(mode))}
        mixed = len(counts) > 1
        return all(
            count <= min(self._limit, MODE_LIMITS[mode].mixed if mixed else MODE_LIMITS[mode].alone)
            for mode, count in counts.items()
        )
