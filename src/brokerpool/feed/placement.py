"""Which connection carries which instrument; a batch is planned first, so that it can be refused whole."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
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

    A slot's name is never used again, so that it means the same connection in every log line.
    """

    def __init__(self, prefix: str, slot_size: int, max_slots: int, policy: Policy = fill_first) -> None:
        if slot_size < 1 or max_slots < 1:
            raise ValueError("a placement needs at least one slot with one place")
        self._prefix = prefix
        self._policy = policy
        self.slot_size = slot_size
        self.max_slots = max_slots
        self._slots: dict[str, set[Instrument]] = {}
        self._where: dict[Instrument, str] = {}
        self._named = 0

    def plan(self, instruments: Iterable[Instrument]) -> Plan:
        """Stage a batch: instruments that have a place keep it, the others go where the policy says."""
        waiting = [i for i in dict.fromkeys(instruments) if i not in self._where]
        rooms = [(name, self.slot_size - len(held)) for name, held in self._slots.items()]
        rooms += [
            (f"{self._prefix}-{self._named + n}", self.slot_size)
            for n in range(1, self.max_slots - len(self._slots) + 1)
        ]
        room = sum(room for _, room in rooms)
        return Plan(self._policy(waiting[:room], rooms), waiting[room:])

    def commit(self, plan: Plan) -> None:
        """Carry out a plan that was made since the last change."""
        for name, instruments in plan.assignments.items():
            if name not in self._slots:
                self._slots[name] = set()
                self._named += 1
            self._slots[name].update(instruments)
            self._where.update(dict.fromkeys(instruments, name))

    def slot(self, instrument: Instrument) -> str | None:
        """Return the slot that carries the instrument, None when none does."""
        return self._where.get(instrument)

    def remove(self, instrument: Instrument) -> str:
        """Free the instrument's place and return its slot. Raises KeyError when it has none."""
        name = self._where.pop(instrument)
        self._slots[name].discard(instrument)
        return name

    def close(self, name: str) -> None:
        """Take an empty slot away. Raises ValueError while it carries anything."""
        if self._slots[name]:
            raise ValueError(f"{name} still carries {len(self._slots[name])} instruments")
        del self._slots[name]

    def load(self, name: str) -> Collection[Instrument]:
        """Return what the slot carries."""
        return self._slots[name]

    @property
    def loads(self) -> dict[str, int]:
        """How many instruments each slot carries, oldest slot first."""
        return {name: len(held) for name, held in self._slots.items()}

    @property
    def capacity(self) -> int:
        """Instruments that fit when every slot is open."""
        return self.slot_size * self.max_slots

    @property
    def room(self) -> int:
        """Instruments that still fit."""
        return self.capacity - len(self._where)

    def __len__(self) -> int:
        return len(self._where)

    def __repr__(self) -> str:
        loads = ", ".join(f"{name}: {load}" for name, load in self.loads.items())
        return f"<Placement {len(self)}/{self.capacity} {{{loads}}}>"
