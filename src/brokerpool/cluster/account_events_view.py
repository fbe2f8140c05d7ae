"""What is told of an account that is no symbol's: its orders in their sequence, and its connections."""

from __future__ import annotations

from collections.abc import Mapping

from brokerpool.cluster.messages import Batch
from brokerpool.cluster.tick_codec import Kind
from brokerpool.event_journal import Event, Journal
from brokerpool.feed.lifecycle_states import ConnectionState
from brokerpool.feed.listeners import PoolListener

#: What a live connection is told to be when news may have been lost, until its account says how it stands.
_UNHEARD = ConnectionState.STALE.value
_EVENTS = {event.value: event for event in Event}
_LIVE = ConnectionState.LIVE.value


class NewsView:
    """Passes on orders and connections' states in order, each once; told the time in monotonic seconds.

    Whenever some of it may have been lost, all connections that are live are told as stale, so that whoever
    follows orders knows of the hole; the account's next status says how they stand.
    """

    def __init__(self, listener: PoolListener, journal: Journal) -> None:
        self._listener = listener
        self._journal = journal
        #: True while it is for the account's next status to say how the connections stand.
        self._unsure = True
        self._states: dict[str, str] = {}
        self._last = ("", "", "")
        self.epoch = 0
        self._sequence = 0
        self._heard_at: float | None = None

    def heard(self, batch: Batch, now: float) -> None:
        """Take a batch, or drop it as old."""
        if batch.epoch < self.epoch:
            return
        self._heard_at = now
        first = batch.sequence - bool(batch.rows)
        if batch.epoch > self.epoch:
            if self.epoch:
                self._interrupt("another feed node has taken its account over")
            self.epoch, self._sequence = batch.epoch, first
        elif first > self._sequence:
            self._interrupt(f"{first - self._sequence} messages of its feed node were lost")
        if batch.sequence <= self._sequence:
            return
        self._sequence = batch.sequence
        for row in batch.rows:
            if row[0] == Kind.ORDER:
                self._listener.order_updated(row[1])
            elif row[0] == Kind.CONNECTION:
                self._change(*row[1:])
            elif row[0] == Kind.JOURNAL and row[1] in _EVENTS:
                event, connection, symbols, reason = row[1:]
                self._journal.note(_EVENTS[event], connection=connection, symbols=symbols, reason=reason)

    def look(self, now: float, dark: float) -> None:
        """Tell of silence when nothing was heard for so many seconds, not even a sign of life."""
        if self._heard_at is not None and now - self._heard_at >= dark:
            self._heard_at = None
            self._interrupt(f"nothing was heard of its feed node for {dark:g} s")

    def stand(self, epoch: int, connections: Mapping[str, str]) -> None:
        """Tell what differs from how the connections stand by the account's status."""
        if not self._unsure or epoch != self.epoch or self._heard_at is None:
            return
        self._unsure = False
        for name in [name for name in self._states if name not in connections]:
            self._change(name, ConnectionState.CLOSED.value, "it is no more")
        for name, state in connections.items():
            if self._states.get(name) != state:
                self._change(name, state, "as its feed node says")

    def repeat(self) -> None:
        """Tell the last news of a connection once more, for those who look at numbers when they hear it."""
        if self._last[0]:
            self._listener.connection_changed(*self._last)

    def _interrupt(self, reason: str) -> None:
        self._unsure = True
        for name in [name for name, state in self._states.items() if state == _LIVE]:
            self._change(name, _UNHEARD, reason)

    def _change(self, name: str, state: str, reason: str) -> None:
        if state == ConnectionState.CLOSED.value:
            self._states.pop(name, None)
        else:
            self._states[name] = state
        self._last = name, state, reason
        self._listener.connection_changed(name, state, reason)
