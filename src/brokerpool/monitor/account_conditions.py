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
    #: Symbols that it carries, those at home there, those that fit, and those that nothing carries.
    symbols: int
    symbols_home: int
    capacity: int
    symbols_down: int

    @property
    def taken(self) -> int:
        """How many places are taken: those of symbols at home there are kept while others carry them."""
        return max(self.symbols, self.symbols_home)

    @property
    def room(self) -> int:
        """How many more symbols fit."""
        return max(0, self.capacity - self.taken)

    @property
    def guests(self) -> int:
        """How many symbols it carries that are at home elsewhere."""
        return max(0, self.symbols - self.symbols_home) if self.connected else 0

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
        f"The broker refused the access token of the account {account.name}; it is not asked with it again."
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
    return f"No account has room for another symbol: {_loads(accounts)}."


def _carried(account: AccountFacts, accounts: Sequence[AccountFacts]) -> str:
    """Tell how many of an account's symbols others carry, who does, and why not all."""
    others = [other for other in accounts if other is not account]
    hosts = [other for other in others if other.guests]
    home = account.symbols_home
    # The others' guests may be of a third account as well: no more is claimed than is at home here.
    carried = min(home - min(home, account.symbols_down), sum(host.guests for host in hosts))
    names = " and ".join(host.name for host in hosts)
    if carried == home:
        return f"Its {_symbols(home)} go on with {names}."
    room = "; ".join(f"{o.name} {_has_room(o)}" for o in others)
    if not carried:
        return f"None of its {_symbols(home)} is carried by another account: {room}."
    return f"Of its {_symbols(home)} {carried} go on with {names}, {home - carried} with none: {room}."


def _has_room(account: AccountFacts) -> str:
    if account.out or account.login_refused:
        return "is out as well"
    load = f"{account.taken} of {account.capacity}"
    return f"has room for {account.room} ({load})" if account.room else f"is full ({load})"


def _symbols(count: int) -> str:
    return f"{count} symbol{'' if count == 1 else 's'}"


def _loads(accounts: Iterable[AccountFacts]) -> str:
    return ", ".join(f"{a.name} {a.taken} of {a.capacity}" for a in accounts)
