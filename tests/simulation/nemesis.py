"""What goes wrong at the broker and on the way to it: one deed after another, drawn from a seeded Random."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from random import Random

from brokerpool import WebSocketPool
from brokerpool.brokers.login import Credentials
from brokerpool.errors import BrokerpoolError
from brokerpool.testing.scripted_broker import Greeting, Refusal, ScriptedBroker
from brokerpool.testing.scripted_socket import Socket


class Nemesis:
    """Does harm for ever, and sometimes good; a deed takes seconds, and ends before the next begins."""

    def __init__(self, random: Random, broker: ScriptedBroker, pool: WebSocketPool) -> None:
        self._random = random
        self._broker = broker
        self._pool = pool
        self._days = 1
        #: How often each deed was done.
        self.deeds: Counter[str] = Counter()
        self._deeds = (
            *(self.swizzle, self.swizzle, self.swizzle, self.kill_some, self.outage, self.new_day),
            *(self.refuse, self.busy, self.flap, self.slow, self.stranger, self.mute, self.deaf),
            *(self.roll_over, self.operator, self.order, self.order),
            *((self.greet, self.greet) if broker.greets else ()),
        )

    async def rage(self) -> None:
        """Do one deed after another until cancelled."""
        while True:
            await asyncio.sleep(self._random.expovariate(0.25))
            deed = self._random.choice(self._deeds)
            self.deeds[deed.__name__] += 1
            self._broker.ledger.say(self._broker.now(), f"nemesis: {deed.__name__}")
            await deed()

    # -- sockets ------------------------------------------------------------------------------------------

    async def swizzle(self) -> None:
        """Stop some sockets one by one, in one way or another, and restore them in another order."""
        stopped: list[Socket] = []
        for socket in self._some():
            await self._pause(1.5)
            harm = self._random.choice((socket.kill, socket.black_hole, socket.black_hole, None))
            if harm is None:
                socket.mute = True
            elif socket.open:
                harm()
            stopped.append(socket)
        await self._pause(12)
        self._random.shuffle(stopped)
        for socket in stopped:
            socket.restore()
            await self._pause(1.5)

    async def kill_some(self) -> None:
        for socket in self._some():
            if self._random.random() < 0.5:
                socket.kill()
            else:
                socket.close(self._random.choice((1000, 1001, 1011)), "maintenance")

    async def mute(self) -> None:
        """Keep the ticks of some symbols back, on sockets that work."""
        tokens = sorted(self._broker.served())
        muted = self._random.sample(tokens, self._random.randint(0, len(tokens)))
        self._broker.muted.update(muted)
        await self._pause(25)
        self._broker.muted.difference_update(muted)

    async def deaf(self) -> None:
        """Answer no close frame."""
        self._broker.deaf = True
        await self._pause(10)
        self._broker.deaf = False

    # -- dials --------------------------------------------------------------------------------------------

    async def outage(self) -> None:
        self._broker.down = self._random.choice(("refused", "unreachable"))
        if self._random.random() < 0.7:
            self._broker.kill_all()
        await self._pause(25)
        self._broker.down = ""

    async def refuse(self) -> None:
        self._broker.refusal = Refusal(self._random.choice((500, 502, 503, 429)), count=self._count())
        await self.kill_some()

    async def busy(self) -> None:
        """Refuse with a Retry-After, which no dial may come before."""
        self._broker.refusal = Refusal(429, float(self._random.randint(2, 7)), self._count())
        await self.kill_some()

    async def flap(self) -> None:
        self._broker.flap = self._random.choice((0.0, 0.05, 0.5))
        await self.kill_some()
        await self._pause(15)
        self._broker.flap = None

    async def slow(self) -> None:
        self._broker.slowness = self._random.uniform(0.5, 12)
        await self.kill_some()
        await self._pause(10)
        self._broker.slowness = 0.0

    async def greet(self) -> None:
        """Answer the logins on open sockets late, wrongly or not at all."""
        self._broker.greeting = self._random.choice((None, *Greeting))
        self._broker.greeting_seconds = self._random.choice((0.0, 0.5, 5.0, 12.0))
        await self.kill_some()
        await self._pause(20)
        self._broker.greeting, self._broker.greeting_seconds = Greeting.JUDGE, 0.0

    async def stranger(self) -> None:
        """Another program of the account takes a place for a while."""
        self._broker.intrude()
        await self._pause(20)
        self._broker.strangers = 0

    async def new_day(self) -> None:
        """The token dies, and some time later there is another one."""
        self._days += 1
        self._broker.expire(f"day-{self._days}", politely=self._random.random() < 0.5)
        await self._pause(15)
        if self._random.random() < 0.8:  # else the provider has to find out
            self._renew()

    async def roll_over(self) -> None:
        """A new token comes while the old one still holds for a while."""
        self._days += 1
        self._broker.issue(f"day-{self._days}")
        await self._pause(3)
        self._renew()
        await self._pause(20)
        self._broker.expire(self._broker.token, politely=self._random.random() < 0.5)

    async def operator(self) -> None:
        """Somebody tells the pool that all is well, and answers for it while a Retry-After holds."""
        self._broker.closed_until = 0.0
        self._pool.renew()

    async def order(self) -> None:
        """The operator has a connection rotated or drained, whatever its state."""
        names = [c["name"] for c in self._pool.get_pool_stats()["websocket"]["per_connection"]]
        if not names:
            return
        order = self._random.choice((self._pool.rotate, self._pool.drain))
        with contextlib.suppress(BrokerpoolError):
            order(self._random.choice(names))
            self.deeds["order carried out"] += 1

    # -- inside -------------------------------------------------------------------------------------------

    def _renew(self) -> None:
        self._pool.feed.login.renew(Credentials(self._broker.token))

    def _some(self) -> list[Socket]:
        sockets = self._broker.sockets
        return self._random.sample(sockets, self._random.randint(0, len(sockets)))

    def _count(self) -> int:
        return self._random.randint(1, 4)

    async def _pause(self, most: float) -> None:
        await asyncio.sleep(self._random.uniform(0, most))
