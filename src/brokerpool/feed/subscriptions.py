"""What one connection carries: wanted, asked for on the present socket, under way, arrived."""

from __future__ import annotations

from collections.abc import Container, Iterable

from brokerpool.brokers.base import ControlBatch
from brokerpool.feed.arrivals import Arrivals
from brokerpool.feed.reconcile import Reconciler
from brokerpool.feed.states import SymbolState
from brokerpool.instruments import Instrument, Token
from brokerpool.ticks import Mode


class Subscriptions:
    """Follows each token of a connection from the wish to the first tick; times are monotonic seconds.

    A token has a route from the moment at which the broker is asked for it until it is dropped or the
    socket is gone: what comes without a route belongs to an earlier subscription.
    """

    def __init__(self) -> None:
        #: To be read only; it is never replaced.
        self.routes: dict[Token, Instrument] = {}
        #: First ticks that are still to come.
        self.arrivals = Arrivals()
        self._targets = Reconciler()
        self._instruments: dict[Token, Instrument] = {}
        #: What the message is about that waits for its turn.
        self._in_flight: Container[Token] = ()

    def want(self, token: Token, instrument: Instrument, mode: Mode, now: float) -> list[Instrument]:
        """Carry the instrument in this mode; return it if its ticks are to be expected from now on."""
        again = token in self._targets.sent and token not in self._instruments
        self._instruments[token] = instrument
        self._targets.want(token, mode)
        if again and token not in self._in_flight:
            return self._expect([token], now)  # given up and wanted again before the broker was told
        return []

    def drop(self, token: Token) -> None:
        """Carry the token no more; raises KeyError for one that is not wanted."""
        del self._instruments[token]
        instrument = self.routes.pop(token, None)
        if instrument is not None:
            self.arrivals.drop(instrument)
        self._targets.drop(token)

    def next_batch(self, size: int) -> ControlBatch | None:
        """Return up to `size` changes to tell the broker, None when there are none.

        They must be told, `told` with the first message, or the socket must end in `reset`.
        """
        batch = self._targets.next_batch(size)
        if batch is not None:
            self._in_flight = batch.add
        return batch

    def told(self, batch: ControlBatch, now: float) -> list[Instrument]:
        """Return the instruments whose ticks are to be expected, now that the broker is told."""
        self._in_flight = ()
        return self._expect(batch.add, now)

    def reset(self) -> None:
        """Forget what the broker was asked for, because the socket is gone; all of it is wanted still."""
        self.routes.clear()
        self.arrivals.clear()
        self._in_flight = ()
        self._targets.reset()

    def state(self, token: Token, now: float) -> SymbolState:
        """Tell how far a wanted token has come on the present socket."""
        instrument = self.routes.get(token)
        return SymbolState.ACCEPTED if instrument is None else self.arrivals.state(instrument, now)

    def wanted(self) -> list[Instrument]:
        """Return the instruments that are to be carried."""
        return list(self._instruments.values())

    @property
    def sent(self) -> int:
        """How many tokens the broker serves on the present socket, or has been asked to."""
        return len(self._targets.sent)

    def __len__(self) -> int:
        return len(self._targets.wanted)

    def _expect(self, tokens: Iterable[Token], now: float) -> list[Instrument]:
        added = {token: self._instruments[token] for token in tokens if token in self._instruments}
        instruments = list(added.values())
        if added:
            self.routes.update(added)
            self.arrivals.sent(instruments, now)
        return instruments
