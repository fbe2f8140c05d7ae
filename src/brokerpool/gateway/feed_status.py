"""Tells every client when the broker's feed is lost for some symbols, and when it is back."""

from __future__ import annotations

from brokerpool.feed.pool import WebSocketPool
from brokerpool.feed.stream import PoolListener
from brokerpool.gateway import protocol
from brokerpool.gateway.fanout import Fanout
from brokerpool.transport.frames import server_frame


class FeedStatus(PoolListener):
    """Sends a `feed_status` frame whenever the number of symbols without a feed changes.

    The status is `live` when none is without, `degraded` when some are and `down` when all are.
    """

    def __init__(self, pool: WebSocketPool, fanout: Fanout) -> None:
        self._pool = pool
        self._fanout = fanout
        self._symbols_down = 0

    def connection_changed(self, name: str, state: str, reason: str) -> None:
        down = self._pool.symbols_down
        if down == self._symbols_down:
            return
        self._symbols_down = down
        status = "live" if not down else "down" if down == len(self._pool.demand) else "degraded"
        text = protocol.feed_status(self._pool.name, status, down, f"{name} is {state}: {reason}")
        self._fanout.tell_all(server_frame(text))
