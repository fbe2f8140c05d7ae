"""A gateway over two accounts: a router of two pools, each on a simulated broker of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from brokerpool import ZerodhaFeed
from brokerpool.feed.router import Router
from brokerpool.gateway.assembly import compose
from brokerpool.gateway.server import Gateway
from brokerpool.settings import Settings
from brokerpool.simulator.fault_switches import FaultOrder
from brokerpool.simulator.zerodha.broker import KiteSimulator
from tests.gateway_client import KEY
from tests.rehearsal import feed, no_task_dies

#: How the accounts are called, in order of preference.
NAMES = ("zerodha", "desk2")


class TwoAccounts(NamedTuple):
    """What stands behind the gateway; brokers and feeds are in the order of NAMES."""

    served_by: Gateway
    router: Router
    brokers: tuple[KiteSimulator, KiteSimulator]
    feeds: tuple[ZerodhaFeed, ZerodhaFeed]

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
                "BROKERPOOL_ACCOUNTS": ",".join(NAMES),
                "BROKERPOOL_ACCOUNT_ZERODHA_API_KEY": first.api_key,
                "BROKERPOOL_ACCOUNT_DESK2_API_KEY": second.api_key,
                "BROKERPOOL_ACCOUNT_DESK2_BROKER": "zerodha",
                "BROKERPOOL_ACCOUNT_DESK2_EXCHANGES": ",".join(exchanges),
                "MAX_SYMBOLS_PER_WEBSOCKET": str(symbols),
                "MAX_WEBSOCKET_CONNECTIONS": str(connections),
                "BROKERPOOL_FAILOVER_SECONDS": str(grace),
                "MAX_RETRIES": "0",
                "WEBSOCKET_PORT": "0",
                "BROKERPOOL_HTTP_PORT": "0",
                "BROKERPOOL_MARKET_HOURS": "always",
                **environ,
            }
        )
        feeds = feed(first), feed(second)
        served_by = compose(settings, *feeds)
        router = served_by.upstream
        assert isinstance(router, Router)
        try:
            await served_by.start()
            yield TwoAccounts(served_by, router, (first, second), feeds)
        finally:
            await served_by.close()
