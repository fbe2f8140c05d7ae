"""Where a batch would go over one account or several, in order of preference; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from brokerpool.brokers.capacity import EMPTY, Capacity
from brokerpool.feed.batch_plan import Policy
from brokerpool.feed.placement import Placement
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode


class Row(NamedTuple):
    """One connection as it would be."""

    account: str
    connection: str
    symbols: int
    room: int


class AccountPlan:
    """One account, and what it would carry."""

    def __init__(
        self, name: str, rule: Capacity, policy: Policy, *, exchanges: Iterable[str] = (), taken: int = 0
    ) -> None:
        """`exchanges` are those that it serves, all without any; `taken` is how many symbols it has now."""
        self.name = name
        self._exchanges = frozenset(exchanges)
        self._placement = Placement(name, rule, policy)
        self.take([Instrument("NSE", f" {number}") for number in range(taken)], Mode.QUOTE)

    def serves(self, instrument: Instrument) -> bool:
        """Tell whether the rules let it carry the instrument."""
        return not self._exchanges or instrument.exchange in self._exchanges

    def take(self, instruments: Sequence[Instrument], mode: Mode) -> list[Instrument]:
        """Place what fits, and return the rest."""
        staged = self._placement.plan(instruments, mode=mode)
        self._placement.commit(staged)
        return staged.unplaced

    def rows(self, mode: Mode) -> Iterator[Row]:
        """Give its connections."""
        for name, load in self._placement.loads.items():
            yield Row(self.name, name, load, self._placement.room(name, mode))

    def room(self, mode: Mode) -> int:
        """Return how many more symbols would fit in a mode, with all connections open."""
        opened = sum(row.room for row in self.rows(mode))
        return opened + len(self._placement.new_slots()) * self._placement.rule.room(EMPTY, mode)

    @property
    def connections(self) -> int:
        """How many there may be."""
        return self._placement.max_slots


def spread(accounts: Iterable[AccountPlan], wanted: Sequence[Instrument], mode: Mode) -> list[Instrument]:
    """Place each symbol on the first account that serves it and has room; return those without a place."""
    waiting = wanted
    for account in accounts:
        left = set(account.take([i for i in waiting if account.serves(i)], mode))
        waiting = [i for i in waiting if i in left or not account.serves(i)]
    return [*waiting]
