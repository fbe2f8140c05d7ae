"""Tells clients of the feed: how much of it is lost, which symbols have stopped, and which holes are over."""

from __future__ import annotations

from brokerpool.feed.gaps import Gap
from brokerpool.feed.pool import WebSocketPool
from brokerpool.feed.states import SymbolState
from brokerpool.feed.stream import PoolListener
from brokerpool.gateway import replies
from brokerpool.gateway.fanout import Fanout
from brokerpool.instruments import Instrument
from brokerpool.transport.frames import server_frame


class FeedStatus(PoolListener):
    """Sends `feed_status` frames: of the whole feed to everybody, of a symbol to those who hold it.

    The whole feed is `live` when no symbol is without a connection, `degraded` when some are and `down` when
    all are. A symbol is `stale` from the moment at which its data stops, and its `gap` is told once, with
    both edges, before the tick that ends it. It is `delisted` when the broker has given its token to another.
    """

    def __init__(self, pool: WebSocketPool, fanout: Fanout) -> None:
        self._pool = pool
        self._fanout = fanout
        self._symbols_down = 0
        self._last_reason = ""

    def connection_changed(self, name: str, state: str, reason: str) -> None:
        self._last_reason = f"{name} is {state}: {reason}"
        self._tell_of_the_whole()

    def symbols_changed(self, instruments: list[Instrument], state: SymbolState) -> None:
        if self._symbols_down:  # guests that tick are not down any more
            self._tell_of_the_whole()

    def gaps_opened(self, gaps: list[Gap]) -> None:
        for gap in gaps:
            self._fanout.tell(gap.instrument, stale(self._pool.name, gap))

    def gaps_closed(self, gaps: list[Gap]) -> None:
        for gap in gaps:
            text = replies.symbol_status(
                self._pool.name,
                "gap",
                gap.instrument,
                **{"from": gap.from_ms, "to": gap.to_ms, "filled": gap.filled, "message": gap.reason},
            )
            self._fanout.tell(gap.instrument, server_frame(text))

    def delisted(self, instruments: list[Instrument]) -> None:
        message = "the broker does not list it any more; no ticks will come"
        for instrument in instruments:
            text = replies.symbol_status(self._pool.name, "delisted", instrument, message=message)
            self._fanout.tell(instrument, server_frame(text))

    def _tell_of_the_whole(self) -> None:
        down = self._pool.symbols_down
        if down == self._symbols_down:
            return
        self._symbols_down = down
        status = "live" if not down else "down" if down == len(self._pool.demand) else "degraded"
        text = replies.feed_status(self._pool.name, status, down, self._last_reason)
        self._fanout.tell_all(server_frame(text))


def stale(broker: str, gap: Gap) -> bytes:
    """Return the frame that marks a symbol's last value as stale."""
    members = {"from": gap.from_ms, "message": gap.reason}
    return server_frame(replies.symbol_status(broker, "stale", gap.instrument, **members))
