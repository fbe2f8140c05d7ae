"""Who guesses keys: wrong ones by address, a lock-out for a while, a few lines for the journal; pure."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from brokerpool.event_journal import Event, Journal

#: Addresses that are remembered; the one that was silent longest is forgotten first.
MAX_ADDRESSES = 10_000
#: Wrong keys of one address within `WINDOW` seconds that lock it out for `SECONDS`.
MOST, WINDOW, SECONDS = 10, 60.0, 60.0
#: Between two summaries in the journal, and how many lines of each kind one may have: however many addresses
#: guess, the other entries must stay readable.
REPORT_SECONDS = 60.0
MAX_LINES = 10

_NETWORK_BITS = 64


@dataclass(slots=True)
class _Guesser:
    """What is known of one address."""

    since: float
    tries: int = 0
    locked_until: float | None = None
    #: Wrong keys since the last summary.
    untold: int = 0


class Lockout:
    """Counts wrong keys by address, and tells for how long an address is not listened to.

    It is only asked about wrong keys: a right one is never kept out. The machines of one IPv6 network (/64)
    count as one address, since each of them has as many addresses as it likes.
    """

    def __init__(
        self,
        journal: Journal,
        clock: Callable[[], float],
        *,
        most: int = MOST,
        window: float = WINDOW,
        seconds: float = SECONDS,
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._most = most
        self._window = window
        self._seconds = seconds
        self._guessers: OrderedDict[str, _Guesser] = OrderedDict()
        self._locked: dict[str, _Guesser] = {}
        self._told_at = clock()
        self._lines = 0
        #: Wrong keys since the start.
        self.wrong_keys = 0

    @property
    def locked(self) -> int:
        """How many addresses are locked out, as of the last look."""
        return len(self._locked)

    def wrong(self, address: str) -> float:
        """Count a wrong key, and return for how many seconds the address is locked out; 0 if it is not."""
        now = self._clock()
        source = network(address)
        self.wrong_keys += 1
        guesser = self._guessers.get(source)
        if guesser is None:
            guesser = self._guessers[source] = _Guesser(now)
            self._forget_the_oldest()
        self._guessers.move_to_end(source)
        guesser.untold += 1
        if guesser.locked_until is not None:
            if now < guesser.locked_until:
                return guesser.locked_until - now
            self._release(source, guesser, now)
        if now - guesser.since > self._window:
            guesser.since, guesser.tries = now, 0
        guesser.tries += 1
        if guesser.tries < self._most:
            return 0.0
        guesser.locked_until = now + self._seconds
        self._locked[source] = guesser
        self._tell(
            Event.LOCKED_OUT,
            f"{source} sent {guesser.tries} wrong keys within {self._window:g} s;"
            f" its wrong keys are refused at once for {self._seconds:g} s",
        )
        return self._seconds

    def review(self) -> None:
        """End lock-outs whose time is up, and write the summary when it is due; to be called each second."""
        now = self._clock()
        for source, guesser in list(self._locked.items()):
            if guesser.locked_until is not None and now >= guesser.locked_until:
                self._release(source, guesser, now)
        if now - self._told_at >= REPORT_SECONDS:
            self._told_at = now
            self._lines = 0
            self._summarize()

    def _summarize(self) -> None:
        told = sorted(((g.untold, s) for s, g in self._guessers.items() if g.untold), reverse=True)
        for count, source in told[:MAX_LINES]:
            self._journal.note(Event.WRONG_KEYS, reason=f"{count} from {source}")
        if rest := told[MAX_LINES:]:
            count = sum(count for count, _ in rest)
            self._journal.note(Event.WRONG_KEYS, reason=f"{count} from {len(rest)} other addresses")
        for _, source in told:
            self._guessers[source].untold = 0

    def _release(self, source: str, guesser: _Guesser, now: float) -> None:
        guesser.since, guesser.tries, guesser.locked_until = now, 0, None
        del self._locked[source]
        self._tell(Event.LOCK_OUT_ENDED, source)

    def _forget_the_oldest(self) -> None:
        if len(self._guessers) > MAX_ADDRESSES:
            source, _ = self._guessers.popitem(last=False)
            self._locked.pop(source, None)

    def _tell(self, event: Event, reason: str) -> None:
        self._lines += 1
        if self._lines <= 2 * MAX_LINES:
            self._journal.note(event, reason=reason)

    def __repr__(self) -> str:
        return f"<Lockout {len(self._guessers)} addresses, {len(self._locked)} locked out>"


def network(address: str) -> str:
    """Return what counts as one address: itself, or the network (/64) of one of IPv6."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.IPv6Network((address, _NETWORK_BITS), strict=False))
    except ValueError:
        return address[:64]  # a scope or something else that names a machine
