"""Which connection carries which instrument; a batch is planned first, so that it can be refused whole."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from types import MappingProxyType

from brokerpool.brokers.capacity import Capacity
from brokerpool.feed.batch_plan import Plan, Planner, Policy, Tiers
from brokerpool.feed.carried_modes import Occupancy, Step
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode


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
    """Assigns instruments to named slots, each of which carries what the rule allows.

    Each instrument has its home in one slot. While that slot is out, or the home is new and does not serve
    it yet, it may have a place as hosted in another one besides: homes and hosted symbols together never
    exceed the rule. A slot's name is never used again, so that it means the same connection in every log
    line.
    """

    def __init__(self, prefix: str, rule: Capacity, policy: Policy = fill_first) -> None:
        self._prefix = prefix
        self._policy = policy
        #: What one slot carries, and how many there are.
        self.rule = rule
        #: Instruments that fit in a slot, in the mode of which it carries most, and how many slots there are.
        self.slot_size, self.max_slots = rule.most, rule.sockets
        # Dicts as ordered sets: the same events in the same order lead to the same places, in every process.
        self._homes: dict[str, dict[Instrument, None]] = {}
        self._home: dict[Instrument, str] = {}
        self._hosted: dict[str, dict[Instrument, None]] = {}
        self._host: dict[Instrument, str] = {}
        self._away: dict[tuple[str, str], int] = {}  # home and host -> how many hosted symbols
        self._named = 0
        #: Where modes count alike they are not told apart, and nobody keeps them.
        self._modes = Occupancy(rule) if rule.by_mode else None

    # -- homes --------------------------------------------------------------------------------------------

    def plan(
        self,
        instruments: Iterable[Instrument],
        out: Container[str] = (),
        promised: Mapping[str, int] = MappingProxyType({}),
        mode: Mode = Mode.QUOTE,
    ) -> Plan:
        """Stage a batch: instruments that have a home keep it, the others go where the policy says.

        Slots that are not `out`, and new ones, are filled first, then those that are; last the places of
        hosted symbols, for these have to leave, and those that are `promised` to hosted symbols to come.
        One whose mode rises stays where it is if it fits there, else it gets its home in another slot.
        """
        if self._modes is not None:
            new = [name for name, _ in self.new_slots()]
            tiers = Tiers(self._modes.draft(new), list(self._homes), new, mode, out, promised)
            return Planner(tiers, self._modes, self._home, self._policy).plan(instruments)
        waiting = [i for i in dict.fromkeys(instruments) if i not in self._home]
        places = self.capacity - len(self._home)
        waiting, unplaced = waiting[:places], waiting[places:]
        assignments: dict[str, list[Instrument]] = {}
        if not waiting:
            return Plan(assignments, unplaced, mode)
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
        return Plan(assignments, unplaced, mode)

    def new_slots(self) -> list[tuple[str, int]]:
        """Return the slots that may still be opened, as (name, room)."""
        count = self.max_slots - len(self._homes)
        return [(f"{self._prefix}-{self._named + n}", self.slot_size) for n in range(1, count + 1)]

    def commit(self, plan: Plan) -> None:
        """Carry out a plan that was made since the last change, but for what is `moved`: see `rehome`."""
        for name, instruments in plan.assignments.items():
            self.open(name)
            self._homes[name].update(dict.fromkeys(instruments))
            self._home.update(dict.fromkeys(instruments, name))
            if self._modes is not None:
                for instrument in instruments:
                    self._modes.enter(name, instrument, Step(plan.mode, plan.mode))
        for instrument in plan.raised:
            assert self._modes is not None  # only then a plan says so
            self._modes.lift(self._home[instrument], instrument, plan.mode)

    def rehome(self, instrument: Instrument, name: str, mode: Mode, host: str | None) -> list[str]:
        """Give the instrument its home in another slot, in a higher mode.

        `host` is the one of its present places that serves it until then, in the mode that it has there.
        Returns the slots that carry it no more.
        """
        assert self._modes is not None  # only then a mode can rise in vain
        places = [n for n in (self._home[instrument], self._host.get(instrument)) if n is not None]
        kept = None if host is None else self._modes.mode(host, instrument)
        self.remove(instrument)
        self.open(name)
        self._homes[name][instrument] = None
        self._home[instrument] = name
        self._modes.enter(name, instrument, Step(mode, mode))
        if host is not None and kept is not None:
            self._stay(instrument, host, Step(kept, mode))
        return [n for n in places if n not in (name, host)]

    def open(self, name: str) -> None:
        """Make a slot known, empty if it is new."""
        if name not in self._homes:
            self._homes[name] = {}
            self._hosted[name] = {}
            self._named += 1
            if self._modes is not None:
                self._modes.open(name)

    def slot(self, instrument: Instrument) -> str | None:
        """Return the slot that is the instrument's home, None when it has none."""
        return self._home.get(instrument)

    def remove(self, instrument: Instrument) -> str:
        """Free the instrument's home and return its slot. Raises KeyError when it has none."""
        self.leave(instrument)
        name = self._home.pop(instrument)
        del self._homes[name][instrument]
        if self._modes is not None:
            self._modes.leave(name, instrument)
        return name

    def close(self, name: str) -> None:
        """Take an empty slot away. Raises ValueError while it carries anything."""
        if self.carried(name):
            raise ValueError(f"{name} still carries {self.carried(name)} instruments")
        del self._homes[name], self._hosted[name]
        if self._modes is not None:
            self._modes.close(name)

    # -- hosted symbols ----------------------------------------------------------------------------------

    def take_in(self, instrument: Instrument, name: str) -> None:
        """Give an instrument that has a home a place as hosted in another slot, in the wanted mode."""
        self.leave(instrument)
        self.open(name)
        mode = self.wanted(instrument)
        self._stay(instrument, name, Step(mode, mode))

    def _stay(self, instrument: Instrument, name: str, step: Step) -> None:
        self._hosted[name][instrument] = None
        self._host[instrument] = name
        way = self._home[instrument], name
        self._away[way] = self._away.get(way, 0) + 1
        if self._modes is not None:
            self._modes.enter(name, instrument, step, hosted=True)

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
            if self._modes is not None:
                self._modes.leave(name, instrument)

    def make_home(self, instrument: Instrument) -> str:
        """Make the slot in which the instrument is hosted its home, and return the home that it leaves."""
        new = self._host[instrument]
        step = None if self._modes is None else self._modes.step(new, instrument)
        old = self.remove(instrument)
        self._homes[new][instrument] = None
        self._home[instrument] = new
        if self._modes is not None and step is not None:
            self._modes.enter(new, instrument, step)
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

    # -- modes --------------------------------------------------------------------------------------------

    def wanted(self, instrument: Instrument) -> Mode:
        """Return the mode that is wanted of an instrument with a home; any where modes are not told apart."""
        return Mode.LTP if self._modes is None else self._modes.wanted(self._home[instrument], instrument)

    def low(self, instrument: Instrument) -> bool:
        """Tell whether an instrument is hosted in a lower mode than is wanted."""
        host = self._host.get(instrument)
        if self._modes is None or host is None:
            return False
        return self._modes.mode(host, instrument) < self.wanted(instrument)

    def adapt(self, instrument: Instrument, name: str, mode: Mode) -> Mode:
        """Return the mode in which a slot carries the instrument, now that this one is wanted of it.

        A lower one may have to wait, see `settle`, and where it is hosted a higher one as well.
        """
        if self._modes is None:
            return mode
        self._modes.adapt(name, instrument, mode)
        return self._modes.mode(name, instrument)

    def settle(self, name: str) -> dict[Instrument, Mode]:
        """Lower the modes in a slot that are higher than is wanted, as far as that fits, and return them."""
        if self._modes is None:
            return {}
        return {instrument: self._modes.mode(name, instrument) for instrument in self._modes.settle(name)}

    # -- figures ------------------------------------------------------------------------------------------

    def homes(self, name: str) -> Collection[Instrument]:
        """Return the instruments at home in the slot."""
        return self._homes[name]

    def hosted(self, name: str) -> Collection[Instrument]:
        """Return the instruments that are hosted in the slot."""
        return self._hosted[name]

    def carried(self, name: str) -> int:
        """Return how many instruments the slot carries, hosted symbols included."""
        return len(self._homes[name]) + len(self._hosted[name])

    def carried_by_mode(self, name: str) -> list[int]:
        """Return the same by mode; all in one where modes are not told apart."""
        return [0, self.carried(name), 0, 0] if self._modes is None else list(self._modes.carried(name))

    def homes_by_mode(self, name: str) -> list[int]:
        """Return how many instruments are at home in the slot, by mode."""
        return [0, len(self._homes[name]), 0, 0] if self._modes is None else list(self._modes.homes(name))

    def mode(self, name: str, instrument: Instrument) -> Mode:
        """Return the mode in which the slot carries the instrument; any where modes are not told apart."""
        return Mode.LTP if self._modes is None else self._modes.mode(name, instrument)

    def room(self, name: str, mode: Mode = Mode.QUOTE) -> int:
        """Return how many more instruments the slot takes in the mode, hosted symbols counted."""
        if self._modes is None:
            return self.slot_size - len(self._homes[name]) - len(self._hosted[name])
        return self.rule.room(self._modes.carried(name), mode)

    def overfull(self, name: str) -> bool:
        """Tell whether the slot carries more than it may, until hosted symbols have left."""
        if self._modes is None:
            return len(self._homes[name]) + len(self._hosted[name]) > self.slot_size
        return not self.rule.fits(self._modes.carried(name))

    def takes(self, name: str, instrument: Instrument) -> bool:
        """Tell whether the slot has room to host the instrument; one that is hosted there may rise there."""
        if self._modes is None:
            return self.room(name) > 0
        mode, carried = self.wanted(instrument), self.carried_by_mode(name)
        if self._host.get(instrument) == name:
            carried[self.mode(name, instrument)] -= 1
        return self.rule.room(carried, mode) > 0

    def room_for(self, name: str, others: Iterable[str], opened: int = 0) -> int:
        """Return how many of a slot's own symbols find room in others, and in some that may be opened.

        Where modes are not told apart, for how many there is room.
        """
        new = [slot for slot, _ in self.new_slots()[:opened]]
        if self._modes is None:
            return sum(map(self.room, others)) + self.slot_size * len(new)
        draft, found, left = self._modes.draft(new), 0, self.homes_by_mode(name)
        for mode in sorted(Mode, reverse=True):
            for other in (*others, *new):
                share = min(left[mode], draft.room(other, mode, hosted=True))
                draft.add(other, mode, share)
                left[mode] -= share
                found += share
        return found

    def spare(self) -> str | None:
        """Return the smallest slot if the policy wants few and the others could carry everything with ease.

        With ease: with a fifth of their places left, so that the next few symbols do not open it again.
        """
        if self._policy is not fill_first or len(self._homes) < 2 or self._host:
            return None
        name = min(reversed(self._homes), key=lambda slot: len(self._homes[slot]))
        others = [other for other in self._homes if other != name]
        if self.taken > 0.8 * self.slot_size * len(others):
            return None
        return name if self.room_for(name, others) >= len(self._homes[name]) else None

    @property
    def loads(self) -> dict[str, int]:
        """How many instruments are at home in each slot, oldest slot first."""
        return {name: len(held) for name, held in self._homes.items()}

    @property
    def capacity(self) -> int:
        """Instruments that fit when every slot is open, in the mode of which they carry most."""
        return self.slot_size * self.max_slots

    @property
    def taken(self) -> float:
        """How much of the capacity is taken: the instruments, each by what its mode takes."""
        if self._modes is None:
            return len(self)
        return self.slot_size * sum(self.rule.share(self._modes.homes(name)) for name in self._homes)

    def __len__(self) -> int:
        return len(self._home)

    def __repr__(self) -> str:
        loads = ", ".join(f"{name}: {load}" for name, load in self.loads.items())
        return f"<Placement {len(self)}/{self.capacity} {{{loads}}}>"
