"""Upstox's messages in the middle of a day, for our codec and the parser of upstox-python-sdk 2.30.0."""

from __future__ import annotations

import random

from benchmarks.feed.benchmark import Benchmark, Case
from brokerpool.brokers.upstox import UpstoxWire
from brokerpool.instruments import Instrument, Token
from brokerpool.simulator.upstox import protobuf

KEYS = [f"NSE_FO|{number}" for number in range(40_000, 43_000)]
ROUTES: dict[Token, Instrument] = {key: Instrument("NFO", f"SIM{key[7:]}") for key in KEYS}
_NOON = 1_790_000_000_000


class Market:
    """Rows of 3000 options in the middle of a day; seeded, so that every run decodes the same bytes."""

    def __init__(self, seed: int = 17) -> None:
        self._rng = random.Random(seed)  # a benchmark's input, not a secret
        self._opens = {key: self._rng.randrange(5_000, 500_000, 5) / 100 for key in KEYS}

    def frame(self, mode: str, packets: int) -> bytes:
        """Return a message with the next rows of the first `packets` instruments."""
        records = [protobuf.record(self._row(mode, key)) for key in KEYS[:packets]]
        return protobuf.feed(records, _NOON + self._rng.randrange(10_000_000))

    def _row(self, mode: str, key: str) -> bytes:
        rng, open_ = self._rng, self._opens[key]
        last = open_ + rng.randrange(-90, 91) * 0.05
        traded = _NOON + rng.randrange(10_000_000)
        ltpc = protobuf.ltpc(last, traded, rng.randrange(1, 500), open_ - 0.5)
        if mode == "ltpc":
            return protobuf.price_row(key, ltpc)
        levels = [
            protobuf.level(
                rng.randrange(1, 5_000), last - 0.05 * step, rng.randrange(1, 5_000), last + 0.05 * step
            )
            for step in range(1, 6)
        ]
        volume = rng.randrange(1, 10_000_000)
        day = protobuf.bar("1d", open_, open_ + 5, max(0.05, open_ - 5), last, volume, _NOON)
        minute = protobuf.bar("I1", last, last, last, last, rng.randrange(1, 5_000), traded)
        market = protobuf.market(
            ltpc,
            protobuf.book(levels),
            protobuf.greeks(rng.random(), -12.3, 0.0009, 11.2, 1.5),
            protobuf.bars([day, minute]),
            average=open_,
            volume=volume,
            oi=float(rng.randrange(1_000_000)),
            volatility=rng.random(),
            buys=float(rng.randrange(10_000_000)),
            sells=float(rng.randrange(10_000_000)),
        )
        return protobuf.full_row(key, market=market)


def frames(mode: str, packets: int, count: int) -> list[bytes]:
    """Return `count` messages of the same first instruments."""
    market = Market()
    return [market.frame(mode, packets) for _ in range(count)]


BENCHMARK = Benchmark(
    ours="UpstoxWire",
    peer="upstox-python-sdk",
    target=3.0,
    judged_size=100,  # the messages of a busy feed
    modes=("ltpc", "full"),
    sizes=(1, 10, 100, 1500),
    frames=frames,
    wire=UpstoxWire,
    routes=ROUTES,
    cases=(Case("full", 1, 5_000), Case("full", 10, 1_000), Case("ltpc", 10, 4_000)),
)
