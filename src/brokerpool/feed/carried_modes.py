"""What each slot carries in each mode, where a broker's modes do not count alike; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from brokerpool.brokers.capacity import EMPTY, Capacity
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode


class Step(NamedTuple):
    """The mode in which a slot carries an instrument, and the one that is wanted, which may be lower."""

    carried: Mode
    wanted: Mode


class _Slot:
    """One slot's instruments with their modes, and how many that are in each."""

    __slots__ = ("all", "hosted", "late", "modes", "own")

    def __init__(self) -> None:
        self.modes: dict[Instrument, Mode] = {}
        self.hosted: set[Instrument] = set()
        #: Those that are carried in a higher mode than is wanted, with the mode that is.
        self.late: dict[Instrument, Mode] = {}
        self.own = list(EMPTY)  # of those at home
        self.all = list(EMPTY)

    def count(self, instrument: Instrument, mode: Mode, by: int) -> None:
        self.all[mode] += by
        if instrument not in self.hosted:
            self.own[mode] += by

    def settled(self, *, hosted: bool) -> list[int]:
        """Return the counts as they would be with nothing late."""
        counts = list(self.all if hosted else self.own)
        for instrument, mode in self.late.items():
            if hosted or instrument not in self.hosted:
                counts[self.modes[instrument]] -= 1
                counts[mode] += 1
        return counts


class Occupancy:
    """Keeps the modes of what stands in each slot, at home or hosted.

    A mode that falls may not fit, because a broker allows less where modes mix. The instrument is carried
    in the higher mode then, which contains the lower one, and is late until the lower one fits.
    """

    def __init__(self, rule: Capacity) -> None:
        self._rule = rule
        self._slots: dict[str, _Slot] = {}

    # -- what stands where --------------------------------------------------------------------------------

    def open(self, name: str) -> None:
        """Make a slot known that is empty."""
        self._slots[name] = _Slot()

    def close(self, name: str) -> None:
        """Forget a slot."""
        del self._slots[name]

    def enter(self, name: str, instrument: Instrument, step: Step, *, hosted: bool = False) -> None:
        """Put an instrument into a slot; hosted it may be carried in a lower mode than is wanted."""
        slot = self._slots[name]
        if hosted:
            slot.hosted.add(instrument)
        slot.modes[instrument] = step.carried
        slot.count(instrument, step.carried, 1)
        if step.wanted < step.carried:
            slot.late[instrument] = step.wanted

    def leave(self, name: str, instrument: Instrument) -> None:
        """Take an instrument out of a slot."""
        slot = self._slots[name]
        slot.count(instrument, slot.modes.pop(instrument), -1)
        slot.hosted.discard(instrument)
        slot.late.pop(instrument, None)

    def change(self, name: str, instrument: Instrument, mode: Mode) -> None:
        """Carry an instrument of the slot in another mode, whether that fits or not."""
        slot = self._slots[name]
        slot.count(instrument, slot.modes[instrument], -1)
        slot.modes[instrument] = mode
        slot.count(instrument, mode, 1)
        slot.late.pop(instrument, None)

    def lift(self, name: str, instrument: Instrument, mode: Mode) -> None:
        """Want a higher mode of an instrument of the slot, as was planned."""
        slot = self._slots[name]
        if slot.modes[instrument] > mode:
            slot.late[instrument] = mode
        else:
            self.change(name, instrument, mode)

    def adapt(self, name: str, instrument: Instrument, mode: Mode) -> None:
        """Carry an instrument in the mode that is wanted if it fits, else leave it in the one that it has."""
        slot = self._slots[name]
        carried = slot.modes[instrument]
        if mode == carried:
            slot.late.pop(instrument, None)
        elif self._rule.fits(moved(slot.all, carried, mode)):
            self.change(name, instrument, mode)
        elif mode < carried:
            slot.late[instrument] = mode

    def settle(self, name: str) -> list[Instrument]:
        """Lower what is late as far as it fits, and return it.

        All of it at once where that fits, or where the slot's own symbols have no place otherwise.
        """
        slot = self._slots[name]
        if not slot.late:
            return []
        if self._rule.fits(slot.settled(hosted=True)):
            due = list(slot.late)
        elif not self._rule.fits(slot.own):
            due = [i for i in slot.late if i not in slot.hosted]
        else:
            return [i for i in list(slot.late) if self._lower(slot, name, i)]
        for instrument in due:
            self.change(name, instrument, slot.late[instrument])
        return due

    def _lower(self, slot: _Slot, name: str, instrument: Instrument) -> bool:
        mode = slot.late[instrument]
        fits = self._rule.fits(moved(slot.all, slot.modes[instrument], mode))
        if fits:
            self.change(name, instrument, mode)
        return fits

    # -- figures ------------------------------------------------------------------------------------------

    def mode(self, name: str, instrument: Instrument) -> Mode:
        """Return the mode in which the slot carries an instrument."""
        return self._slots[name].modes[instrument]

    def wanted(self, name: str, instrument: Instrument) -> Mode:
        """Return the mode that is wanted of it."""
        slot = self._slots[name]
        return slot.late.get(instrument) or slot.modes[instrument]

    def step(self, name: str, instrument: Instrument) -> Step:
        """Return both."""
        return Step(self.mode(name, instrument), self.wanted(name, instrument))

    def carried(self, name: str) -> list[int]:
        """Return how much the slot carries, by mode."""
        return self._slots[name].all

    def homes(self, name: str) -> list[int]:
        """Return how much of it is at home there, by mode."""
        return self._slots[name].own

    def draft(self, new: Iterable[str]) -> Draft:
        """Return the slots, and new ones, as a plan may try them."""
        views = {n: (_views(s, hosted=False), _views(s, hosted=True)) for n, s in self._slots.items()}
        return Draft(self._rule, views | {name: ([list(EMPTY)], [list(EMPTY)]) for name in new})


class Draft:
    """What the slots would carry, while a plan is made; nothing else changes.

    Where something is late the slot is looked at both ways, as it is and with all of it lowered.
    """

    def __init__(self, rule: Capacity, views: dict[str, tuple[list[list[int]], list[list[int]]]]) -> None:
        self._rule = rule
        self._views = views  # by slot: those at home, and all

    def room(self, name: str, mode: Mode, *, hosted: bool) -> int:
        """Return how many more instruments fit; without `hosted` as if the hosted symbols were gone."""
        return max(self._rule.room(view, mode) for view in self._views[name][hosted])

    def add(self, name: str, mode: Mode, count: int) -> None:
        """Put instruments into a slot."""
        for view in (*self._views[name][0], *self._views[name][1]):
            view[mode] += count

    def rises(self, name: str, group: Mapping[Step, int], mode: Mode, *, hosted: bool) -> bool:
        """Tell whether so many instruments at home may rise where they are, all of them together."""
        for view, late in zip(self._views[name][hosted], (False, True), strict=False):
            risen = list(view)
            for step, count in group.items():
                risen = moved(risen, step.wanted if late else step.carried, mode, count)
            if self._rule.fits(risen):
                return True
        return False

    def rise(self, name: str, step: Step, mode: Mode) -> None:
        """Let one of them rise."""
        self.leave_home(name, step)
        for view, old in zip(self._views[name][True], step, strict=False):
            view[old] -= 1
        self.add(name, mode, 1)

    def leave_home(self, name: str, step: Step) -> None:
        """Take the home of an instrument away, whose place stays for a while as a hosted one."""
        for view, old in zip(self._views[name][False], step, strict=False):
            view[old] -= 1

    def want(self, name: str, old: Mode, mode: Mode) -> None:
        """Want a higher mode of an instrument at home that is late, and carried in no lower one."""
        for views in self._views[name]:
            for view in views[1:]:
                view[old] -= 1
                view[mode] += 1


def moved(counts: list[int], old: Mode, new: Mode, count: int = 1) -> list[int]:
    """Return the counts after instruments have gone from one mode to another."""
    after = list(counts)
    after[old] -= count
    after[new] += count
    return after


def _views(slot: _Slot, *, hosted: bool) -> list[list[int]]:
    carried = list(slot.all if hosted else slot.own)
    return [carried, slot.settled(hosted=hosted)] if slot.late else [carried]
