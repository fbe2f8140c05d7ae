"""The queue in front of the connections: who waits, who holds a slot, and who is next."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, field
from enum import IntEnum

from brokerpool.http.ratelimit import RateLimiter


class Lane(IntEnum):
    """How urgent a call is; a lower number goes first."""

    CANCEL = 0
    PLACE = 1
    QUERY = 2


@dataclass(eq=False, slots=True)
class Ticket:
    """One caller's place in the queue, and later its slot."""

    host: str
    #: Endpoint group, whose rate limit applies.
    group: str
    lane: Lane
    weight: int
    #: What is called, without its parameters: shown in errors and statistics.
    label: str
    #: Who calls: the name of its task.
    holder: str
    entered: float
    number: int = -1
    #: The slot while it is held, and since when.
    slot: int | None = None
    granted: float = math.nan
    #: True while its permission by the rate limit has not been used.
    reserved: bool = False

    @property
    def held(self) -> bool:
        """True from the grant to the release."""
        return self.slot is not None


@dataclass(slots=True)
class _Host:
    """The slots of one host: idle ones with the time of their last use, the newest last, and held ones."""

    idle: list[tuple[int, float]]
    held: dict[int, Ticket] = field(default_factory=dict)
    waiting: int = 0

    def hold(self, ticket: Ticket, slot: int, now: float) -> None:
        ticket.slot, ticket.granted = slot, now
        self.held[slot] = ticket


class Queue:
    """Hands `size` slots for each of at most `max_hosts` hosts to tickets: by lane, and in each lane FIFO.

    A slot goes from hand to hand: a newcomer gets one only when nobody before it could use it. A ticket
    whose group has no permission by the rate limit lets others pass, but none of its own group, so neither
    a heavy call nor a more urgent lane is starved. Each lane holds up to `max_waiting` tickets, and so
    waiting queries never take an order's place. Nor do running ones take the last `order_slots` of a host:
    these are for CANCEL and PLACE, which then need not wait until a slow query ends. Counts are exact after
    any sequence of calls.
    """

    def __init__(
        self, limiter: RateLimiter, *, size: int, max_waiting: int, max_hosts: int, order_slots: int = 0
    ) -> None:
        if size < 1 or max_waiting < 0 or max_hosts < 1:
            raise ValueError("a queue needs at least one slot, one host and no less than 0 places to wait")
        if not 0 <= order_slots < size:
            raise ValueError(f"of {size} slots, {order_slots} cannot be kept for orders: a query needs one")
        self._limiter = limiter
        self.size = size
        self.max_waiting = max_waiting
        self._max_hosts = max_hosts
        self._order_slots = order_slots
        #: Least recently used first.
        self._hosts: OrderedDict[str, _Host] = OrderedDict()
        self._queues: dict[tuple[Lane, str, str], OrderedDict[Ticket, None]] = {}
        self._waiting = dict.fromkeys(Lane, 0)
        self._numbered = 0

    # -- tickets ------------------------------------------------------------------------------------------

    def open_host(self, host: str) -> list[str] | None:
        """Make sure that the host has slots and return the hosts that lost theirs for it.

        The least recently used host without calls goes first. Returns None when every host has some.
        """
        if host in self._hosts:
            self._hosts.move_to_end(host)
            return []
        evicted = []
        if len(self._hosts) >= self._max_hosts:
            unused = next((name for name, h in self._hosts.items() if not h.held and not h.waiting), None)
            if unused is None:
                return None
            del self._hosts[unused]
            evicted.append(unused)
        self._hosts[host] = _Host([(slot, -math.inf) for slot in reversed(range(self.size))])
        return evicted

    def enter(self, ticket: Ticket) -> None:
        """Put a ticket, whose host is open, at the end of its lane."""
        self._numbered += 1
        ticket.number = self._numbered
        self._queues.setdefault((ticket.lane, ticket.group, ticket.host), OrderedDict())[ticket] = None
        self._waiting[ticket.lane] += 1
        self._hosts[ticket.host].waiting += 1

    def overfull(self, ticket: Ticket) -> bool:
        """Tell whether more tickets wait in the ticket's lane than may."""
        return self._waiting[ticket.lane] > self.max_waiting

    def take(self, ticket: Ticket, now: float) -> bool:
        """Give a ticket its slot and permission at once, if nobody waits and both are there."""
        host = self._hosts[ticket.host]
        if self._queues or not self._has_slot(ticket):
            return False
        if not self._limiter.unlimited(ticket.group, now):
            if self._limiter.delay(ticket.group, ticket.weight, now) > 0:
                return False
            self._reserve(ticket, now)
        host.hold(ticket, host.idle.pop()[0], now)
        return True

    def withdraw(self, ticket: Ticket) -> None:
        """Take a ticket that still waits out of the queue."""
        key = (ticket.lane, ticket.group, ticket.host)
        queue = self._queues[key]
        del queue[ticket]
        if not queue:
            del self._queues[key]
        self._waiting[ticket.lane] -= 1
        self._hosts[ticket.host].waiting -= 1

    def grant(self, now: float) -> list[Ticket]:
        """Return the tickets that have their slot and permission now, in the order of the queue."""
        granted = []
        while self._queues and (ticket := self._next(now)) is not None:
            self.withdraw(ticket)
            host = self._hosts[ticket.host]
            host.hold(ticket, host.idle.pop()[0], now)
            self._reserve(ticket, now)
            granted.append(ticket)
        return granted

    def next_grant(self, now: float) -> float:
        """Return the seconds until the rate limit lets a ticket go; infinity when a slot is missing."""
        if not self._queues:
            return math.inf
        delays: dict[str, float] = {}
        for ticket in self._heads():
            if ticket.group not in delays and self._has_slot(ticket):
                delays[ticket.group] = self._limiter.delay(ticket.group, ticket.weight, now)
        return min(delays.values(), default=math.inf)

    def sent(self, ticket: Ticket, now: float) -> None:
        """Note that the ticket's call leaves now; a second call changes nothing."""
        if ticket.reserved:
            self._limiter.sent(ticket.group, ticket.weight, now)
            ticket.reserved = False

    def release(self, ticket: Ticket, now: float) -> None:
        """Take the ticket's slot back; a permission that was not used is returned with it."""
        assert ticket.slot is not None  # granted before it was released
        host = self._hosts[ticket.host]
        del host.held[ticket.slot]
        host.idle.append((ticket.slot, now))
        ticket.slot = None
        if ticket.reserved:
            self._limiter.give_back(ticket.group, ticket.weight)
            ticket.reserved = False

    def take_stalest(self, ticket: Ticket, now: float, *, idle_for: float) -> bool:
        """Give the ticket the used slot of its host that was idle longest, for at least `idle_for` seconds.

        Passes the queue and the rate limit by, so it is for calls that keep a connection warm only.
        """
        host = self._hosts.get(ticket.host)
        for place, (slot, since) in enumerate(host.idle if host is not None else ()):
            if host is not None and idle_for <= now - since < math.inf:
                del host.idle[place]
                host.hold(ticket, slot, now)
                return True
        return False

    def waiting(self) -> list[Ticket]:
        """Return every ticket that waits."""
        return [ticket for queue in self._queues.values() for ticket in queue]

    # -- numbers ------------------------------------------------------------------------------------------

    @property
    def hosts(self) -> list[str]:
        """The hosts that have slots, least recently used first."""
        return list(self._hosts)

    def active(self, host: str | None = None) -> int:
        """Return how many slots are held, of one host or of all."""
        return sum(len(h.held) for name, h in self._hosts.items() if host in (None, name))

    def idle(self, host: str) -> int:
        """Return how many of the host's slots are free."""
        return len(self._hosts[host].idle) if host in self._hosts else self.size

    def queued(self, lane: Lane | None = None) -> int:
        """Return how many tickets wait, in one lane or in all."""
        return sum(count for name, count in self._waiting.items() if lane in (None, name))

    def oldest_wait(self, now: float) -> float:
        """Return the seconds for which the first in the queue has been waiting; 0 when nobody waits."""
        return max((now - ticket.entered for ticket in self._heads()), default=0.0)

    def holders(self) -> list[Ticket]:
        """Return the tickets that hold a slot, the longest first."""
        return sorted((t for h in self._hosts.values() for t in h.held.values()), key=lambda t: t.granted)

    def describe(self, host: str, now: float) -> str:
        """Say the state of one host's slots and of the queue in numbers, with the longest holders."""
        held = sorted(self._hosts[host].held.values(), key=lambda t: t.granted) if host in self._hosts else []
        longest = ", ".join(f"{t.label} by {t.holder} {now - t.granted:.1f} s" for t in held[:3])
        active = f"{len(held)} active" + (f" (longest: {longest})" if held else "")
        waiting = f"{self.queued()} waiting" + (
            f" (oldest {self.oldest_wait(now):.1f} s)" if self.queued() else ""
        )
        return f"{self.size} connections to {host}: {active}, {self.idle(host)} idle, {waiting}."

    # -- inside -------------------------------------------------------------------------------------------

    def _heads(self) -> list[Ticket]:
        heads = [next(iter(queue)) for queue in self._queues.values()]
        if len(heads) > 1:
            heads.sort(key=lambda t: (t.lane, t.number))
        return heads

    def _next(self, now: float) -> Ticket | None:
        held_up = set()
        for ticket in self._heads():
            if ticket.group in held_up or not self._has_slot(ticket):
                continue
            if self._limiter.delay(ticket.group, ticket.weight, now) <= 0:
                return ticket
            held_up.add(ticket.group)
        return None

    def _has_slot(self, ticket: Ticket) -> bool:
        kept = self._order_slots if ticket.lane is Lane.QUERY else 0
        return len(self._hosts[ticket.host].idle) > kept

    def _reserve(self, ticket: Ticket, now: float) -> None:
        self._limiter.reserve(ticket.group, ticket.weight, now)
        ticket.reserved = True

    def __repr__(self) -> str:
        hosts = ", ".join(self._hosts) or "none"
        return f"<Queue {self.active()} active, {self.queued()} waiting, hosts {hosts}>"
