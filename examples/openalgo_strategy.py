"""An OpenAlgo strategy that runs against brokerpool as it is: tells when a price leaves its recent range.

    BROKERPOOL_API_KEY=... python examples/openalgo_strategy.py --seconds 30 NSE:INFY NSE:SBIN

Needs `pip install openalgo`. With an OpenAlgo server it is the same program: other key, other address.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import defaultdict, deque
from typing import Any

from openalgo import api

RECENT = 20


class Breakout:
    """Remembers the last prices of each symbol."""

    def __init__(self) -> None:
        self._prices: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=RECENT))
        self.ticks = 0

    def on_tick(self, tick: dict[str, Any]) -> None:
        """Take one LTP update as the SDK hands it over."""
        self.ticks += 1
        prices, ltp = self._prices[tick["symbol"]], tick["data"]["ltp"]
        if len(prices) == RECENT and not min(prices) <= ltp <= max(prices):
            side = "above" if ltp > max(prices) else "below"
            print(f"{tick['symbol']} at {ltp:.2f} is {side} its last {RECENT} prices", flush=True)
        prices.append(ltp)


def main() -> None:
    """Subscribe, listen for a while, leave."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("symbols", nargs="+", metavar="EXCHANGE:SYMBOL")
    parser.add_argument("--ws-url", default="ws://127.0.0.1:8765")
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    instruments = [
        {"exchange": exchange, "symbol": symbol}
        for exchange, _, symbol in (text.partition(":") for text in arguments.symbols)
    ]
    client = api(api_key=os.environ["BROKERPOOL_API_KEY"], ws_url=arguments.ws_url)
    if not client.connect():
        raise SystemExit(f"{arguments.ws_url} does not answer, or refused the key")
    breakout = Breakout()
    client.subscribe_ltp(instruments, on_data_received=breakout.on_tick)
    time.sleep(arguments.seconds)
    client.unsubscribe_ltp(instruments)
    client.disconnect()
    print(f"{breakout.ticks} ticks")


if __name__ == "__main__":
    main()
