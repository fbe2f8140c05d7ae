"""The pool without the gateway: subscribe, print ticks for a while, show what the pool did.

set -a; source sim.env; set +a      # written by: brokerpool simulate --broker zerodha --write-env sim.env
python examples/library.py --seconds 10 NSE:INFY NSE:SBIN
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence

from brokerpool import Mode, QuoteTick, WebSocketPool, ZerodhaFeed, fetch_instruments
from brokerpool.settings import BrokerSettings


async def watch(symbols: Sequence[str], seconds: float) -> None:
    """Print the ticks of the symbols for `seconds`."""
    settings = BrokerSettings.load()
    feed = ZerodhaFeed(
        settings.broker_api_key.get_secret_value(),
        settings.broker_access_token.get_secret_value(),
        ws_url=settings.broker_ws_url,
        book=await fetch_instruments(settings.broker_http_url),
    )
    async with WebSocketPool(feed) as pool:
        with pool.ticks() as ticks:
            pool.subscribe(symbols, Mode.QUOTE)
            try:
                async with asyncio.timeout(seconds):
                    async for tick in ticks:
                        change = f" ({tick.change_percent:+.2f} %)" if isinstance(tick, QuoteTick) else ""
                        print(f"{tick.instrument} {tick.ltp:.2f}{change}", flush=True)
            except TimeoutError:
                print(pool.get_pool_stats()["websocket"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("symbols", nargs="+", metavar="EXCHANGE:SYMBOL")
    parser.add_argument("--seconds", type=float, default=30.0)
    arguments = parser.parse_args()
    asyncio.run(watch(arguments.symbols, arguments.seconds))
