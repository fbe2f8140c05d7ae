"""A gateway over two accounts: a router of two pools, each on a simulated broker of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from brokerpool.feed.pool import WebSocketPool
from brokerpool.feed.router import Router
from brokerpool.feed.router_accounts import Route
from brokerpool.gateway.account_apis import AccountApi, AccountApis
from brokerpool.gateway.instrument_lists import InstrumentLists
from brokerpool.gateway.instrument_refresh import InstrumentRefresh
from brokerpool.gateway.server import Gateway
from brokerpool.http.api import BrokerApi
from brokerpool.settings import Settings
from brokerpool.simulator.faults import FaultOrder
from brokerpool.simulator.zerodha.broker import KiteSimulator
from tests.gateway_client import KEY
from tests.rehearsal import feed, no_task_dies

#: How the accounts are called, in order of preference.
NAMES = ("zerodha", "desk2")


class TwoAccounts(NamedTuple):
    """What stands behind the gateway; brokers and pools in the order of NAMES."""

    served_by: Gateway
    router: Router
    brokers: tuple[KiteSimulator, KiteSimulator]
    pools: tuple[WebSocketPool, ...]

    async def refuse_login(self, account: int) -> None:
        """Let an account's token die, and its sockets with it."""
        await self.brokers[account].throw(FaultOrder.parse(b'{"expire_token": {"close_sockets": true}}'))


@asynccontextmanager
async def two_accounts(
    simulator: dict[str, Any] | None = None,
    /,
    *,
    symbols: int = 5,
    connections: int = 2,
    exchanges: tuple[str, ...] = (),
    grace: float = 0.5,
    **environ: str,
) -> AsyncIterator[TwoAccounts]:
    """Run it; each account has so many connections of so many symbols, the second serves the exchanges."""
    options = {"rate": 300, "symbols": 30, **(simulator or {})}
    async with no_task_dies(), KiteSimulator(**options) as first, KiteSimulator(**options) as second:
        settings = Settings.load(
            environ={
                "BROKERPOOL_API_KEY": KEY,
                "BROKERPOOL_BROKER_API_KEY": first.api_key,
                "BROKERPOOL_BROKER_ACCESS_TOKEN": first.access_token,
                "WEBSOCKET_PORT": "0",
                "BROKERPOOL_HTTP_PORT": "0",
                "BROKERPOOL_MARKET_HOURS": "always",
                **environ,
            }
        )
        accounts = [feed(broker) for broker in (first, second)]
        pools = tuple(
            WebSocketPool(account, name=name, max_symbols=symbols, max_connections=connections, grace=grace)
            for name, account in zip(NAMES, accounts, strict=True)
        )
        routes = [Route(NAMES[0], pools[0]), Route(NAMES[1], pools[1], frozenset(exchanges))]
        router = Router(routes, grace=grace)
        apis = [
            AccountApi(name, BrokerApi(account.rest(), name=name, max_retries=0), lambda instrument: True)
            for name, account in zip(NAMES, accounts, strict=True)
        ]
        lists = {n: InstrumentRefresh(p, a) for n, p, a in zip(NAMES, pools, accounts, strict=True)}
        served_by = Gateway(
            settings, router, AccountApis(apis, lambda instrument: NAMES[0]), InstrumentLists(lists)
        )
        try:
            await served_by.start()
            yield TwoAccounts(served_by, router, (first, second), pools)
        finally:
            await served_by.close()
