"""What one connection carries: wanted, asked for on the present socket, under way, arrived or silent."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Container, Iterable
from typing import NamedTuple

from brokerpool.brokers.capacity import Capacity
from brokerpool.brokers.wire import ControlBatch
from brokerpool.feed.lifecycle_states import SymbolState
from brokerpool.feed.reconcile_batches import Reconciler
from brokerpool.instruments import Instrument, Token
from brokerpool.ticks import Mode, Tick

#: A symbol whose first tick has not come this long after it was sent is reported as silent.
SILENT_SECONDS = 10.0


class Arrivals:
    """The symbols whose first tick is still to come; times are monotonic seconds."""

    def __init__(self) -> None:
        #: -> when it was sent. To be read only; it is never replaced.
        self.awaited: dict[Instrument, float] = {}
        self._checks: deque[tuple[float, list[Instrument]]] = deque()

    def sent(self, instruments: list[Instrument], now: float) -> None:
        """Expect the first ticks of these."""
        self.awaited.update(dict.fromkeys(instruments, now))
        self._checks.append((now + SILENT_SECONDS, instruments))

    def refused(self, instrument: Instrument) -> None:
        """Expect nothing of a symbol that may tick all the same, which would be news."""
        self.awaited[instrument] = math.inf

    def drop(self, instrument: Instrument) -> None:
        """Expect nothing of a symbol any more."""
        self.awaited.pop(instrument, None)

    def clear(self) -> None:
        """Forget everything, because the socket is gone."""
        self.awaited.clear()
        self._checks.clear()

    def arrived(self, ticks: Iterable[Tick]) -> list[Instrument]:
        """Return the symbols that have their first tick among these."""
        awaited = self.awaited
        if not awaited:
            return []
        return [t.instrument for t in ticks if awaited.pop(t.instrument, None) is not None]

    def overdue(self, now: float) -> list[Instrument]:
        """Return the symbols that have become silent since the last call."""
        silent: list[Instrument] = []
        while self._checks and self._checks[0][0] <= now:
            due, instruments = self._checks.popleft()
            silent += [i for i in instruments if self.awaited.get(i, due) + SILENT_SECONDS <= due]
        return silent

    def sent_at(self, instrument: Instrument) -> float:
        """Return when a symbol was sent whose first tick is still to come; KeyError for any other."""
        return self.awaited[instrument]

    def state(self, instrument: Instrument, now: float) -> SymbolState:
        """Tell how far a symbol that was sent has come."""
        sent_at = self.awaited.get(instrument)
        if sent_at is None:
            return SymbolState.LIVE
        return SymbolState.SILENT if now - sent_at >= SILENT_SECONDS else SymbolState.SENT


class Refusal(NamedTuple):
    """Why the broker refused a token, and when, in monotonic seconds."""

    reason: str
    at: float


class Subscriptions:
    """Follows each token of a connection from the wish to the first tick; times are monotonic seconds.

    A token has a route from the moment at which the broker is asked for it until it is dropped or the
    socket is gone: what comes without a route belongs to an earlier subscription.
    """

    def __init__(self, rule: Capacity | None = None) -> None:
        """`rule` is what the broker allows on the socket, where it tells modes apart."""
        #: To be read only; it is never replaced.
        self.routes: dict[Token, Instrument] = {}
        #: First ticks that are still to come.
        self.arrivals = Arrivals()
        self._targets = Reconciler(rule)
        self._instruments: dict[Token, Instrument] = {}
        #: What the broker refused by name on the present socket; to be read only.
        self.refused: dict[Token, Refusal] = {}
        #: What the message is about that waits for its turn, and what it drops though it is wanted.
        self._in_flight: Container[Token] = ()
        self._interrupted: list[Token] = []
        #: Whose data has stopped further up, and when the broker said so last.
        self._stopped: set[Token] = set()
        self._stopped_at = -math.inf

    def want(self, token: Token, instrument: Instrument, mode: Mode, now: float) -> list[Instrument]:
        """Carry the instrument in this mode; return it if its ticks are to be expected from now on."""
        if token in self.refused:
            if self._targets.wanted[token] == mode:
                return []
            return self._reconsider(token, mode, now)
        sent, refused = token in self._targets.sent, self._targets.refused(token)
        again = sent and not refused and token not in self._instruments
        self._instruments[token] = instrument
        self._targets.want(token, mode)
        if again and token not in self._in_flight:
            return self._expect([token], now)  # given up and wanted again before the broker was told
        return []

    def drop(self, token: Token) -> None:
        """Carry the token no more; raises KeyError for one that is not wanted."""
        del self._instruments[token]
        self._forget(token)
        self.refused.pop(token, None)
        self._targets.drop(token)

    def refuse(self, tokens: Iterable[Token], reason: str, now: float) -> list[Instrument]:
        """Note what the broker refused, and return it; it is not asked for again on this socket.

        What ticked before may go on in its old mode: the next tick tells.
        """
        refused = []
        for token in tokens:
            instrument = self.routes.get(token)
            if instrument is None:
                if token not in self._in_flight:  # given up, and to be asked for anew if it is wanted again
                    self._targets.refuse(token, served=False)
                continue
            served = self.arrivals.state(instrument, now) is SymbolState.LIVE
            if not self._targets.refuse(token, served=served):
                if not served:
                    self._forget(token)
                continue
            self.arrivals.refused(instrument)
            self.refused[token] = Refusal(reason, now)
            refused.append(instrument)
        return refused

    def arrived(self, ticks: Iterable[Tick]) -> list[Instrument]:
        """Return the symbols that have their first tick among these, or the first after a refusal."""
        first = self.arrivals.arrived(ticks)
        if first and self.refused:
            back = set(first)
            for token in [token for token in self.refused if self._instruments[token] in back]:
                del self.refused[token]
                self._targets.serves(token)
        return first

    def next_batch(self, size: int) -> ControlBatch | None:
        """Return up to `size` changes to tell the broker, None when there are none.

        They must be told, `told` with the first message, or the socket must end in `reset`.
        """
        batch = self._targets.next_batch(size)
        if batch is not None:
            self._in_flight = batch.add
            self._interrupted = [token for token in batch.drop if token in self._instruments]
        return batch

    def interrupted(self) -> list[Instrument]:
        """Return what the last batch drops though it is wanted: it makes room, and will be added again.

        What comes of it until then is not passed on.
        """
        lost = [self.routes.pop(token) for token in self._interrupted if token in self.routes]
        for instrument in lost:
            self.arrivals.drop(instrument)
        return lost

    def told(self, batch: ControlBatch, now: float) -> list[Instrument]:
        """Return the instruments whose ticks are to be expected, now that the broker is told."""
        self._in_flight = ()
        return self._expect(batch.add, now)

    def stop(self, tokens: Iterable[Token], now: float) -> list[Instrument]:
        """Note that the data of these has stopped further up, and return the instruments that are meant."""
        served = {token: self.routes[token] for token in tokens if token in self.routes}
        self._stopped.update(served)
        self._stopped_at = now
        return list(served.values())

    def resume(self, tokens: Iterable[Token]) -> None:
        """Note that the data of these goes on further up."""
        self._stopped.difference_update(tokens)

    def expects(self, data_at: float) -> bool:
        """Tell whether data is to be expected; `data_at` is when any came last.

        It is not while the broker serves nothing, or has said of all that it serves that it has stopped.
        """
        if not self.sent or data_at > self._stopped_at or len(self._stopped) < self.sent:
            return self.sent > 0
        return any(token not in self._stopped and token not in self.refused for token in self.routes)

    def reset(self) -> None:
        """Forget what the broker was asked for, because the socket is gone; all of it is wanted still."""
        self.routes.clear()
        self._stopped.clear()
        self.arrivals.clear()
        self.refused.clear()
        self._in_flight, self._interrupted = (), []
        self._targets.reset()

    def state(self, token: Token, now: float) -> SymbolState:
        """Tell how far a wanted token has come on the present socket."""
        if token in self.refused:
            return SymbolState.REFUSED
        instrument = self.routes.get(token)
        return SymbolState.ACCEPTED if instrument is None else self.arrivals.state(instrument, now)

    def sent_at(self, token: Token) -> float:
        """Return when a token was sent that has not ticked yet, or refused; raises KeyError for any other."""
        refused = self.refused.get(token)
        return refused.at if refused is not None else self.arrivals.sent_at(self.routes[token])

    def wanted(self) -> list[Instrument]:
        """Return the instruments that are to be carried."""
        return list(self._instruments.values())

    @property
    def sent(self) -> int:
        """How many tokens the broker was asked for on the present socket and has not refused."""
        return len(self._targets.sent) - len(self.refused)

    def __len__(self) -> int:
        return len(self._targets.wanted)

    def _reconsider(self, token: Token, mode: Mode, now: float) -> list[Instrument]:
        """Ask for a refused token in another mode, of which the broker may think otherwise."""
        del self.refused[token]
        self._targets.want(token, mode)
        if self._targets.refused(token):
            self._forget(token)
            return []
        return self._expect([token], now)

    def _forget(self, token: Token) -> None:
        self._stopped.discard(token)
        instrument = self.routes.pop(token, None)
        if instrument is not None:
            self.arrivals.drop(instrument)

    def _expect(self, tokens: Iterable[Token], now: float) -> list[Instrument]:
        added = {token: self._instruments[token] for token in tokens if token in self._instruments}
        instruments = list(added.values())
        if added:
            self.routes.update(added)
            self.arrivals.sent(instruments, now)
        return instruments
