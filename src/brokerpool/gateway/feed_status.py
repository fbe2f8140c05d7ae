"""Tells clients of the feed: how much of it is lost, which symbols have stopped, and which holes are over."""

from __future__ import annotations

import asyncio
from itertools import islice

from brokerpool.feed.gaps import Gap
from brokerpool.feed.lifecycle_states import SymbolState
from brokerpool.feed.listeners import PoolListener
from brokerpool.feed.upstream_interface import Upstream
from brokerpool.gateway import client_replies
from brokerpool.gateway.fanout import Fanout
from brokerpool.instruments import Instrument
from brokerpool.transport.frames import server_frame

#: Between two frames to everybody: first ticks may come one by one, and clients be a thousand.
REST_SECONDS = 0.1
#: Stopped symbols that are told in one turn of the event loop: about a millisecond.
_SLICE = 100


class FeedStatus(PoolListener):
    """Sends `feed_status` frames: of the whole feed to everybody, of a symbol to those who hold it.

    The whole feed is `live` when no symbol is without a connection, `degraded` when some are and `down` when
    all are; it is told when it changed, at most ten times a second, and how it stands in the end always. A
    symbol is `stale` from the moment at which its data stops, and its `gap` is told once, with both edges,
    before the tick that ends it. It is `delisted` when the broker has given its token to another.
    """

    def __init__(self, upstream: Upstream, fanout: Fanout) -> None:
        self._upstream = upstream
        self._fanout = fanout
        self._loop = asyncio.get_running_loop()
        self._symbols_down = 0
        self._last_reason = ""
        self._look: asyncio.Handle | None = None
        self._not_before = 0.0
        #: Open gaps that are still to be told; a connection that is lost opens thousands at once.
        self._untold: dict[Instrument, Gap] = {}
        self._telling: asyncio.Handle | None = None

    def connection_changed(self, name: str, state: str, reason: str) -> None:
        self._last_reason = f"{name} is {state}: {reason}"
        self._look_soon()

    def symbols_changed(self, instruments: list[Instrument], state: SymbolState) -> None:
        if self._symbols_down:  # hosted symbols that tick are not down any more
            self._look_soon()

    def gaps_opened(self, gaps: list[Gap]) -> None:
        self._untold.update((gap.instrument, gap) for gap in gaps)
        if self._telling is None:
            self._telling = self._loop.call_soon(self._tell_opened)

    def gaps_closed(self, gaps: list[Gap]) -> None:
        for gap in gaps:
            if (opened := self._untold.pop(gap.instrument, None)) is not None:
                self._fanout.tell(gap.instrument, stale(self._broker(opened), opened))
            if self._fanout.watched(gap.instrument):
                text = client_replies.symbol_status(
                    self._broker(gap),
                    "gap",
                    gap.instrument,
                    **{"from": gap.from_ms, "to": gap.to_ms, "filled": gap.filled, "message": gap.reason},
                )
                self._fanout.tell(gap.instrument, server_frame(text))

    def delisted(self, instruments: list[Instrument]) -> None:
        message = "the broker does not list it any more; no ticks will come"
        for instrument in instruments:
            text = client_replies.symbol_status(
                self._upstream.broker(instrument), "delisted", instrument, message=message
            )
            self._fanout.tell(instrument, server_frame(text))

    def close(self) -> None:
        """Tell nothing any more."""
        self._upstream.unlisten(self)
        for handle in (self._look, self._telling):
            if handle is not None:
                handle.cancel()

    # -- inside -------------------------------------------------------------------------------------------

    def _tell_opened(self) -> None:
        self._telling = None
        for instrument in list(islice(self._untold, _SLICE)):
            gap = self._untold.pop(instrument)
            if self._fanout.watched(instrument):
                self._fanout.tell(instrument, stale(self._broker(gap), gap))
        if self._untold:
            self._telling = self._loop.call_soon(self._tell_opened)

    def _broker(self, gap: Gap) -> str:
        return self._upstream.broker(gap.instrument)

    def _look_soon(self) -> None:
        """Look at the end of this turn, whatever happens in it, or when the rest is over."""
        if self._look is None:
            rest = self._not_before - self._loop.time()
            later = self._loop.call_later(rest, self._tell_of_the_whole) if rest > 0 else None
            self._look = later or self._loop.call_soon(self._tell_of_the_whole)

    def _tell_of_the_whole(self) -> None:
        self._look = None
        down = self._upstream.symbols_down
        if down == self._symbols_down:
            return
        self._symbols_down = down
        self._not_before = self._loop.time() + REST_SECONDS
        status = "live" if not down else "down" if down == len(self._upstream.demand) else "degraded"
        text = client_replies.feed_status(self._upstream.name, status, down, self._last_reason)
        self._fanout.tell_all(server_frame(text))


def stale(broker: str, gap: Gap) -> bytes:
    """Return the frame that marks a symbol's last value as stale."""
    members = {"from": gap.from_ms, "message": gap.reason}
    return server_frame(client_replies.symbol_status(broker, "stale", gap.instrument, **members))
