"""What may be wrong with one of several accounts, and what goes on without it, in words; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

#: What is left of a login when that begins to count: a quarter of an hour.
LOGIN_SECONDS = 900.0


class AccountFacts(NamedTuple):
    """What is known of one account at one moment."""

    name: str
    connected: bool
    login_refused: bool
    #: Seconds until the login ends, None where that is not known.
    login_left: float | None
    #: Symbols that it carries, those at home there, and those of these that another account carries.
    symbols: int
    symbols_home: int
    symbols_away: int
    #: Symbols that fit.
    capacity: int

    @property
    def taken(self) -> int:
        """How many places are taken: those of symbols at home there are kept while others carry them."""
        return self.symbols + self.symbols_away

    @property
    def room(self) -> int:
        """How many more symbols of other accounts fit."""
        return max(0, self.capacity - self.taken)

    @property
    def full(self) -> bool:
        """Whether no more symbols can be at home there: guests make room for them."""
        return self.symbols_home >= self.capacity

    @property
    def guests(self) -> int:
        """How many symbols it carries that are at home elsewhere."""
        return self.taken - self.symbols_home

    @property
    def out(self) -> bool:
        """Whether it has symbols, and no connection of it is live."""
        return not self.connected and self.taken > 0

    @property
    def login_ends(self) -> bool:
        """Whether its login is about to end, or has ended and was not refused yet."""
        return not self.login_refused and self.login_left is not None and self.login_left < LOGIN_SECONDS


def refused(account: AccountFacts, accounts: Sequence[AccountFacts]) -> str:
    """Say that an account's login was refused, and what becomes of its symbols."""
    told = (
        f"The broker refused the access token of the account {account.name}, and is not asked again with it."
    )
    if account.connected:
        return f"{told} Connections that are open go on until the broker ends them."
    return f"{told} {_carried(account, accounts)}" if account.symbols_home else told


def out(account: AccountFacts, accounts: Sequence[AccountFacts]) -> str:
    """Say that an account is out, and what becomes of its symbols."""
    told = f"No connection of the account {account.name} is live."
    return f"{told} {_carried(account, accounts)}" if account.symbols_home else told


def login_ends(account: AccountFacts) -> str:
    """Say when an account's login ends."""
    minutes = (account.login_left or 0.0) / 60
    if minutes > 0:
        return f"The login of the account {account.name} ends in {minutes:.0f} minutes."
    return f"The login of the account {account.name} ended {-minutes:.0f} minutes ago."


def full(accounts: Iterable[AccountFacts]) -> str:
    """Say that no account has room."""
    loads = ", ".join(f"{a.name} {a.symbols_home} of {a.capacity}" for a in accounts)
    return f"No account has room for another symbol: {loads}."


def _carried(account: AccountFacts, accounts: Sequence[AccountFacts]) -> str:
    """Tell how many of an account's symbols others carry, who does, and why not all."""
    others = [other for other in accounts if other is not account]
    home, carried = account.symbols_home, account.symbols_away
    names = " and ".join(other.name for other in others if other.guests)
    if carried == home:
        return f"Its {_symbols(home)} go on with {names}."
    room = "; ".join(f"{o.name} {_has_room(o)}" for o in others)
    if not carried:
        return f"None of its {_symbols(home)} is carried by another account so far: {room}."
    return f"Of its {_symbols(home)} {carried} go on with {names}, {home - carried} with none: {room}."


def _has_room(account: AccountFacts) -> str:
    if account.out or account.login_refused:
        return "is out as well"
    load = f"{account.taken} of {account.capacity}"
    return f"has room for {account.room} ({load})" if account.room else f"is full ({load})"


def _symbols(count: int) -> str:
    return f"{count} symbol{'' if count == 1 else 's'}"
