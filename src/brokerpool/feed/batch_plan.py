"""Where a batch would go: the tiers of rooms that it may take, and what becomes of modes that rise; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from brokerpool.feed.carried_modes import Draft, Occupancy, Step
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode


@dataclass(slots=True)  # not frozen, which costs a microsecond for each
class Plan:
    """Where a batch would go; nothing has changed until it is committed."""

    #: Slot name -> the instruments that it takes; names that the placement does not know yet are new slots.
    assignments: dict[str, list[Instrument]]
    #: Instruments for which no slot has room, in the order of the request; those whose mode was to rise, and
    #: cannot, stay as they are.
    unplaced: list[Instrument]
    mode: Mode = Mode.QUOTE
    #: Instruments whose mode rises where they are.
    raised: list[Instrument] = field(default_factory=list)
    #: Instruments whose mode rises, and for which another slot than their home has room -> that slot.
    moved: dict[Instrument, str] = field(default_factory=dict)


#: Hands instruments out to slots, given as (name, room) with the oldest first; never more than there is room.
Policy: TypeAlias = Callable[[Sequence[Instrument], Sequence[tuple[str, int]]], dict[str, list[Instrument]]]


@dataclass(frozen=True, slots=True)
class Tiers:
    """The rooms for a mode, one tier after the other, each looked up when it is asked for."""

    draft: Draft
    known: Sequence[str]
    new: Sequence[str]
    mode: Mode
    #: Slots that are filled after those that are up, and after new ones.
    out: Container[str]
    #: Places of hosted symbols to come, by slot.
    promised: Mapping[str, int]

    def __iter__(self) -> Iterator[list[tuple[str, int]]]:
        """Give slots that are up and new ones, those that are out, and last the places of hosted symbols."""
        up = {n: self._room(n, hosted=True) for n in self.known if n not in self.out}
        free = [(n, max(0, room - self.promised.get(n, 0))) for n, room in up.items()]
        yield free + [(n, self._room(n, hosted=True)) for n in self.new]
        yield [(n, self._room(n, hosted=False)) for n in self.known if n in self.out]
        yield [(n, self._room(n, hosted=False)) for n in self.known]

    def _room(self, name: str, *, hosted: bool) -> int:
        return self.draft.room(name, self.mode, hosted=hosted)


class Planner:
    """Plans one batch where modes are told apart: new instruments, and modes that rise."""

    def __init__(
        self,
        tiers: Tiers,
        modes: Occupancy,
        home: Mapping[Instrument, str],
        policy: Policy,
    ) -> None:
        self._tiers = tiers
        self._draft = tiers.draft
        self._modes = modes
        self._home = home
        self._policy = policy
        self._plan = Plan({}, [], tiers.mode)
        #: What has no place for its mode yet, and how it is carried.
        self._rising: dict[Instrument, Step] = {}

    def plan(self, instruments: Iterable[Instrument]) -> Plan:
        """Return what becomes of each, modes that rise first; to be called once."""
        batch = dict.fromkeys(instruments)
        self._look(batch)
        self._raise()
        waiting = [instrument for instrument in batch if instrument not in self._home]
        for rooms in self._tiers:
            total = sum(room for _, room in rooms)
            for name, share in self._policy(waiting[:total], rooms).items():
                self._plan.assignments.setdefault(name, []).extend(share)
                self._draft.add(name, self._plan.mode, len(share))
            waiting = waiting[total:]
        refused = {*waiting, *self._rising}
        self._plan.unplaced.extend(i for i in batch if i in refused)
        return self._plan

    def _raise(self) -> None:
        self._rise_at_home(hosted=True)
        for rooms in self._tiers:
            total = sum(room for _, room in rooms)
            for name, share in self._policy(list(self._rising)[:total], rooms).items():
                self._draft.add(name, self._plan.mode, len(share))
                for instrument in share:
                    self._move(instrument, name)
            # Now, for another slot that works is better than the places of hosted symbols; and what has moved
            # makes room at its home.
            self._rise_at_home(hosted=False)

    def _look(self, batch: Iterable[Instrument]) -> None:
        mode = self._plan.mode
        for instrument in batch:
            home = self._home.get(instrument)
            if home is None:
                continue
            step = self._modes.step(home, instrument)
            if step.carried < mode:
                self._rising[instrument] = step
            elif step.wanted < mode:  # it is late, and now wanted again
                self._plan.raised.append(instrument)
                self._draft.want(home, step.wanted, mode)

    def _rise_at_home(self, *, hosted: bool) -> None:
        """Let those rise whose home has room for it; without `hosted` at the cost of its hosted symbols.

        The smallest steps come first, and all of a slot rise together where they fit only together.
        """
        mode, draft = self._plan.mode, self._draft
        groups: dict[str, Counter[Step]] = {}
        for instrument, step in self._rising.items():
            groups.setdefault(self._home[instrument], Counter())[step] += 1
        whole = {name for name, group in groups.items() if draft.rises(name, group, mode, hosted=hosted)}
        full: set[tuple[str, Step]] = set()
        for instrument, step in sorted(self._rising.items(), key=lambda item: -item[1].carried):
            home = self._home[instrument]
            if (home, step) in full:
                continue
            if home in whole or draft.rises(home, {step: 1}, mode, hosted=hosted):
                draft.rise(home, step, mode)
                self._plan.raised.append(instrument)
                del self._rising[instrument]
            else:
                full.add((home, step))

    def _move(self, instrument: Instrument, name: str) -> None:
        self._plan.moved[instrument] = name
        self._draft.leave_home(self._home[instrument], self._rising.pop(instrument))
