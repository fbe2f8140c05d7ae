"""Which connection carries which instrument: fill the open ones, open another only when they are full."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from brokerpool.instruments import Instrument


@dataclass(frozen=True, slots=True)
class Plan:
    """Where a batch would go; nothing has changed until it is committed."""

    #: Slot name -> the instruments that it takes; names that the placement does not know yet are new slots.
    assignments: dict[str, list[Instrument]]
    #: Instruments for which no slot has room, in the order of the request.
    unplaced: list[Instrument]


class Placement:
    """Assigns instruments to at most `max_slots` named slots of `slot_size` places each.

    A slot's name is never used again, so that it means the same connection in every log line.
    """

    def __init__(self, prefix: str, slot_size: int, max_slots: int) -> None:
        if slot_size < 1 or max_slots < 1:
            raise ValueError("a placement needs at least one slot with one place")
        self._prefix = prefix
        self.slot_size = slot_size
        self.max_slots = max_slots
        self._slots: dict[str, set[Instrument]] = {}
        self._where: dict[Instrument, str] = {}
        self._named = 0

    def plan(self, instruments: Iterable[Instrument]) -> Plan:
        """Stage a batch: instruments that have a place keep it, the others take the first room there is."""
        waiting = [i for i in dict.fromkeys(instruments) if i not in self._where]
        rooms = [(name, self.slot_size - len(held)) for name, held in self._slots.items()]
        rooms += [
            (f"{self._prefix}-{self._named + n}", self.slot_size)
            for n in range(1, self.max_slots - len(self._slots) + 1)
        ]
        assignments: dict[str, list[Instrument]] = {}
        taken = 0
        for name, room in rooms:
            if taken == len(waiting):
                break
            if room:
                assignments[name] = waiting[taken : taken + room]
                taken += len(assignments[name])
        return Plan(assignments, waiting[taken:])

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
