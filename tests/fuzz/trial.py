"""A gateway under attack, and who must not notice: its clients, newcomers, the broker's other socket."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from brokerpool.gateway.server import Gateway
from brokerpool.simulator.zerodha.broker import KiteSimulator
from tests.fuzz.attacked import SYMBOLS_PER_CONNECTION, gateway_on
from tests.fuzz.conversations import Target
from tests.fuzz.line import Line
from tests.fuzz.raw_broker import RawBroker
from tests.fuzz.watched_loop import WatchedLoop, turns
from tests.gateway_client import KEY, Client, client, masked
from tests.measuring import pace

#: CPU of one turn of the gateway's event loop, at the pace that `tests.measuring` knows.
MOST_SECONDS_A_TURN = 0.020
#: Symbols from the beginning of the list that the attacker's socket carries, but for INFY.
EXPOSED = 12
#: When nothing was read for so long, the gateway does not want to read.
_UNREAD_SECONDS = 0.2
#: Turns in which it takes a connection in, and those in which it reads what the system still holds for it.
_TURNS_TO_ACCEPT, _TURNS_TO_END = 6, 60
_PATIENCE = 20.0

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
AUTHENTICATE = masked(json.dumps({"action": "authenticate", "api_key": KEY}).encode())

Attack = Callable[[], Coroutine[Any, Any, None]]


class Trial:
    """What is attacked, and the look whether anybody has noticed.

    Gateway and broker run on the watched loop, and attacks do: what they cost themselves is next to nothing.
    """

    def __init__(
        self,
        simulator: KiteSimulator,
        watched: WatchedLoop,
        broker: RawBroker,
        gateway: Gateway,
        healthy: Client,
    ) -> None:
        self.watched = watched
        self.broker = broker
        self.gateway = gateway
        #: Answers that the clients who must not notice have had.
        self.answers = 0
        self._healthy = healthy
        #: Holds the symbols of the attacker's socket, and reads its ticks without a look: they may be many.
        self._holder: Line
        self._rows = [{"symbol": r.tradingsymbol, "exchange": r.exchange} for r in simulator.listings]
        self._token = next(row.token for row in simulator.listings if row.tradingsymbol == "INFY")
        self._price = 150_000

    async def begin(self) -> None:
        """Have a client fill the broker's first socket, and another one begin a second, for the attacker."""
        infy = {"symbol": "INFY", "exchange": "NSE"}
        others = [row for row in self._rows if row != infy]
        rows = [infy, *others[-SYMBOLS_PER_CONNECTION + 1 :]]
        reply = await self._healthy.ask(action="subscribe", symbols=rows, mode=1)
        assert reply["status"] == "success", reply
        await self.watched.run(self.broker.first())
        self._holder = await self.watched.run(self.connect(Target.CLIENT))
        wanted = masked(json.dumps({"action": "subscribe", "symbols": others[:EXPOSED], "mode": 3}).encode())
        await self.watched.run(send(self._holder, [wanted]))
        await self.watched.run(self.broker.hostile())
        await self.look()
        await self.look_at_newcomers()
        await self.watched.mark()

    async def end(self) -> None:
        """Have the other client go; for the watched loop."""
        self._holder.end()
        await turns(2)

    async def look(self) -> None:
        """Fail unless the client gets its answer and the tick of the broker's healthy socket."""
        self._price += 5
        await self.watched.run(self.broker.tick(self._token, self._price))
        async with asyncio.timeout(_PATIENCE):
            while not any(tick["data"]["ltp"] == self._price / 100 for tick in await self._healthy.drain()):
                assert self.broker.healthy, "the broker's healthy socket was given up"
        assert not self._holder.closed, "a client that reads was closed"
        self._healthy.symbol_news.clear()
        self.answers += 1

    async def look_at_newcomers(self) -> None:
        """Fail unless the next client is served on either listener."""
        async with client(self.gateway) as newcomer:
            assert (await newcomer.ask(action="ping"))["type"] == "pong"
        at = urlsplit(self.gateway.http_url)
        reader, writer = await asyncio.open_connection(at.hostname, at.port)
        body = json.dumps({"apikey": KEY}).encode()
        writer.write(
            b"POST /api/v1/ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        async with asyncio.timeout(_PATIENCE):
            answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 200 "), answer[:500]
        assert b'"pong"' in answer, answer[:500]
        self.answers += 2

    async def connect(self, target: Target, *, reads: bool = True) -> Line:
        """Return a line to the target, on which the next bytes are the attacker's; for the watched loop."""
        if target is Target.BROKER:
            return await self.broker.hostile()
        url = self.gateway.http_url if target is Target.HTTP else self.gateway.ws_url
        line = await Line.open(url, reads=reads)
        await turns(_TURNS_TO_ACCEPT)
        if target in (Target.STRANGER, Target.CLIENT):
            await send(line, [UPGRADE, AUTHENTICATE] if target is Target.CLIENT else [UPGRADE])
        return line

    # -- verdicts ------------------------------------------------------------------------------------------

    def faults(self) -> list[str]:
        """Return the lines of ERROR and what died, and forget them."""
        found = [*self.watched.error_lines, *self.watched.deaths]
        self.watched.error_lines.clear()
        self.watched.deaths.clear()
        return found

    async def longest_turn(self, attack: Attack) -> float:
        """Return the longest turn during the attack in CPU seconds at the known pace.

        What else runs on the machine makes a turn dearer and none cheaper: an attack with too long a turn is
        made again, and of up to five times the best counts.
        """
        best = float("inf")
        for _ in range(5):
            self.watched.longest = 0.0
            await self.watched.run(attack())
            longest = self.watched.longest
            if longest >= MOST_SECONDS_A_TURN:
                longest /= pace()
            best = min(best, longest)
            if best < MOST_SECONDS_A_TURN:
                break
        return best


# -- for attacks, on the watched loop ------------------------------------------------------------------


async def send(line: Line, pieces: Iterable[bytes]) -> None:
    """Send the pieces so that the gateway reads each by itself, unless it does not want to.

    What is left is not sent when the gateway has closed the connection.
    """
    for piece in pieces:
        if line.closed:
            return
        line.write(piece)
        await turns(3)
        await _taken(line)


async def settle() -> None:
    """Return when the gateway has read what was sent, unless it does not want to."""
    await turns(_TURNS_TO_END)


async def _taken(line: Line) -> None:
    """Return when the gateway has read nearly all, or nothing more for a while."""
    loop = asyncio.get_running_loop()
    left, until = line.unsent, loop.time() + _UNREAD_SECONDS
    while left and loop.time() < until:
        await asyncio.sleep(0)
        if line.unsent < left:
            left, until = line.unsent, loop.time() + _UNREAD_SECONDS
        else:
            await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def trial(**environ: str) -> AsyncIterator[Trial]:
    """Run a gateway with all parties; Python's garbage collection is left to whoever attacks."""
    async with KiteSimulator(rate=0, symbols=60, http_rates={}) as simulator, WatchedLoop() as watched:
        broker = RawBroker()
        await watched.run(broker.open())
        gateway = await watched.run(gateway_on(simulator, broker.ws_url, **environ))
        try:
            async with client(gateway) as healthy:
                attacked = Trial(simulator, watched, broker, gateway, healthy)
                await attacked.begin()
                with _no_collection():
                    yield attacked
                await watched.run(attacked.end())
        finally:
            await watched.run(gateway.close())
            await watched.run(broker.close())


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Keep it out of the gateway's turns, in which it would strike for the whole process."""
    enabled = gc.isenabled()
    gc.collect()
    gc.freeze()  # what is there already need not be looked at when somebody collects
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if enabled:
            gc.enable()
