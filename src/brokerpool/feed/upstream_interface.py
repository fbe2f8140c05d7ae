"""Upstream: all that a gateway knows of where its ticks come from, whoever has the broker's connections."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

from brokerpool.event_journal import Journal
from brokerpool.feed.demand import Demand
from brokerpool.feed.gaps import Gap
from brokerpool.feed.listeners import PoolListener
from brokerpool.feed.refusals import Subscribed
from brokerpool.feed.symbol_explanation import AccountStatus, Explanation, Guest, LoginStatus
from brokerpool.instruments import Instrument, TokenBook
from brokerpool.ticks import Mode

#: What became of a want, once the future is done.
Answer: TypeAlias = asyncio.Future[Subscribed]


def answered(done: Subscribed) -> Answer:
    """Return the answer of an upstream that could tell at once."""
    answer: Answer = asyncio.get_running_loop().create_future()
    answer.set_result(done)
    return answer


class Inspector(Protocol):
    """What people ask of an upstream; nothing is changed, and lists have `most` items at most."""

    def login(self) -> LoginStatus:
        """Tell how the login at the broker stands, without what is secret in it."""
        ...

    def explain(self, instrument: Instrument) -> Explanation:
        """Tell all that is known here of one instrument, wanted or not."""
        ...

    async def explained(self, instrument: Instrument) -> Explanation:
        """Tell the same and what another process knows of it; takes a few seconds at most."""
        ...

    def search(self, text: str, most: int) -> list[Instrument]:
        """Return wanted symbols that contain the text in any case."""
        ...

    def degraded(self, most: int) -> list[Instrument]:
        """Return symbols that no connection carries, though they are wanted."""
        ...

    def guests(self, most: int) -> list[Guest]:
        """Return symbols that another account than their home carries."""
        ...

    def gaps(self, most: int) -> list[Gap]:
        """Return open gaps, in the order in which they were opened."""
        ...

    def some(self, name: str, most: int) -> list[Instrument]:
        """Return a few of the symbols at home on the connection of this name."""
        ...

    def evacuating(self) -> list[str]:
        """Return the connections that are being emptied."""
        ...


class Upstream(Protocol):
    """Brings ticks for what is wanted in the names of owners; everything happens on one event loop.

    A want may be answered at once or later, in any order; a release takes effect at once. All else answers
    from what is known here and never waits.
    """

    @property
    def name(self) -> str:
        """The broker's name as clients see it, in lower case; of several accounts the first one's."""
        ...

    @property
    def depth_levels(self) -> int:
        """Levels of the order book on each side."""
        ...

    @property
    def book(self) -> TokenBook:
        """What the broker lists; another one once a newer list is in use."""
        ...

    @property
    def journal(self) -> Journal:
        """What happened, to be read and written to."""
        ...

    # -- demand -------------------------------------------------------------------------------------------

    def want(self, owner: str, instruments: Sequence[Instrument], mode: Mode, priority: int = 0) -> Answer:
        """Want the instruments in the mode; what does not fit is refused alone, each with its reason.

        The answer is done already where the upstream can tell at once. Every answer comes in the end, with a
        BrokerpoolError where nothing was taken. It is the upstream's to end: who waits no more lets it come,
        and then releases what nobody asked for any longer. Raises PoolClosedError.
        """
        ...

    def release(self, owner: str, instruments: Sequence[Instrument], mode: Mode | None = None) -> object:
        """Give up the mode (all modes by default) of what the owner holds of these, at once.

        A want that is under way is not touched: what it is granted later is held.
        """
        ...

    def hold_open(self, on: bool) -> None:
        """Keep a connection open for what it tells of orders, also while nobody wants a symbol, or no more.

        Of several accounts each that tells of orders keeps one. Raises PoolClosedError.
        """
        ...

    @property
    def demand(self) -> Demand:
        """Who holds what, wants under way included or not; to be read only."""
        ...

    # -- what comes of it ---------------------------------------------------------------------------------

    def listen(self, listener: PoolListener) -> None:
        """Tell the listener of every tick and change from now on, in the order in which they came."""
        ...

    def unlisten(self, listener: PoolListener) -> None:
        """Tell the listener no more; one that never listened is ignored."""
        ...

    def gap(self, instrument: Instrument) -> Gap | None:
        """Return the instrument's open gap, in which its last value is stale; None when there is none."""
        ...

    def broker(self, instrument: Instrument) -> str:
        """Return the broker that feeds the instrument now, in lower case."""
        ...

    def account(self, instrument: Instrument) -> str:
        """Return the account that serves the instrument now, "" when none does."""
        ...

    # -- how it stands ------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """True while at least one connection to the broker is live."""
        ...

    @property
    def symbols_down(self) -> int:
        """Symbols whose connection was lost or refused and that no other one carries."""
        ...

    @property
    def symbols_unserved(self) -> int:
        """Wanted symbols that no live connection carries, those of a first dial included."""
        ...

    def accounts(self) -> Sequence[AccountStatus]:
        """Tell how each account stands, in order of preference."""
        ...

    def get_pool_stats(self) -> dict[str, dict[str, Any]]:
        """Return the numbers, see `monitor.metric_vocabulary`, under `websocket`."""
        ...

    @property
    def inspection(self) -> Inspector:
        """Where single symbols are and what ails them; to be asked by people, not for every tick."""
        ...

    # -- orders of an operator, and the end ---------------------------------------------------------------

    def rotate(self, name: str) -> int:
        """Replace a connection and return how many symbols are to move.

        Raises BrokerpoolError: CONNECTION_UNKNOWN, or CONNECTION_NOT_MOVABLE; nothing has changed then.
        """
        ...

    def drain(self, name: str) -> int:
        """Do the same with the connections that are open, so that there is one less."""
        ...

    async def close(self) -> None:
        """Let go of everything; takes a few seconds at most."""
        ...
