"""The queue in front of the connections: who waits, who holds one, and who is next."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

from brokerpool.db.borrower import Borrower


@dataclass(eq=False, slots=True)
class Ticket:
    """One caller's place in the queue, and later its permit to use a connection."""

    borrower: Borrower
    #: True for a caller that must be the only writer.
    alone: bool
    entered: float
    number: int = -1
    #: Since when the permit is held; NaN while it is not.
    granted: float = math.nan
    #: What was warned about already.
    long_told: bool = False
    end_told: bool = False

    @property
    def held(self) -> bool:
        """True from the grant to the release."""
        return not math.isnan(self.granted)


class Queue:
    """Hands `capacity` permits to tickets, first come first served, and to one writer at a time.

    A permit goes from hand to hand: a newcomer gets one only when nobody before it could use it. A writer
    that waits for another writer lets readers pass and no writer, and takes no permit meanwhile. Counts are
    exact after any sequence of calls.
    """

    def __init__(self, *, capacity: int, max_waiting: int) -> None:
        if capacity < 1 or max_waiting < 0:
            raise ValueError("a queue needs at least one permit, and no less than 0 places to wait")
        self.capacity = capacity
        self.max_waiting = max_waiting
        self._held: dict[Ticket, None] = {}
        self._any: OrderedDict[Ticket, None] = OrderedDict()
        self._writers: OrderedDict[Ticket, None] = OrderedDict()
        self._writer: Ticket | None = None
        self._numbered = 0

    def enter(self, ticket: Ticket) -> None:
        """Put a ticket at the end of the queue."""
        self._numbered += 1
        ticket.number = self._numbered
        self._queue(ticket)[ticket] = None

    def overfull(self, _ticket: Ticket) -> bool:
        """Tell whether more tickets wait than may."""
        return self.queued > self.max_waiting

    def withdraw(self, ticket: Ticket) -> None:
        """Take a ticket that still waits out of the queue."""
        del self._queue(ticket)[ticket]

    def grant(self, now: float) -> list[Ticket]:
        """Return the tickets that have their permit now, in the order of the queue."""
        granted = []
        while len(self._held) < self.capacity and (ticket := self._next()) is not None:
            self.withdraw(ticket)
            self._held[ticket] = None
            ticket.granted = now
            if ticket.alone:
                self._writer = ticket
            granted.append(ticket)
        return granted

    def next_grant(self, _now: float) -> float:
        """Return infinity: only a permit that comes back lets a ticket go."""
        return math.inf

    def release(self, ticket: Ticket, _now: float) -> None:
        """Take the ticket's permit back."""
        del self._held[ticket]
        ticket.granted = math.nan
        if self._writer is ticket:
            self._writer = None

    def waiting(self) -> list[Ticket]:
        """Return every ticket that waits, the first of the queue first."""
        return sorted([*self._any, *self._writers], key=lambda ticket: ticket.number)

    # -- numbers ------------------------------------------------------------------------------------------

    @property
    def held(self) -> int:
        """How many permits are held; for a while more than there are after `capacity` was lowered."""
        return len(self._held)

    @property
    def queued(self) -> int:
        """How many tickets wait."""
        return len(self._any) + len(self._writers)

    def oldest_wait(self, now: float) -> float:
        """Return the seconds for which the first in the queue has been waiting; 0 when nobody waits."""
        heads = [next(iter(queue)) for queue in (self._any, self._writers) if queue]
        return max((now - ticket.entered for ticket in heads), default=0.0)

    def holders(self) -> list[Ticket]:
        """Return the tickets that hold a permit, the longest first."""
        return sorted(self._held, key=lambda ticket: ticket.granted)

    def describe(self, now: float) -> str:
        """Say the state in numbers, with the longest holders and a writer that keeps others waiting."""
        longest = ", ".join(f"{t.borrower} {now - t.granted:.1f} s" for t in self.holders()[:3])
        state = f"{self.held} of {self.capacity} connections are checked out" + (
            f" (longest: {longest})" if longest else ""
        )
        if self._writer is not None and self._writers:
            state += f", the writer is {self._writer.borrower} for {now - self._writer.granted:.1f} s"
        oldest = f" (oldest {self.oldest_wait(now):.1f} s)" if self.queued else ""
        return f"{state}, {self.queued} callers wait{oldest}."

    # -- inside -------------------------------------------------------------------------------------------

    def _queue(self, ticket: Ticket) -> OrderedDict[Ticket, None]:
        return self._writers if ticket.alone else self._any

    def _next(self) -> Ticket | None:
        anyone = next(iter(self._any), None)
        writer = next(iter(self._writers), None) if self._writer is None else None
        if anyone is None or writer is None:
            return anyone or writer
        return min(anyone, writer, key=lambda ticket: ticket.number)

    def __repr__(self) -> str:
        return f"<Queue {self.held} of {self.capacity} held, {self.queued} waiting>"
