"""Kite's packets in the middle of a day, for our codec and the parser of kiteconnect 5.2.2."""

from __future__ import annotations

import random
import struct

from benchmarks.feed.benchmark import Benchmark, Case
from brokerpool.brokers.zerodha import KiteWire
from brokerpool.instruments import Instrument, Token

TOKENS = [(exchange_token << 8) + 1 for exchange_token in range(1000, 4000)]
ROUTES: dict[Token, Instrument] = {token: Instrument("NSE", f"SIM{token}") for token in TOKENS}

_QUOTE = struct.Struct(">IiIiIIIiiii")
_TIMES_AND_OI = struct.Struct(">IIIII")
_LEVEL = struct.Struct(">IiHxx")


class Market:
    """Packets of 3000 instruments in the middle of a day; seeded, so that every run decodes the same bytes.

    Every packet brings new prices and quantities; one in a hundred moves the day's high or low, which is how
    often a random walk of one step a second over a trading day does it.
    """

    def __init__(self, seed: int = 17) -> None:
        self._rng = random.Random(seed)  # a benchmark's input, not a secret
        self._opens = {token: self._rng.randrange(5_000, 500_000, 5) for token in TOKENS}
        self._extremes = {token: (max(5, price - 500), price + 500) for token, price in self._opens.items()}

    def frame(self, mode: str, packets: int) -> bytes:
        """Return a message with the next packets of the first `packets` instruments."""
        parts = [struct.pack(">H", packets)]
        for token in TOKENS[:packets]:
            packet = self._packet(mode, token)
            parts += (struct.pack(">H", len(packet)), packet)
        return b"".join(parts)

    def _packet(self, mode: str, token: int) -> bytes:
        rng, open_ = self._rng, self._opens[token]
        last = max(5, open_ + rng.randrange(-90, 91) * 5)
        if mode == "ltp":
            return struct.pack(">Ii", token, last)
        low, high = self._extremes[token]
        if rng.random() < 0.01:
            self._extremes[token] = low, high = low, high + 5
        volume, buys, sells = (rng.randrange(10_000_000) for _ in range(3))
        quote = _QUOTE.pack(
            token, last, rng.randrange(1, 500), open_, volume, buys, sells, open_, high, low, open_ - 50
        )
        if mode == "quote":
            return quote
        seconds = 1_700_000_000 + rng.randrange(10_000)
        book = b"".join(
            _LEVEL.pack(rng.randrange(5_000), max(5, last + 5 * step), rng.randrange(60))
            for step in (-1, -2, -3, -4, -5, 1, 2, 3, 4, 5)
        )
        return quote + _TIMES_AND_OI.pack(seconds, rng.randrange(1_000_000), 0, 0, seconds) + book


def frames(mode: str, packets: int, count: int) -> list[bytes]:
    """Return `count` messages of the same first instruments."""
    market = Market()
    return [market.frame(mode, packets) for _ in range(count)]


BENCHMARK = Benchmark(
    ours="KiteWire",
    peer="kiteconnect",
    target=8.0,
    judged_size=100,  # the messages of a busy feed
    modes=("ltp", "quote", "full"),
    sizes=(1, 10, 100, 3000),
    frames=frames,
    wire=KiteWire,
    routes=ROUTES,
    cases=(
        Case("full", 1, 20_000),
        Case("full", 10, 8_000),
        Case("quote", 10, 20_000),
        Case("ltp", 10, 40_000),
    ),
)
