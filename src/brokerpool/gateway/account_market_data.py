"""Market data over HTTP from several accounts: from the one that serves a symbol, else one that lists it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from brokerpool.brokers.rest import Candle, Ohlc
from brokerpool.errors import BrokerpoolError, ErrorCode
from brokerpool.gateway.summed_statistics import summed
from brokerpool.http.broker_api import Quoted
from brokerpool.http.market_data_interface import MarketDataApi
from brokerpool.instruments import Instrument
from brokerpool.ticks import Tick

T = TypeVar("T")

#: What says that an account is out, so that another one is asked. That calls come too fast does not: a second
#: account is no way around the limits of the first. Nor does a call that took too long, whose caller has
#: waited for as long as he may; several of them open the breaker.
OUT = frozenset(
    {
        ErrorCode.BROKER_REFUSED_CREDENTIALS,
        ErrorCode.BROKER_UNREACHABLE,
        ErrorCode.BREAKER_OPEN,
        ErrorCode.CALL_NOT_SENT,
        ErrorCode.CALL_FAILED,
        ErrorCode.PROXY_REFUSED,
        ErrorCode.TLS_NOT_TRUSTED,
        ErrorCode.BUS_UNREACHABLE,
    }
)


class AccountApi(NamedTuple):
    """One account's HTTP API, and which instruments it may be asked about."""

    name: str
    api: MarketDataApi
    #: Tells whether the account lists the instrument, and serves its exchange.
    lists: Callable[[Instrument], bool]


class AccountApis:
    """Asks the account that serves an instrument, and the next one that lists it while that one is out.

    What no account serves is asked of the first that lists it, in order of preference. All methods return and
    raise what those of `BrokerApi` do; where every account that lists an instrument is out, the fault of the
    last one is raised. With one account it is that account's `BrokerApi`.
    """

    def __init__(self, accounts: Sequence[AccountApi], serving: Callable[[Instrument], str]) -> None:
        """The accounts stand in order of preference; `serving` names the one that feeds an instrument now."""
        self._accounts = accounts
        self._serving = serving

    def use(self, names: Sequence[str], made: Callable[[str], AccountApi]) -> None:
        """Ask the accounts of these names from now on, in this order; `made` gives those that are new."""
        known = {account.name: account for account in self._accounts}
        self._accounts = [known.get(name) or made(name) for name in names]

    # -- market data --------------------------------------------------------------------------------------

    async def ltp(self, instruments: Iterable[Instrument]) -> dict[Instrument, Tick]:
        """Return last prices; see `BrokerApi.ltp`."""
        return await self._many(instruments, lambda api, part: api.ltp(part))

    async def ohlc(self, instruments: Iterable[Instrument]) -> dict[Instrument, Ohlc]:
        """Return the day's prices; see `BrokerApi.ohlc`."""
        return await self._many(instruments, lambda api, part: api.ohlc(part))

    async def quotes(self, instruments: Iterable[Instrument]) -> dict[Instrument, Quoted]:
        """Return all that is known; see `BrokerApi.quotes`."""
        return await self._many(instruments, lambda api, part: api.quotes(part))

    async def depth(self, instrument: Instrument) -> Quoted | None:
        """Return a quote with its order book; see `BrokerApi.depth`."""
        return await self._one(self._order(instrument), lambda api: api.depth(instrument))

    async def history(
        self, instrument: Instrument, interval: str, start: datetime, end: datetime
    ) -> list[Candle]:
        """Return candles, all of one account that has the interval; see `BrokerApi.history`."""
        order = self._order(instrument)
        able = [account for account in order if interval in account.api.intervals] or order[:1]
        return await self._one(able, lambda api: api.history(instrument, interval, start, end))

    @property
    def intervals(self) -> Mapping[str, int]:
        """The candles that any account has -> the longest days in one call, of the account with fewest."""
        found: dict[str, int] = {}
        for account in self._accounts:
            for interval, days in account.api.intervals.items():
                found[interval] = min(days, found.get(interval, days))
        return found

    # -- numbers and end ----------------------------------------------------------------------------------

    def breakers(self) -> dict[str, str]:
        """Return how each breaker stands, by host and group; of several accounts the host is ACCOUNT/host."""
        if len(self._accounts) == 1:
            return self._accounts[0].api.breakers()
        return {
            f"{account.name}/{key}": state
            for account in self._accounts
            for key, state in account.api.breakers().items()
        }

    def stats(self) -> dict[str, Any]:
        """Return the numbers of the clients; of several their sums, and under `accounts` those of each."""
        each = [account.api.stats() for account in self._accounts]
        if len(each) == 1:
            return each[0]
        accounts = [{**one, "name": account.name} for one, account in zip(each, self._accounts, strict=True)]
        return {**summed(each), "breakers": self.breakers(), "accounts": accounts}

    async def warm_up(self) -> None:
        """Open one connection of each client, which spares the first question a handshake."""
        await asyncio.gather(*(account.api.warm_up(most=1) for account in self._accounts))

    def keep_warm(self, when: Callable[[], bool]) -> None:
        """Keep the clients' connections open while that is the case."""
        for account in self._accounts:
            account.api.keep_warm(when=when)

    async def drain(self, seconds: float) -> None:
        """End all calls; those on their way have so many seconds."""
        await asyncio.gather(*(account.api.drain(seconds) for account in self._accounts))

    # -- inside -------------------------------------------------------------------------------------------

    def _order(self, instrument: Instrument) -> list[AccountApi]:
        """Return the accounts to be asked about it, one after the other; at least one."""
        if len(self._accounts) == 1:
            return [*self._accounts]
        serving = self._serving(instrument)
        listing = [account for account in self._accounts if account.lists(instrument)]
        return sorted(listing, key=lambda account: account.name != serving) or [self._accounts[0]]

    async def _one(self, order: Sequence[AccountApi], ask: Callable[[MarketDataApi], Awaitable[T]]) -> T:
        """Ask one account after the other until one is not out."""
        for account in order[:-1]:
            try:
                return await ask(account.api)
            except BrokerpoolError as error:
                if not _is_out(error):
                    raise
        return await ask(order[-1].api)

    async def _many(
        self,
        instruments: Iterable[Instrument],
        ask: Callable[[MarketDataApi, list[Instrument]], Awaitable[dict[Instrument, T]]],
    ) -> dict[Instrument, T]:
        """Ask each account for its part, and the next ones for the parts of those that are out."""
        if len(self._accounts) == 1:
            return await ask(self._accounts[0].api, [*instruments])
        left: dict[Instrument, Iterator[AccountApi]] = {i: iter(self._order(i)) for i in instruments}
        found: dict[Instrument, T] = {}
        fault: BrokerpoolError | None = None
        while left:
            parts: defaultdict[AccountApi, list[Instrument]] = defaultdict(list)
            for instrument, order in left.items():
                account = next(order, None)
                if account is None:
                    assert fault is not None  # every order has one account, which was asked
                    raise fault
                parts[account].append(instrument)
            answers = await asyncio.gather(
                *(ask(account.api, part) for account, part in parts.items()), return_exceptions=True
            )
            orders, left = left, {}
            for part, answer in zip(parts.values(), answers, strict=True):
                if not isinstance(answer, BaseException):
                    found |= answer
                elif isinstance(answer, BrokerpoolError) and _is_out(answer):
                    fault = answer
                    left |= {instrument: orders[instrument] for instrument in part}
                else:
                    raise answer
        return found


def _is_out(error: BrokerpoolError) -> bool:
    return error.code in OUT
