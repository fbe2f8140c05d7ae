"""The pool by itself, as the least that a feed node can cost: every symbol wanted, and ticks for nobody."""

from __future__ import annotations

import asyncio
import json
import os

from brokerpool.brokers import registry
from brokerpool.feed.pool import WebSocketPool
from brokerpool.settings import Settings
from brokerpool.ticks import Mode


async def main() -> None:
    """Serve until it is ended."""
    settings = Settings.load()
    (account,) = settings.accounts()
    feed = registry.broker(account.broker).account(account.access(egress=settings.egress))
    feed.relist(await feed.instruments())
    pool = WebSocketPool(
        feed,
        max_symbols=account.max_symbols_per_websocket,
        max_connections=account.max_websocket_connections,
        hours=settings.market_hours,
    )
    print(json.dumps({"pid": os.getpid()}), flush=True)
    pool.want("bench", list(feed.book), Mode.QUOTE)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
