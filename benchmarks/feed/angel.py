"""SmartStream's packets in the middle of a day, for our codec and the parser of smartapi-python 1.5.5."""

from __future__ import annotations

import random
import struct

from benchmarks.feed.benchmark import Benchmark, Case
from brokerpool.brokers.angel import SmartStreamWire
from brokerpool.instruments import Instrument, Token

NUMBERS = range(1000, 2000)
ROUTES: dict[Token, Instrument] = {f"1|{number}": Instrument("NSE", f"SIM{number}") for number in NUMBERS}

_HEAD = struct.Struct("<BB25sqqq")
_DAY = struct.Struct("<qqqddqqqq")
_TIME_AND_OI = struct.Struct("<qqd")
_LEVEL = struct.Struct("<hqqh")
_YEAR = struct.Struct("<qqqq")
_MODES = {"ltp": 1, "quote": 2, "snap": 3}


class Market:
    """Packets of 1000 instruments in the middle of a day; seeded, so that every run decodes the same bytes.

    Every packet brings new prices and quantities; one in a hundred moves the day's high or low, which is how
    often a random walk of one step a second over a trading day does it.
    """

    def __init__(self, seed: int = 17) -> None:
        self._rng = random.Random(seed)  # a benchmark's input, not a secret
        self._opens = {number: self._rng.randrange(5_000, 500_000, 5) for number in NUMBERS}
        self._extremes = {number: (max(5, price - 500), price + 500) for number, price in self._opens.items()}

    def packet(self, mode: str, number: int) -> bytes:
        """Return the next message of an instrument."""
        rng, open_ = self._rng, self._opens[number]
        last = max(5, open_ + rng.randrange(-90, 91) * 5)
        at = 1_790_000_000_000 + rng.randrange(10_000_000)
        head = _HEAD.pack(_MODES[mode], 1, str(number).encode(), rng.randrange(10_000_000), at, last)
        if mode == "ltp":
            return head
        low, high = self._extremes[number]
        if rng.random() < 0.01:
            self._extremes[number] = low, high = low, high + 5
        volume, buys, sells = (rng.randrange(10_000_000) for _ in range(3))
        day = _DAY.pack(rng.randrange(1, 500), open_, volume, buys, sells, open_, high, low, open_ - 50)
        if mode == "quote":
            return head + day
        book = b"".join(
            _LEVEL.pack(step < 0, rng.randrange(5_000), max(5, last + 5 * step), rng.randrange(60))
            for step in (-1, -2, -3, -4, -5, 1, 2, 3, 4, 5)
        )
        more = _TIME_AND_OI.pack(at // 1000, rng.randrange(1_000_000), 0.5)
        return head + day + more + book + _YEAR.pack(high, low, high, low)


def frames(mode: str, packets: int, count: int) -> list[bytes]:
    """Return `count` messages, each of them the one packet that Angel puts into one."""
    market = Market()
    return [market.packet(mode, NUMBERS[at % len(NUMBERS)]) for at in range(count)]


BENCHMARK = Benchmark(
    ours="SmartStreamWire",
    peer="smartapi",
    target=8.0,
    judged_size=1,
    modes=("ltp", "quote", "snap"),
    sizes=(1,),
    frames=frames,
    wire=SmartStreamWire,
    routes=ROUTES,
    together=20,
    cases=(Case("snap", 1, 20_000), Case("quote", 1, 40_000), Case("ltp", 1, 40_000)),
)
