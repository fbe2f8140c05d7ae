"""The deeper order book: a feed beside the upstream's, for clients who want more levels than ticks have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from brokerpool.errors import ErrorCode
from brokerpool.event_journal import Event
from brokerpool.feed.gaps import Gap
from brokerpool.feed.lifecycle_states import ConnectionState
from brokerpool.feed.listeners import PoolListener
from brokerpool.feed.upstream_interface import Upstream
from brokerpool.gateway import client_replies
from brokerpool.gateway.fanout import Fanout
from brokerpool.instruments import Instrument
from brokerpool.ticks import DepthTick, Mode, Tick
from brokerpool.transport.frames import server_frame

#: Why symbols have no deeper book, by symbol.
Lacking: TypeAlias = dict[Instrument, tuple[ErrorCode, str]]


class DeepBooks(PoolListener):
    """Wants deeper books in the names of clients, and brings them to the fan-out.

    Whatever ails their feed costs levels and never a tick: while a book is away, frames have the levels of
    the ticks, and who listens to it is told `depth_stale`, and `depth_gap` with both edges when it is back.
    """

    def __init__(self, upstream: Upstream, feed: Upstream | None, fanout: Fanout) -> None:
        """Without a `feed` nobody gets more levels than the `upstream` has.

        It is of the kind that answers a want at once, as a pool and a router do.
        """
        self._upstream = upstream
        self._feed = feed
        self._fanout = fanout
        if feed is not None:
            feed.listen(self)
            feed.journal.pass_on(upstream.journal, f"{feed.name}-depth{feed.depth_levels}")

    @property
    def most(self) -> int:
        """How many levels there are at most."""
        return self._upstream.depth_levels if self._feed is None else self._feed.depth_levels

    def levels(self, depth: int) -> int:
        """Return how many levels a client gets that asks for so many, where they can be had."""
        ticks = self._upstream.depth_levels
        return self.most if depth > ticks else ticks

    def want(self, owner: str, instruments: Sequence[Instrument]) -> tuple[frozenset[Instrument], Lacking]:
        """Want the deeper books; return of which the owner has them from now on, and why not of others.

        What is in neither has none at this broker.
        """
        feed = self._feed
        if feed is None:
            return frozenset(), {}
        listed = [i for i in instruments if feed.book.token(i) is not None]
        if all(account.login.refused for account in feed.accounts()):
            why = ErrorCode.BROKER_REFUSED_CREDENTIALS, _refused(feed)
            return frozenset(), dict.fromkeys(listed, why)
        done = feed.want(owner, listed, Mode.DEPTH).result()
        return frozenset(done.accepted), {r.instrument: (r.code, r.message) for r in done.refused}

    def release(self, owner: str, instruments: Sequence[Instrument] | None = None) -> None:
        """Give up the owner's deeper books of these (all by default); what it does not hold is ignored."""
        if self._feed is not None:
            held = self._feed.demand.instruments(owner) if instruments is None else instruments
            self._feed.release(owner, held)

    # -- PoolListener -------------------------------------------------------------------------------------

    def ticked(self, ticks: list[Tick]) -> None:
        books = [tick for tick in ticks if isinstance(tick, DepthTick)]
        self._fanout.deepened(books, lambda instrument: self._upstream.gap(instrument) is not None)

    def gaps_opened(self, gaps: list[Gap]) -> None:
        for gap in gaps:
            self._stale(gap.instrument, gap.reason, **{"from": gap.from_ms})

    def gaps_closed(self, gaps: list[Gap]) -> None:
        for gap in gaps:
            edges = {"from": gap.from_ms, "to": gap.to_ms}
            frame = self._status("depth_gap", gap.instrument, **edges, message=gap.reason)
            self._fanout.tell_deep(gap.instrument, frame)

    def delisted(self, instruments: list[Instrument]) -> None:
        for instrument in instruments:
            self._stale(instrument, "the broker does not list it any more")

    def connection_changed(self, name: str, state: str, reason: str) -> None:
        if state == ConnectionState.PARKED.value and (feed := self._feed) is not None:
            why = _refused(feed)
            for instrument in feed.inspection.some(name, len(feed.demand)):
                if feed.gap(instrument) is None:  # else it was told
                    self._stale(instrument, why)

    # -- inside -------------------------------------------------------------------------------------------

    def _stale(self, instrument: Instrument, reason: str, **edge: int) -> None:
        self._fanout.flatten(instrument, self._status("depth_stale", instrument, **edge, message=reason))

    def _status(self, status: str, instrument: Instrument, **members: object) -> bytes:
        feed = self._feed
        assert feed is not None
        members = {"mode": int(Mode.DEPTH), "depth": feed.depth_levels, **members}
        text = client_replies.symbol_status(feed.broker(instrument), status, instrument, **members)
        return server_frame(text)


def _refused(feed: Upstream) -> str:
    """Return in words that the broker takes no login for the deeper book, with what it said last."""
    said = (entry.reason for entry in reversed(feed.journal.entries()) if entry.event is Event.REFUSED)
    return f"the broker refused the login for {feed.depth_levels} levels: {next(said, 'it did not say why')}"
