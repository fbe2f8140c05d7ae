"""What a gateway knows of symbols and accounts that other processes hold: for people who look."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from brokerpool.cluster.remote_account import RemoteAccount
from brokerpool.feed.demand import Demand
from brokerpool.feed.gaps import Gap, GapBook
from brokerpool.feed.pool_inspection import told
from brokerpool.feed.states import SymbolState
from brokerpool.feed.symbol_explanation import AccountStatus, Explanation, Guest, LoginStatus, Owner
from brokerpool.instruments import Instrument

_NO_LOGIN = LoginStatus("", refused=False, version=0, failures=0, rest_seconds=0.0, expires_at=None)
#: Members of an account's statistics that are added up.
_SUMMED = ("connections", "max_connections", "allowed_connections", "symbols_mute", "symbols_degraded")
#: Of an account of which nothing was heard yet.
_NOTHING: dict[str, Any] = {
    **dict.fromkeys(("connections", "total_symbols", "capacity_used"), 0),
    **dict.fromkeys(("max_connections", "allowed_connections", "max_symbols_per_connection"), 0),
    **dict.fromkeys(("symbols_down", "symbols_degraded", "symbols_mute", "gaps_open", "gaps_total"), 0),
    "faults": {},
    "accounts": [],
    "per_connection": [],
}


class RemoteInspection:
    """Answers from what was told; which connection carries a symbol is known to its feed node alone."""

    def __init__(
        self,
        accounts: Sequence[RemoteAccount],
        demand: Demand,
        gaps: GapBook,
        home: Callable[[Instrument], RemoteAccount],
        wall_clock: Callable[[], float],
    ) -> None:
        self._accounts = accounts
        self._demand = demand
        self._gaps = gaps
        self._home = home
        self._wall_clock = wall_clock

    def login(self) -> LoginStatus:
        """Tell how the first login stands that was refused, else that of the first account."""
        logins = [status.login for status in self.accounts()]
        return next((login for login in logins if login.refused), logins[0] if logins else _NO_LOGIN)

    def explain(self, instrument: Instrument) -> Explanation:
        """Tell all that is known of one instrument, wanted or not."""
        account = self._home(instrument)
        held = account.held(instrument)
        owners = self._demand.owners(instrument)
        seen = None if held is None or held.tick is None else held.received_ms
        node = account.status.node if account.status is not None and account.heard else ""
        return Explanation(
            instrument,
            listed=account.book.token(instrument) is not None,
            fits=any(status.symbols < status.capacity for status in account.statuses()),
            owners=tuple(Owner(name, tuple(sorted(modes))) for name, modes in owners.items()),
            mode=self._demand.mode(instrument),
            priority=self._demand.priority(instrument),
            state=self.state(instrument),
            carriers=(),
            last=None if held is None else held.tick,
            last_tick_age=None if seen is None else max(0.0, self._wall_clock() - seen / 1000),
            usual_pause=0.0,
            gap=self._gaps.get(instrument),
            account=self.account(instrument),
            route=(
                f"The feed node {node} holds {account.name}."
                if node
                else f"No feed node is heard that holds {account.name}."
            ),
        )

    def state(self, instrument: Instrument) -> SymbolState | None:
        """Tell how far a wanted instrument has come; None when nobody wants it."""
        if self._demand.mode(instrument) is None:
            return None
        held = self._home(instrument).held(instrument)
        return (held.state if held is not None else None) or SymbolState.ACCEPTED

    def account(self, instrument: Instrument) -> str:
        """Return the account that serves a symbol now, "" when none does."""
        account = self._home(instrument)
        held = account.held(instrument)
        return held.account if held is not None and account.heard else ""

    def search(self, text: str, most: int) -> list[Instrument]:
        """Return wanted symbols that contain the text in any case, those that begin with it first."""
        return self._demand.search(text, most)

    def degraded(self, most: int) -> list[Instrument]:
        """Return symbols that no connection carries, though they are wanted."""
        every = (held for account in self._accounts for held in account.all_held())
        return list(islice((h.instrument for h in every if h.state is SymbolState.DEGRADED), most))

    def guests(self, most: int) -> list[Guest]:
        """Return nothing: where an account is away is known to its feed node."""
        return []

    def gaps(self, most: int) -> list[Gap]:
        """Return open gaps, in the order in which they were opened."""
        return self._gaps.first(most)

    def some(self, name: str, most: int) -> list[Instrument]:
        """Return nothing: what is on a connection is known to its feed node."""
        return []

    def evacuating(self) -> list[str]:
        """Return nothing: it is known to their feed node."""
        return []

    # -- all of them --------------------------------------------------------------------------------------

    def accounts(self) -> list[AccountStatus]:
        """Tell how each account stands, in order of preference."""
        return [status for account in self._accounts for status in account.statuses()]

    def connections(self) -> Iterator[dict[str, Any]]:
        """Give the numbers of each connection."""
        for account in self._accounts:
            yield from account.statistics().get("per_connection", ())

    def stats(self, gaps_total: int, symbols_down: int) -> dict[str, Any]:
        """Return the numbers of all accounts as those of one, with what is wanted here."""
        every = [{**_NOTHING, **account.statistics()} for account in self._accounts]
        statuses = self.accounts()
        capacity = sum(status.capacity for status in statuses) or 1
        return {
            **every[0],  # for the order of the members
            **{key: sum(numbers[key] for numbers in every) for key in _SUMMED},
            "total_symbols": len(self._demand),
            "capacity_used": sum(status.symbols for status in statuses) / capacity,
            "max_symbols_per_connection": max(n["max_symbols_per_connection"] for n in every),
            "symbols_down": symbols_down,
            "gaps_open": len(self._gaps),
            "gaps_total": gaps_total,
            "faults": {name: count for numbers in every for name, count in numbers["faults"].items()},
            "accounts": [told(status) for status in statuses],
            "per_connection": [connection for numbers in every for connection in numbers["per_connection"]],
        }
