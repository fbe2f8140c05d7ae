"""The simulated 20-level depth of Dhan: a second endpoint beside the live market feed, with its own limits.

Where the broker's documentation is silent, this is what is assumed: as at the live market feed a sixth socket
ends the first; segments that have no such depth are ignored, as securities are that are not listed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from brokerpool.simulator.account_state import OpenSocket, Venue
from brokerpool.simulator.client_socket import ClientSocket, DismissedSocket
from brokerpool.simulator.dhan import wire
from brokerpool.simulator.dhan.depth20_wire import Depth20Packets, disconnect
from brokerpool.simulator.dhan.instruments import NSE_EQ, NSE_FNO
from brokerpool.simulator.dhan.subscriptions import DhanSubscriptions
from brokerpool.simulator.exchange import Market, Quote
from brokerpool.simulator.fault_switches import Faults
from brokerpool.simulator.traffic_ledger import Ledger
from brokerpool.ticks import Mode
from brokerpool.transport import LinkHandler, Refusal, UpgradeRequest

PATH = "/twentydepth"
#: The broker's own figures (DhanHQ v2 documentation, 20 level market depth).
MAX_SOCKETS, MAX_TOKENS = 5, 50

_SWITCHING_PROTOCOLS, _GOING_AWAY, _UNAVAILABLE = 101, 1001, 503


class Depth20Subscriptions(DhanSubscriptions):
    """The tokens of one socket; there is one mode, which ends under the client's code as well."""

    begins: ClassVar[Mapping[int, Mode]] = {23: Mode.DEPTH}
    ends: ClassVar[Mapping[int, Mode]] = {25: Mode.DEPTH, 24: Mode.DEPTH}
    names: ClassVar[Mapping[Mode, str]] = {Mode.DEPTH: "depth20"}
    most_in_message: ClassVar[int] = MAX_TOKENS

    def _told(self, token: int, mode: Mode) -> list[bytes]:
        return []

    def _disconnect(self, reason: int) -> bytes:
        return disconnect(reason)


class Depth20Feed:
    """The sockets of the second endpoint, and its switches; what it saw is counted apart."""

    def __init__(
        self,
        market: Market,
        *,
        fault: Callable[[UpgradeRequest], int | None],
        clock: Callable[[], float],
        max_sockets: int = MAX_SOCKETS,
        max_tokens: int = MAX_TOKENS,
        snapshot: bool = True,
    ) -> None:
        """`fault` tells the code of what is wrong with a dial's credentials, None for good ones."""
        #: False: the account has not paid for it, and every socket ends with 806.
        self.subscribed = True
        #: True: every dial is refused with 503; `abort` ends the sockets that are open.
        self.down = False
        #: The other switches of its sockets and messages; those of dials and of HTTP do nothing here.
        self.faults = Faults()
        self._quotes = market.quotes
        self._fault = fault
        self._clock = clock
        self._max_sockets = max_sockets
        self._numbers = itertools.count(1)
        self._ledger = Ledger()
        self._wire = Depth20Packets()
        self._venue = Venue(
            self,
            self._wire,
            lambda: Depth20Subscriptions(max_tokens, self.lists, self._quotes),
            self.faults,
            self._ledger,
            snapshot,
        )
        self._reached: set[OpenSocket] = set()

    # -- where the books come from ------------------------------------------------------------------------

    def lists(self, token: int) -> bool:
        """Tell whether a token has such a depth."""
        return token in self._quotes and token & 0xFF in (NSE_EQ, NSE_FNO)

    def last_record(self, token: int, mode: Mode) -> bytes:
        """Return the token's book as it stands."""
        return self._wire.record(self._quotes[token], mode)

    def traded(self, quote: Quote) -> None:
        """Keep the book after a trade for those who listen."""
        listeners = self._venue.audience.listeners.get(quote.token)
        if not listeners:
            return
        record = self._wire.record(quote, Mode.DEPTH)
        for socket in listeners:
            socket.put(quote.token, record)
        self._reached.update(listeners)

    def flush(self) -> None:
        """Send what was kept, in one message for every socket that listens."""
        reached, self._reached = self._reached, set()
        for socket in reached:
            socket.flush()

    # -- dials --------------------------------------------------------------------------------------------

    def accept(self, request: UpgradeRequest, at: float) -> LinkHandler | Refusal:
        """Answer a dial `at` seconds after the start; a sixth socket ends the first."""
        answer = self._judged(request)
        status = answer.status if isinstance(answer, Refusal) else _SWITCHING_PROTOCOLS
        self._ledger.dialled(at, status)
        return answer

    def _judged(self, request: UpgradeRequest) -> LinkHandler | Refusal:
        if self.down:
            return Refusal(_UNAVAILABLE, b"Down on command.")
        reason = self._fault(request)
        if reason is None and not self.subscribed:
            reason = wire.NOT_SUBSCRIBED
        if reason is not None:
            return DismissedSocket(disconnect(reason), text=False)
        if len(self._venue.sockets) >= self._max_sockets:
            self._ledger.evictions += 1
            self.end(min(self._venue.sockets), wire.TOO_MANY_SOCKETS)
        return ClientSocket(next(self._numbers), self._venue, self._clock())

    # -- to look at, and to steer -------------------------------------------------------------------------

    def sockets(self) -> list[dict[str, Any]]:
        """Return every open socket, the eldest first: its tokens, and its counters."""
        return [socket.report() for socket in self._venue.sockets.values()]

    def stats(self) -> dict[str, Any]:
        """Return the counters since the start; `ledger.Ledger` tells what each means."""
        return {
            **self._ledger.report(),
            "sockets": len(self._venue.sockets),
            "duplicate_tokens": self._venue.audience.duplicates,
            "peak_duplicate_tokens": self._venue.audience.peak_duplicates,
        }

    def end(self, number: int, reason: int) -> None:
        """End a socket with the broker's last words. Raises KeyError when no such socket is open."""
        self._venue.sockets[number].end(disconnect(reason), _GOING_AWAY, "")

    def end_all(self, reason: int) -> None:
        """End every socket so."""
        for number in list(self._venue.sockets):
            self.end(number, reason)

    def abort(self) -> None:
        """Drop every TCP connection."""
        for number in list(self._venue.sockets):
            self._venue.link(number).abort()
