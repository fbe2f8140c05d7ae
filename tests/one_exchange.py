"""Simulated brokers at one exchange, and clients of a gateway that see which trades reach them."""

from __future__ import annotations

import asyncio
import json
import math
import time
import tomllib
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from brokerpool.brokers.limits_file import FeedLimits, RateWindow
from brokerpool.simulator.broker import SimulatedBroker
from brokerpool.simulator.exchange import Quote
from brokerpool.simulator.registry import front
from brokerpool.simulator.run import write_account
from brokerpool.simulator.tick_rate import INTERVAL_SECONDS, Metronome
from tests import processes
from tests.faults.observer import Observer
from tests.gateway_client import masked, raw_client
from tests.rehearsal import no_task_dies

#: How the accounts' settings are called.
FILE = "accounts.toml"
#: Seconds for which an account may be out before its symbols move.
GRACE = 1.0


class Shape(NamedTuple):
    """What an account may have."""

    connections: int
    symbols_each: int


def shapes(second: str, each: int) -> tuple[Shape, Shape]:
    """Return room for 3 and for 2 times `each`; OpenAlgo is given one connection."""
    return Shape(3, each), Shape(1, 2 * each) if second == "openalgo" else Shape(2, each)


class Exchange:
    """The brokers, whose clients see the same trades; which these were is kept."""

    def __init__(
        self, brokers: Sequence[SimulatedBroker], limits: Sequence[Shape], rate: float, interval: float
    ) -> None:
        """The exchange has `rate` trades a second, and tells of them every `interval` seconds."""
        self.brokers = brokers
        self.shapes = limits
        self.rate = rate
        self.interval = interval
        #: By how many trades the first broker is behind, where there are several.
        self.lag = 0
        #: By symbol, the day's volume after each trade: it rises with each, so it numbers them.
        self.trades: dict[str, list[int]] = defaultdict(list)
        # All write them as the first does: what another one's front calls them is its own affair.
        first, latest = brokers[0], brokers[-1]
        order = [row.token for row in latest.listings]
        names = dict(zip(order, (row.tradingsymbol for row in first.listings), strict=True))
        advance = latest.market.advance

        def noted(ticks: int) -> Iterator[Quote]:
            for quote in advance(ticks):
                self.trades[names[quote.token]].append(quote.volume)
                yield quote

        latest.market.advance = noted  # type: ignore[method-assign]

    @property
    def symbols(self) -> list[str]:
        """The shares, which clients of all brokers call by the same names."""
        return [row.tradingsymbol for row in self.brokers[0].listings if row.kind == "EQ"]

    @property
    def round_seconds(self) -> float:
        """How long it takes until each symbol has traded once."""
        return len(self.brokers[0].listings) / self.rate

    async def trade(self) -> None:
        """Keep the rate until cancelled."""
        metronome = Metronome(self.rate)
        metronome.start(time.monotonic())
        late, *others = self.brokers
        behind = 0
        while True:
            await asyncio.sleep(self.interval)
            ticks = metronome.due(time.monotonic())
            for broker in reversed(others):
                await broker.step(ticks)
            behind += ticks
            due = max(0, behind - self.lag)
            behind -= due
            await late.step(due)

    def keeps_its_limits(self, account: int) -> None:
        """Fail when an account was ever asked for more than it may have."""
        broker, seen = self.brokers[account], self.brokers[account].stats()
        limits = FeedLimits.load(f"brokerpool.brokers.{broker.name}")
        assert seen["violations"] == {"tokens": 0, "sockets": 0}, seen
        assert seen["peak_sockets"] <= self.shapes[account].connections
        assert seen["peak_tokens_per_socket"] <= self.shapes[account].symbols_each
        assert seen["largest_batch"] <= limits.batch_size
        assert seen["malformed_requests"] == 0
        assert seen["too_fast"] == {}
        _within([at for at, _ in seen["dial_log"]], limits.dials)
        # They may come closer together than they left.
        within_a_second = [w.most * math.ceil(1.05 / w.seconds) for w in limits.control_messages]
        assert seen["peak_control_messages_per_second"] <= min(within_a_second, default=math.inf)


#: The broker here notes a dial when its loop comes to it: beside other tests a tenth of a second late.
_NOTED_LATE = 0.8


def _within(times: Sequence[float], windows: Sequence[RateWindow]) -> None:
    for window in windows:
        seconds = _NOTED_LATE * window.seconds
        for at in times:
            assert sum(at <= other < at + seconds for other in times) <= window.most, times


@asynccontextmanager
async def twins(
    folder: Path, second: str, *, each: int, symbols: int, rate: float
) -> AsyncIterator[Exchange]:
    """Run a simulated Zerodha and, of the same exchange, a second broker; they are in the folder's FILE."""
    accounts = list(zip(("zerodha", second), shapes(second, each), strict=True))
    async with exchange(folder, accounts, symbols, rate) as pair:
        yield pair


@asynccontextmanager
async def exchange(
    folder: Path,
    accounts: Sequence[tuple[str, Shape]],
    symbols: int,
    rate: float,
    interval: float = INTERVAL_SECONDS,
) -> AsyncIterator[Exchange]:
    """Run simulated brokers of one exchange; they are the accounts of the folder's FILE, in this order."""
    limits = [shape for _, shape in accounts]
    brokers = [
        front(name)(
            symbols=symbols, rate=0, seed=15, max_sockets=shape.connections, max_tokens=shape.symbols_each
        )
        for name, shape in accounts
    ]
    async with no_task_dies(), AsyncExitStack() as running:
        for broker, shape in zip(brokers, limits, strict=True):
            await running.enter_async_context(broker)
            write_account(folder / FILE, broker)
            with (folder / FILE).open("a") as file:
                file.write(f"max_symbols_per_websocket = {shape.symbols_each}\n")
                file.write(f"max_websocket_connections = {shape.connections}\n")
        several = Exchange(brokers, limits, rate, interval)
        trading = asyncio.create_task(several.trade())
        try:
            yield several
        finally:
            trading.cancel()
            await asyncio.gather(trading, return_exceptions=True)


class _Data(msgspec.Struct):
    volume: int = 0


class _Frame(msgspec.Struct):
    type: str
    symbol: str = ""
    broker: str = ""
    snapshot: bool = False
    data: _Data = msgspec.field(default_factory=_Data)


_read = msgspec.json.Decoder(_Frame).decode


class Seen(NamedTuple):
    """A trade that reached a client: the day's volume, whose frame it was, and the monotonic time."""

    volume: int
    broker: str
    at: float


class Trader(Observer):
    """A client that keeps every trade of its symbols, in the order of its frames."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        super().__init__(writer)
        self._line = writer
        self.seen: dict[str, list[Seen]] = defaultdict(list)
        self.trades = 0

    def take(self, payload: bytes) -> None:
        """Note one frame; last values that are marked as such are no trades."""
        if not payload.startswith(b'{"type":"market_data"'):
            self.news.append(json.loads(payload))
            return
        frame = _read(payload)
        if not frame.snapshot:
            self.trades += 1
            self.seen[frame.symbol].append(Seen(frame.data.volume, frame.broker, time.monotonic()))

    async def subscribe(self, symbols: Sequence[str], priority: int = 0) -> dict[str, Any]:
        """Ask for them in Quote mode and return the reply."""
        return await self._asked("subscribe", symbols, priority=priority)

    async def unsubscribe(self, symbols: Sequence[str]) -> dict[str, Any]:
        """Give them up and return the reply."""
        return await self._asked("unsubscribe", symbols)

    async def _asked(self, action: str, symbols: Sequence[str], **more: int) -> dict[str, Any]:
        number = f"request-{len(self.news)}"
        rows = [{"symbol": symbol, "exchange": "NSE"} for symbol in symbols]
        wanted = {"symbols": rows, "mode": 2, "request_id": number, **more}
        self._line.write(masked(json.dumps({"action": action, **wanted}).encode()))
        async with asyncio.timeout(30):
            while True:
                for said in self.news:
                    if said.get("request_id") == number:
                        return said
                await asyncio.sleep(0.01)


@asynccontextmanager
async def trader(ws_url: str, key: str) -> AsyncIterator[Trader]:
    """Connect one."""
    reader, writer = await raw_client(ws_url, [], key)
    client = Trader(writer)
    listening = asyncio.create_task(client.listen(reader))
    try:
        yield client
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        writer.close()


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[processes.Running]:
    """Run the gateway of all accounts; the brokers of this process go on meanwhile."""
    settings = {
        "WEBSOCKET_PORT": "0",
        "BROKERPOOL_HTTP_PORT": "0",
        "BROKERPOOL_FAILOVER_SECONDS": str(GRACE),
        "BROKERPOOL_MAX_SYMBOLS_PER_CLIENT": "12000",
        "BROKERPOOL_MAX_SYMBOLS_PER_KEY": "12000",
    }
    command = processes.command("serve", "--config", FILE, folder=folder, **settings)
    running = await asyncio.to_thread(command.__enter__)
    try:
        yield running
    finally:
        await asyncio.to_thread(command.__exit__, None, None, None)


def api_key(folder: Path) -> str:
    key = tomllib.loads((folder / FILE).read_text())["BROKERPOOL_API_KEY"]
    assert isinstance(key, str)
    return key


async def accounts(gateway: processes.Running) -> list[dict[str, Any]]:
    stats = await asyncio.to_thread(processes.get, f"{gateway.said['http_url']}/stats")
    found: list[dict[str, Any]] = stats["websocket"]["accounts"]
    return found


def seen_after(client: Trader, symbols: list[str], at: float) -> bool:
    return all(client.seen[symbol] and client.seen[symbol][-1].at > at for symbol in symbols)


def in_order(client: Trader) -> None:
    """Fail where a trade came twice, or after a later one: as from two accounts at once."""
    wrong = {
        symbol: [(before, after) for before, after in pairwise(seen) if after.volume <= before.volume]
        for symbol, seen in client.seen.items()
    }
    wrong = {symbol: pairs for symbol, pairs in wrong.items() if pairs}
    assert not wrong, f"{len(wrong)} symbols, of {len(client.seen)}: {[*wrong.items()][:3]}"


def without_a_hole(client: Trader, pair: Exchange, symbol: str, since: float) -> None:
    """Fail unless every trade since then has come."""
    seen = [trade.volume for trade in client.seen[symbol] if trade.at >= since]
    made = pair.trades[symbol]
    start = made.index(seen[0])
    assert seen == made[start : start + len(seen)], f"{symbol} has a hole"
