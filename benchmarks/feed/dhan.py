"""Dhan's packets in the middle of a day, for our codec and the parser of dhanhq 2.3.0."""

from __future__ import annotations

import random
import struct

from benchmarks.feed.benchmark import Benchmark, Case
from brokerpool.brokers.dhan.codec import DhanWire
from brokerpool.brokers.dhan.segments import token
from brokerpool.instruments import Instrument, Token

IDS = range(1000, 4000)
ROUTES: dict[Token, Instrument] = {token(1, each): Instrument("NSE", f"SIM{each}") for each in IDS}

_TICKER = struct.Struct("<BHBIfI").pack
_QUOTE = struct.Struct("<BHBIfHIfIIIffff").pack
_FULL = struct.Struct("<BHBIfHIfIIIIIIffff").pack
_LEVEL = struct.Struct("<IIHHff").pack


class Market:
    """Packets of 3000 instruments in the middle of a day; seeded, so that every run decodes the same bytes.

    Every packet brings new prices and quantities; one in a hundred moves the day's high or low, which is how
    often a random walk of one step a second over a trading day does it.
    """

    def __init__(self, seed: int = 17) -> None:
        self._rng = random.Random(seed)  # a benchmark's input, not a secret
        self._opens = {each: self._rng.randrange(5_000, 500_000, 5) for each in IDS}
        self._extremes = {each: (max(5, price - 500), price + 500) for each, price in self._opens.items()}

    def message(self, mode: str, packets: int) -> bytes:
        """Return a message with the next packets of the first `packets` instruments."""
        return b"".join(self._packet(mode, each) for each in IDS[:packets])

    def _packet(self, mode: str, security: int) -> bytes:
        rng, open_ = self._rng, self._opens[security]
        last = max(5, open_ + rng.randrange(-90, 91) * 5)
        at = 1_700_000_000 + rng.randrange(10_000)
        if mode == "ticker":
            return _TICKER(2, 16, 1, security, last / 100, at)
        low, high = self._extremes[security]
        if rng.random() < 0.01:
            self._extremes[security] = low, high = low, high + 5
        volume, buys, sells = (rng.randrange(10_000_000) for _ in range(3))
        day = last / 100, rng.randrange(1, 500), at, (open_ + rng.randrange(100)) / 100, volume, sells, buys
        prices = open_ / 100, 0.0, high / 100, low / 100
        if mode == "quote":
            return _QUOTE(4, 50, 1, security, *day, *prices)
        interest = rng.randrange(1_000_000), 0, 0
        book = b"".join(
            _LEVEL(
                rng.randrange(5_000),
                rng.randrange(5_000),
                rng.randrange(60),
                rng.randrange(60),
                max(5, last - 5 * step) / 100,
                (last + 5 * step) / 100,
            )
            for step in range(1, 6)
        )
        return _FULL(8, 162, 1, security, *day, *interest, *prices) + book


def frames(mode: str, packets: int, count: int) -> list[bytes]:
    """Return `count` messages of the same first instruments."""
    market = Market()
    return [market.message(mode, packets) for _ in range(count)]


BENCHMARK = Benchmark(
    ours="DhanWire",
    peer="dhanhq",
    target=8.0,
    judged_size=100,  # the messages of a busy feed
    modes=("ticker", "quote", "full"),
    sizes=(1, 10, 100, 3000),
    frames=frames,
    wire=DhanWire,
    routes=ROUTES,
    # The client reads one packet of a message.
    cases=(Case("full", 1, 8_000), Case("quote", 1, 10_000), Case("ticker", 1, 20_000)),
)
