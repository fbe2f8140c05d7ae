"""Which connection carries which instrument; a batch is planned first, so that it can be refused whole."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from brokerpool.instruments import Instrument


@dataclass(frozen=True, slots=True)
class Plan:
    """Where a batch would go; nothing has changed until it is committed."""

    #: Slot name -> the instruments that it takes; names that the placement does not know yet are new slots.
    assignments: dict[str, list[Instrument]]
    #: Instruments for which no slot has room, in the order of the request.
    unplaced: list[Instrument]


#: Hands instruments out to slots, given as (name, room) with the oldest first; never more than there is room.
Policy: TypeAlias = Callable[[Sequence[Instrument], Sequence[tuple[str, int]]], dict[str, list[Instrument]]]


def fill_first(
    instruments: Sequence[Instrument], rooms: Sequence[tuple[str, int]]
) -> dict[str, list[Instrument]]:
    """Fill the open slots, and take another only when they are full: as few connections as possible."""
    assignments: dict[str, list[Instrument]] = {}
    taken = 0
    for name, room in rooms:
        share = list(instruments[taken : taken + room])
        if share:
            assignments[name] = share
            taken += len(share)
    return assignments


def least_loaded(
    instruments: Sequence[Instrument], rooms: Sequence[tuple[str, int]]
) -> dict[str, list[Instrument]]:
    """Give each instrument to the slot with the most room: the loss of a connection touches the fewest."""
    assignments: dict[str, list[Instrument]] = {}
    most_room_first = [(-room, order, name) for order, (name, room) in enumerate(rooms) if room]
    heapq.heapify(most_room_first)
    for instrument in instruments:
        if not most_room_first:
            break
        taken, order, name = most_room_first[0]
        assignments.setdefault(name, []).append(instrument)
        if taken + 1:
            heapq.heapreplace(most_room_first, (taken + 1, order, name))
        else:
            heapq.heappop(most_room_first)
    return assignments


POLICIES: dict[str, Policy] = {"fill-first": fill_first, "least-loaded": least_loaded}


class Placement:
    """Assigns instruments to at most `max_slots` named slots of `slot_size` places each.

    Each instrument has its home in one slot. While that slot is out it may have a place as hosted in another
    one besides, and keeps its home: homes and hosted symbols together never exceed a slot's size. A slot's
    name is never used again, so that it means the same connection in every log line.
    """

    def __init__(self, prefix: str, slot_size: int, max_slots: int, policy: Policy = fill_first) -> None:
        if slot_size < 1 or max_slots < 1:
            raise ValueError("a placement needs at least one slot with one place")
        self._prefix = prefix
        self._policy = policy
        self.slot_size = slot_size
        self.max_slots = max_slots
        # Dicts as ordered sets: the same events in the same order lead to the same places, in every process.
        self._homes: dict[str, dict[Instrument, None]] = {}
        self._home: dict[Instrument, str] = {}
        self._hosted: dict[str, dict[Instrument, None]] = {}
        self._host: dict[Instrument, str] = {}
        self._away: dict[tuple[str, str], int] = {}  # home and host -> how many hosted symbols
        self._named = 0

    # -- homes --------------------------------------------------------------------------------------------

    def plan(
        self,
        instruments: Iterable[Instrument],
        out: Container[str] = (),
        promised: Mapping[str, int] = MappingProxyType({}),
    ) -> Plan:
        """Stage a batch: instruments that have a home keep it, the others go where the policy says.

        Slots that are not `out`, and new ones, are filled first, then those that are; last the places of
        hosted symbols, for these have to leave, and those that are `promised` to hosted symbols to come.
        """
        waiting = [i for i in dict.fromkeys(instruments) if i not in self._home]
        places = self.capacity - len(self._home)
        waiting, unplaced = waiting[:places], waiting[places:]
        assignments: dict[str, list[Instrument]] = {}
        if not waiting:
            return Plan(assignments, unplaced)
        free = {name: self.slot_size - len(homes) for name, homes in self._homes.items()}
        up = [(n, self.room(n) - promised.get(n, 0)) for n in free if n not in out] + self.new_slots()
        for rooms in (up, [(n, room) for n, room in free.items() if n in out], list(free.items())):
            rooms = [(name, room - len(assignments.get(name, ()))) for name, room in rooms]
            total = sum(room for _, room in rooms)
            for name, share in self._policy(waiting[:total], rooms).items():
                assignments.setdefault(name, []).extend(share)
            waiting = waiting[total:]
            if not waiting:
                break
        return Plan(assignments, unplaced)

    def new_slots(self) -> list[tuple[str, int]]:
        """Return the slots that may still be opened, as (name, room)."""
        count = self.max_slots - len(self._homes)
        return [(f"{self._prefix}-{self._named + n}", self.slot_size) for n in range(1, count + 1)]

    def commit(self, plan: Plan) -> None:
        """Carry out a plan that was made since the last change."""
        for name, instruments in plan.assignments.items():
            self.open(name)
            self._homes[name].update(dict.fromkeys(instruments))
            self._home.update(dict.fromkeys(instruments, name))

    def open(self, name: str) -> None:
        """Make a slot known, empty if it is new."""
        if name not in self._homes:
            self._homes[name] = {}
            self._hosted[name] = {}
            self._named += 1

    def slot(self, instrument: Instrument) -> str | None:
        """Return the slot that is the instrument's home, None when it has none."""
        return self._home.get(instrument)

    def remove(self, instrument: Instrument) -> str:
        """Free the instrument's home and return its slot. Raises KeyError when it has none."""
        self.leave(instrument)
        name = self._home.pop(instrument)
        del self._homes[name][instrument]
        return name

    def close(self, name: str) -> None:
        """Take an empty slot away. Raises ValueError while it carries anything."""
        if self.carried(name):
            raise ValueError(f"{name} still carries {self.carried(name)} instruments")
        del self._homes[name], self._hosted[name]

    # -- hosted symbols ----------------------------------------------------------------------------------

    def take_in(self, instrument: Instrument, name: str) -> None:
        """Give an instrument that has a home a place as hosted in another slot."""
        self.leave(instrument)
        self.open(name)
        self._hosted[name][instrument] = None
        self._host[instrument] = name
        way = self._home[instrument], name
        self._away[way] = self._away.get(way, 0) + 1

    def host(self, instrument: Instrument) -> str | None:
        """Return the slot in which the instrument is hosted, None when it is nowhere."""
        return self._host.get(instrument)

    def leave(self, instrument: Instrument) -> None:
        """End the instrument's stay as hosted, if it is one."""
        name = self._host.pop(instrument, None)
        if name is not None:
            del self._hosted[name][instrument]
            way = self._home[instrument], name
            self._away[way] -= 1
            if not self._away[way]:
                del self._away[way]

    def make_home(self, instrument: Instrument) -> str:
        """Make the slot in which the instrument is hosted its home, and return the home that it leaves."""
        new = self._host[instrument]
        old = self.remove(instrument)
        self._homes[new][instrument] = None
        self._home[instrument] = new
        return old

    def away(self, home: str, host: str | None = None) -> int:
        """Return how many of a slot's instruments are hosted, in all other slots or in one of them."""
        if host is not None:
            return self._away.get((home, host), 0)
        return sum(count for (own, _), count in self._away.items() if own == home)

    @property
    def has_hosted(self) -> bool:
        """True while any instrument is carried away from home."""
        return bool(self._host)

    # -- figures ------------------------------------------------------------------------------------------

    def homes(self, name: str) -> Collection[Instrument]:
        """Return the instruments at home in the slot."""
        return self._homes[name]

    def hosted(self, name: str) -> Collection[Instrument]:
        """Return the instruments that are hosted in the slot."""
        return self._hosted[name]

    def carried(self, name: str) -> int:
        """Return how many places of the slot are taken, hosted symbols included."""
        return len(self._homes[name]) + len(self._hosted[name])

    def room(self, name: str) -> int:
        """Return how many places of the slot are free, hosted symbols counted."""
        return self.slot_size - self.carried(name)

    def spare(self) -> str | None:
        """Return the smallest slot if the policy wants few and the others could carry everything with ease.

        With ease: with a fifth of their places left, so that the next few symbols do not open it again.
        """
        if self._policy is not fill_first or len(self._homes) < 2 or self._host:
            return None
        name = min(reversed(self._homes), key=lambda slot: len(self._homes[slot]))
        return name if len(self) <= 0.8 * self.slot_size * (len(self._homes) - 1) else None

    @property
    def loads(self) -> dict[str, int]:
        """How many instruments are at home in each slot, oldest slot first."""
        return {name: len(held) for name, held in self._homes.items()}

    @property
    def capacity(self) -> int:
        """Instruments that fit when every slot is open."""
        return self.slot_size * self.max_slots

    def __len__(self) -> int:
        return len(self._home)

    def __repr__(self) -> str:
        loads = ", ".join(f"{name}: {load}" for name, load in self.loads.items())
        return f"<Placement {len(self)}/{self.capacity} {{{loads}}}>"
