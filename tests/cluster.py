"""A cluster as users run it: NATS, feed nodes, gateways, and a broker that notes its trades."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import time
import tomllib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from brokerpool.cluster.durations import Timing
from brokerpool.cluster.nats_server import NatsServer
from brokerpool.simulator.broker import SimulatedBroker
from brokerpool.simulator.exchange import Quote
from brokerpool.simulator.fault_switches import FaultOrder
from brokerpool.simulator.registry import front
from brokerpool.simulator.run import write_account
from brokerpool.simulator.tick_rate import INTERVAL_SECONDS, Metronome
from tests import processes, rehearsal
from tests.one_exchange import Trader, trader
from tests.processes import Running

#: From now on nothing takes longer, on a machine that others use too.
SECONDS = 60.0
#: A node that hands over ends within half of this, and a machine that others use too has the other half.
ENDED_SECONDS = 2 * (Timing().hand_over + Timing().lease)
#: A token that no broker takes.
YESTERDAYS = "yesterdays-token"
_TABLE = "\n[[accounts]]\n"
#: How far the clocks of the broker, a gateway and a client may be from the same trade.
_EDGE_MS = 250.0


class Size(NamedTuple):
    """Of a scene: ticks a second, symbols of the broker, clients, and symbols of each of these, 0 for all."""

    rate: float
    symbols: int
    clients: int
    each: int

    @classmethod
    def of_environment(cls, rate: float, symbols: int, clients: int) -> Size:
        """Return this size, where each client wants all, or that of BROKERPOOL_TEST_CLUSTER."""
        given = os.environ.get("BROKERPOOL_TEST_CLUSTER")
        if not given:
            return cls(rate, symbols, clients, 0)
        rate, *others = map(int, given.split(","))
        return cls(rate, *others)


class Trade(NamedTuple):
    """One trade of a symbol: the day's volume after it, which numbers it, and the epoch milliseconds."""

    volume: int
    at_ms: float


class Cluster:
    """Runs in one folder; what is started in it ends with it."""

    def __init__(self, folder: Path, until_end: AsyncExitStack, rate: float) -> None:
        self.folder = folder
        self._until_end = until_end
        self.rate = rate
        self.nats = NatsServer(folder / "nats")
        #: One of each account, all of the same exchange.
        self.brokers: list[SimulatedBroker] = []
        self._expired: list[SimulatedBroker] = []
        #: By symbol.
        self.trades: dict[str, list[Trade]] = defaultdict(list)
        self._started = 0

    async def start(self, accounts: int, **simulated: Any) -> None:
        """Start NATS and the brokers, whose markets trade from now on."""
        await asyncio.to_thread(self.nats.start)
        self._until_end.callback(self.nats.stop)
        for _ in range(accounts):
            made = front("zerodha")(rate=0, seed=17, **simulated)
            self.brokers.append(await self._until_end.enter_async_context(made))
            write_account(self._file, made)
        broker = self.broker
        names = {row.token: row.tradingsymbol for row in broker.listings}
        advance = broker.market.advance

        def noted(ticks: int) -> Iterator[Quote]:
            for quote in advance(ticks):
                self.trades[names[quote.token]].append(Trade(quote.volume, time.time() * 1000))
                yield quote

        broker.market.advance = noted  # type: ignore[method-assign]
        trading = asyncio.create_task(self._trade())
        self._until_end.push_async_callback(_cancelled, trading)

    async def feed(self, name: str, **environ: str) -> Running:
        """Start a feed node of all accounts."""
        return await self._command(name, ("feed", "--config", str(self._file)), environ)

    async def feed_of(self, account: int, name: str, **environ: str) -> Running:
        """Start a feed node of one account."""
        shared, *tables = self._file.read_text().split(_TABLE)
        file = self.folder / f"account-{account}.toml"
        file.write_text(f"{shared}{_TABLE}{tables[account]}")
        return await self._command(name, ("feed", "--config", str(file)), environ)

    async def feed_of_yesterday(self, name: str) -> Running:
        """Start a feed node of all accounts with tokens that are valid no more, until `log_in`."""
        text = self._file.read_text()
        for broker in self.brokers:
            text = text.replace(broker.access_token, YESTERDAYS)
        file = self.folder / f"accounts-of-{name}.toml"
        file.write_text(text)
        return await self._command(name, ("feed", "--config", str(file)), {})

    @property
    def _file(self) -> Path:
        return self.folder / "accounts.toml"

    def restrict(self, account: int, exchange: str) -> None:
        """Have feed nodes that start from now on serve this exchange alone of an account."""
        shared, *tables = self._file.read_text().split(_TABLE)
        tables[account] += f'exchanges = ["{exchange}"]\n'
        self._file.write_text(_TABLE.join((shared, *tables)))

    @property
    def broker(self) -> SimulatedBroker:
        """The broker of the first account."""
        return self.brokers[0]

    async def let_token_die(self, account: int) -> None:
        """Have the account's login refused from now on, and its sockets ended."""
        self._expired.append(self.brokers[account])
        await self.brokers[account].throw(FaultOrder.parse(b'{"expire_token": {"close_sockets": true}}'))

    async def log_in(self, account: int) -> None:
        """Give all feed nodes a token of the account that is valid."""
        before = self.brokers[account].access_token
        order = b'{"access_token": "tomorrows-token"}'
        await self.brokers[account].throw(FaultOrder.parse(order))
        for file in self.folder.glob("account*.toml"):
            text = file.read_text().replace(before, "tomorrows-token")
            file.write_text(text.replace(YESTERDAYS, "tomorrows-token"))

    async def gateway(self, name: str, **environ: str) -> Running:
        """Start a gateway, which has no credentials of the broker."""
        empty = self.folder / "gateway.env"
        empty.write_text(f"BROKERPOOL_API_KEY={self.api_key}\n")
        return await self._command(name, ("serve", "--env-file", str(empty)), environ)

    @property
    def api_key(self) -> str:
        """The key of the gateways' clients."""
        return str(tomllib.loads(self._file.read_text())["BROKERPOOL_API_KEY"])

    @property
    def symbols(self) -> list[str]:
        """The shares that the broker lists."""
        return [row.tradingsymbol for row in self.broker.listings if row.kind == "EQ"]

    @property
    def round_seconds(self) -> float:
        """How long it takes until each symbol has traded once."""
        return len(self.broker.listings) / self.rate

    @asynccontextmanager
    async def clients(
        self, count: int, *gateways: Running, symbols: Sequence[str] = (), each: int = 0
    ) -> AsyncIterator[list[Trader]]:
        """Give clients, evenly over the gateways, once every symbol has ticked at each.

        Each wants all of the symbols, by default all that there are, or so many, after those of the last one.
        """
        wanted = symbols or self.symbols
        each = each or len(wanted)
        turns = itertools.cycle(wanted)
        async with AsyncExitStack() as until_end:
            found = []
            for number in range(count):
                url = gateways[number % len(gateways)].said["ws_url"]
                found.append(await until_end.enter_async_context(trader(url, self.api_key)))
                said = await found[-1].subscribe([*itertools.islice(turns, each)])
                assert said["status"] == "success", said
            await until(lambda: all(len(client.seen) == each for client in found))
            yield found

    # -- witnesses ----------------------------------------------------------------------------------------

    def keeps_its_limits(self, sockets: int = 3) -> None:
        """Fail when a broker was ever asked for more than its account may have."""
        for broker in self.brokers:
            seen = broker.stats()
            assert seen["violations"] == {"tokens": 0, "sockets": 0}, seen
            assert seen["peak_sockets"] <= sockets
            assert seen["malformed_requests"] == 0
            allowed = {"403"} if broker in self._expired else set()
            assert seen["refusals"].keys() <= allowed, seen["refusals"]

    def nothing_is_lost_in_silence(self, client: Trader) -> None:
        """Fail for a trade that came twice, out of order, or never and in no gap that was told."""
        told: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for frame in client.symbol_news("gap"):
            told[frame["symbol"]].append((frame["from"] - _EDGE_MS, frame["to"] + _EDGE_MS))
        silent: dict[str, list[Trade]] = {}
        for symbol, seen in client.seen.items():
            volumes = [one.volume for one in seen]
            wrong = [(one, other) for one, other in itertools.pairwise(seen) if other.volume <= one.volume]
            assert not wrong, f"{symbol} came twice or out of order: {wrong}, its gaps {told[symbol]}"
            known, gaps = set(volumes), told[symbol]
            lost = [
                trade
                for trade in self.trades[symbol]
                if volumes[0] < trade.volume < volumes[-1] and trade.volume not in known
            ]
            if untold := [trade for trade in lost if not any(a <= trade.at_ms <= b for a, b in gaps)]:
                silent[symbol] = untold
        assert not silent, f"in none of the gaps that were told of {len(silent)} symbols: {silent}"

    def carried(self, account: int = 0) -> int:
        """Return how many symbols the account's broker is asked for now, over all sockets."""
        return sum(len(socket["tokens"]) for socket in self.brokers[account].sockets())

    # -- inside -------------------------------------------------------------------------------------------

    async def _trade(self) -> None:
        metronome = Metronome(self.rate)
        metronome.start(time.monotonic())
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            ticks = metronome.due(time.monotonic())
            for broker in self.brokers:
                await broker.step(ticks)

    async def _command(self, name: str, arguments: tuple[str, ...], environ: dict[str, str]) -> Running:
        self._started += 1
        folder = self.folder / f"{name}-{self._started}"
        folder.mkdir()
        settings = {
            "BROKERPOOL_NATS_URL": self.nats.url,
            "BROKERPOOL_NODE": folder.name,
            "DATABASE_URL": f"sqlite:///{folder / 'brokerpool.db'}",
            "WEBSOCKET_PORT": "0",
            "BROKERPOOL_HTTP_PORT": "0",
            "BROKERPOOL_MARKET_HOURS": "always",
        }
        process = _process(folder, arguments, {**settings, **environ})
        running = await asyncio.to_thread(process.__enter__)

        async def end(*_: object) -> None:
            await asyncio.to_thread(process.__exit__, None, None, None)

        self._until_end.push_async_exit(end)
        return running


@asynccontextmanager
async def cluster(
    folder: Path, *, rate: float, accounts: int = 1, **simulated: Any
) -> AsyncIterator[Cluster]:
    """Run NATS and simulated brokers of so many accounts until the block ends."""
    async with AsyncExitStack() as until_end:
        started = Cluster(folder, until_end, rate)
        await started.start(accounts, **simulated)
        yield started


@contextmanager
def _process(folder: Path, arguments: tuple[str, ...], environ: dict[str, str]) -> Iterator[Running]:
    with processes.command(*arguments, folder=folder, **environ) as running:
        try:
            yield running
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(running.process.pid, signal.SIGCONT)  # one that was stopped is to hear SIGTERM


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def until(holds: Callable[[], object], seconds: float = SECONDS) -> float:
    """Return after how many seconds it holds; fail when it does not within `seconds`."""
    began = time.monotonic()
    await rehearsal.until(holds, seconds)
    return time.monotonic() - began


async def ended(running: Running) -> int:
    """Send SIGTERM and return the exit code, while everything else goes on."""
    return await asyncio.to_thread(running.terminate, ENDED_SECONDS)


def ticking(clients: Sequence[Trader], since: float) -> bool:
    """Tell whether every symbol has ticked at each client since this monotonic time."""
    return all(seen[-1].at > since for client in clients for seen in client.seen.values())


async def ticks_on(clients: Sequence[Trader], since: float) -> None:
    """Return once every symbol has ticked at each client after this monotonic time."""
    await until(lambda: ticking(clients, since))


def gapped(client: Trader) -> list[str]:
    """Return the symbols of the gaps that the client was told of, in order."""
    return sorted(frame["symbol"] for frame in client.symbol_news("gap"))
