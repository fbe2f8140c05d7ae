"""A broker in the pool's own event loop: no sockets, many faults, and a ledger of how it was treated."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from random import Random
from typing import Self

from brokerpool.brokers.limits_file import FeedLimits
from brokerpool.brokers.wire import Farewell
from brokerpool.instruments import Token
from brokerpool.testing.scripted_feed import ScriptedDialect
from brokerpool.testing.scripted_network import Pipe, ScriptedLink
from brokerpool.testing.scripted_socket import Socket
from brokerpool.testing.traffic_ledger import DialRecord, Ledger, WindowCheck
from brokerpool.testing.wire_dialect import Dialect
from brokerpool.ticks import Mode
from brokerpool.transport import DialError, Link, LinkHandler

#: The market's grid: ticks, heartbeats and broker's pings happen at multiples of this.
BEAT_SECONDS = 0.25
_HEARTBEAT_BEATS = 4
_PING_BEATS = 80
#: Above every mode.
_NO_MODE = max(Mode) + 1


class Greeting(Enum):
    """How a login is answered that is said on an open socket."""

    #: By whether it is valid.
    JUDGE = "judge"
    REFUSE = "refuse"
    #: The connection ends instead.
    HANG_UP = "hang up"


@dataclass(slots=True)
class Refusal:
    """How handshakes are answered instead of being accepted."""

    status: int
    retry_after: float | None = None
    #: How many more; None for all until it is taken away.
    count: int | None = None


class ScriptedBroker:
    """Serves what it is asked for, keeps time, and has every fault that a test switches on.

    Each token ticks on a beat of its own, whether anybody is served or not: its running number at any moment
    is known without a record, so that a checker can tell which ticks somebody ought to have had.
    """

    def __init__(
        self,
        random: Random,
        limits: FeedLimits,
        tokens: Iterable[Token],
        dialect: Callable[[], Dialect] = ScriptedDialect,
        *,
        evicts: bool = False,
        snapshots: bool = True,
        latency: tuple[float, float] = (0.002, 0.040),
        beats: tuple[int, int] = (2, 16),
        token: str = "day-1",
        wall_clock: Callable[[], float],
    ) -> None:
        """`dialect` gives the broker's side of a new socket, by default that of a `ScriptedFeed`.

        `evicts` lets a newcomer in for the eldest socket; else it is refused with 429 when all are taken.

        `beats` is the range from which each token's beats between two ticks are drawn.
        """
        self.limits = limits
        self.evicts = evicts
        self.snapshots = snapshots
        self.wall_clock = wall_clock
        self.ledger = Ledger()
        self.sockets: list[Socket] = []
        self.messages = WindowCheck(limits.account_messages)
        #: The newest access token, and all that are valid.
        self.token = token
        self.valid = {token}
        #: "refused" or "unreachable" while no dial reaches the broker, else empty.
        self.down = ""
        self.refusal: Refusal | None = None
        #: Seconds after which each accepted socket is closed; None for never.
        self.flap: float | None = None
        #: Seconds that a handshake takes longer than the network needs.
        self.slowness = 0.0
        #: Tokens that no socket gets ticks of.
        self.muted: set[Token] = set()
        #: Tokens that are refused by name -> the lowest mode in which they are.
        self.refused: dict[Token, Mode] = {}
        #: How a login that is said on the open socket is answered; `None` is not at all.
        self.greeting: Greeting | None = Greeting.JUDGE
        #: Seconds until it is.
        self.greeting_seconds = 0.0
        #: Seconds after which a socket behind a black hole is noticed.
        self.patience = 10.0
        #: True while close frames are not answered.
        self.deaf = False
        #: How often a socket was thrown out for another one.
        self.evictions = 0
        #: Sockets of other programs that use the same account.
        self.strangers = 0
        #: No dial is welcome before this time, which a Retry-After named.
        self.closed_until = 0.0
        self._known = {token}  # those that are valid no more included
        self._random = random
        #: True when the login is said on the open socket.
        self.greets = False
        self.speak(dialect)
        self._latency = latency
        self._loop = asyncio.get_running_loop()
        self.now = self._loop.time
        self._dials = WindowCheck(limits.dials)
        self._numbered = 0
        listed = list(tokens)
        self._every = {token: random.randint(*beats) for token in listed}
        self._phase = {token: self._every[token] + random.randrange(16) for token in listed}
        self._began = self.now()
        self._beat = 0
        self._timers: set[asyncio.TimerHandle] = set()
        self._tick_timer = self._loop.call_later(BEAT_SECONDS, self._next_beat)
        self._links: list[ScriptedLink] = []

    # -- the market ---------------------------------------------------------------------------------------

    def number(self, token: Token, seconds_ago: float = 0.0) -> int:
        """Return the token's running number now, or some time ago."""
        beat = self._beat - int(seconds_ago / BEAT_SECONDS)
        return (beat + self._phase[token]) // self._every[token]

    def cadence(self, token: Token) -> float:
        """Return the seconds between two ticks of the token."""
        return self._every[token] * BEAT_SECONDS

    def _next_beat(self) -> None:
        self._beat += 1
        self._tick_timer = self._loop.call_at(self._began + (self._beat + 1) * BEAT_SECONDS, self._next_beat)
        beat, every, phase, muted = self._beat, self._every, self._phase, self.muted
        for socket in list(self.sockets):
            if not socket.open:
                continue
            due, last = [], socket.last
            for token in socket.tokens:
                number = (beat + phase[token]) // every[token]
                if number != last[token]:
                    last[token] = number
                    if socket.mute or token in muted:
                        self.ledger.withheld[token].add(number)
                    else:
                        due.append((token, number))
            if due:
                socket.tell_ticks(due)
            if beat % _HEARTBEAT_BEATS == 0:
                socket.live_sign()
                socket.judge_beat()
            if beat % _PING_BEATS == 0:
                socket.link.down.send(socket.link.take_ping)

    def speak(self, dialect: Callable[[], Dialect]) -> None:
        """Speak another dialect on sockets to come."""
        #: Gives the broker's side of a new socket.
        self.dialect = dialect
        self.greets = dialect().ready() is not None

    # -- dialling -----------------------------------------------------------------------------------------

    async def dial(
        self,
        url: str,
        handler: LinkHandler,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 10.0,
    ) -> Link:
        """Open a connection as `transport.dial` does: the same errors, the same care when cancelled."""
        now = self.now()
        record = DialRecord(now, self._token_in(" ".join((url, *(headers or {}).values()))))
        self.ledger.dials.append(record)
        self.ledger.say(now, f"dial with {record.token}")
        if window := self._dials.count(now):
            self.ledger.violate(now, f"more than {window} dials")
        if now < self.closed_until - 1e-6:
            self.ledger.violate(now, f"a dial {self.closed_until - now:.3f} s before Retry-After has passed")
        latency = self._random.uniform(*self._latency)
        link = ScriptedLink(handler, f"scripted:{len(self.ledger.dials)}", *self._pipes(latency))
        opened = False
        try:
            async with asyncio.timeout(timeout):
                await asyncio.sleep(
                    2 * self._latency[1]
                )  # TCP and TLS: longer than any farewell is under way
                await self._handshake(link, record)
                for _ in range(self._random.randrange(3)):
                    await asyncio.sleep(0)  # the handshake is done, and the one who dials not yet awake
            opened = True
            record.outcome = "accepted"
        except TimeoutError:
            record.outcome = "timed out"
            raise DialError(f"scripted did not complete the handshake within {timeout:g} s") from None
        except DialError as error:
            record.outcome = error.reason
            raise
        except asyncio.CancelledError:
            record.outcome = "cancelled"
            raise
        finally:
            self.ledger.say(self.now(), f"dial of {record.at:.3f}: {record.outcome}")
            if not opened:
                link.abandon()
        return link

    def _pipes(self, latency: float) -> tuple[Pipe, Pipe]:
        return Pipe(self._random, latency), Pipe(self._random, latency)

    async def _handshake(self, link: ScriptedLink, record: DialRecord) -> None:
        if self.down == "unreachable":
            await self._loop.create_future()  # until the caller's time is up
        if self.down:
            raise DialError("scripted cannot be reached: connection refused")
        if self.slowness:
            await asyncio.sleep(self.slowness)
        self._check(record)
        socket = self._accept(link, record.token)
        answered = self._loop.create_future()

        def arrive() -> None:
            link.take_handshake()
            if not answered.done():
                answered.set_result(None)

        link.down.send(arrive)
        if self.flap is not None:
            timer = self._loop.call_later(self.flap, self._end_flapping, socket)
            self._timers.add(timer)
        await answered

    def _check(self, record: DialRecord) -> None:
        """Raise DialError unless the handshake is to be accepted."""
        refusal = self.refusal
        if refusal is not None:
            if refusal.count is not None:
                refusal.count -= 1
                if not refusal.count:
                    self.refusal = None
            raise self._refuse(refusal.status, refusal.retry_after)
        if record.token not in self.valid and not (self.greets and not record.token):
            raise self._refuse(self.dialect().wrong_credentials)
        taken = len(self.sockets) + self.strangers
        if taken >= self.limits.max_connections and not (self.evicts and self.sockets):
            raise self._refuse(429)

    def _token_in(self, text: str) -> str:
        """Return the access token that stands in a text; empty when there is none that ever was valid."""
        return max((token for token in self._known | self.valid if token in text), key=len, default="")

    def greet(self, socket: Socket, login: str) -> None:
        """Answer the login that was said on a socket, in a while, as is right then."""
        if self.greeting is not None:
            answer = partial(self._answer, socket, self._token_in(login))
            self._timers.add(self._loop.call_later(self.greeting_seconds, answer))

    def _answer(self, socket: Socket, token: str) -> None:
        if self.greeting is Greeting.HANG_UP:
            socket.kill()
        elif self.greeting is not None:
            socket.answer(token, valid=token in self.valid and self.greeting is Greeting.JUDGE)

    def refuses(self, token: Token, mode: Mode) -> bool:
        """Tell whether a token is refused in this mode."""
        return mode >= self.refused.get(token, _NO_MODE)

    def _refuse(self, status: int, retry_after: float | None = None) -> DialError:
        if retry_after is not None:
            self.closed_until = max(self.closed_until, self.now() + retry_after)
        return DialError(f"scripted refused the connection with HTTP {status}", status, retry_after)

    def _accept(self, link: ScriptedLink, token: str) -> Socket:
        self._numbered += 1
        socket = Socket(self, self._numbered, link, token, self.dialect())
        link.far_end = socket
        self._links.append(link)
        while self.sockets and len(self.sockets) + self.strangers >= self.limits.max_connections:
            self.evict()
        self.sockets.append(socket)
        socket.open = True
        # Sockets that the pool has given up, and the broker has not noticed yet, are not the pool's fault.
        alive = sum(not socket.link.given_up for socket in self.sockets)
        self.ledger.peak_sockets = max(self.ledger.peak_sockets, alive)
        if alive > self.limits.max_connections:
            self.ledger.violate(self.now(), f"{alive} sockets")
        self.ledger.say(self.now(), f"socket {socket.number} accepted")
        return socket

    # -- what happens to sockets --------------------------------------------------------------------------

    def evict(self) -> None:
        """Throw the eldest socket out for a newcomer."""
        self.evictions += 1
        eldest = self.sockets[0]
        self.ledger.say(self.now(), f"socket {eldest.number} evicted")
        eldest.end(Farewell.EVICTED, "evicted by a newer connection")

    def intrude(self) -> None:
        """Let another program of the account connect, as far as the broker's policy lets it."""
        full = len(self.sockets) + self.strangers >= self.limits.max_connections
        if full and self.evicts and self.sockets:
            self.evict()
        elif full:
            return
        self.strangers += 1

    def kill_all(self) -> None:
        """End every connection without a word."""
        for socket in list(self.sockets):
            socket.kill()

    def issue(self, token: str) -> None:
        """Make another access token valid besides the present one."""
        self.token = token
        self._known.add(token)
        self.valid.add(token)

    def expire(self, token: str, *, politely: bool) -> None:
        """Make this access token the only valid one, and end the sockets of all others."""
        self.token, self.valid = token, {token}
        self._known.add(token)
        for socket in [socket for socket in self.sockets if socket.token != token]:
            if politely:
                socket.end(Farewell.CREDENTIALS, "the token has expired")
            else:
                socket.kill()

    def lose_patience(self, socket: Socket) -> None:
        """Drop a socket behind a black hole after a while; until then it takes up one of the places."""
        self._timers.add(self._loop.call_later(self.patience, self._drop_if_deaf, socket))

    def _drop_if_deaf(self, socket: Socket) -> None:
        if socket.link.up.held:
            self.remove(socket)

    def remove(self, socket: Socket) -> None:
        """Forget a socket that has ended; called by the socket."""
        if socket.open:
            socket.open = False
            self.sockets.remove(socket)
            self.ledger.say(self.now(), f"socket {socket.number} gone")

    def heal(self) -> None:
        """End every fault; sockets that the pool has given up behind a black hole are noticed now."""
        self.down, self.refusal, self.flap, self.slowness, self.deaf = "", None, None, 0.0, False
        self.strangers = 0
        self.greeting, self.greeting_seconds = Greeting.JUDGE, 0.0
        self.muted.clear()
        for socket in list(self.sockets):
            socket.restore()

    def _end_flapping(self, socket: Socket) -> None:
        if socket.open and self.flap is not None:
            socket.kill()

    # -- for checks ---------------------------------------------------------------------------------------

    def served(self) -> dict[Token, list[Mode]]:
        """Return what is served: token -> the mode on each socket that serves it."""
        served: dict[Token, list[Mode]] = {}
        for socket in self.sockets:
            for token, mode in socket.tokens.items():
                served.setdefault(token, []).append(mode)
        return served

    async def close(self) -> None:
        """Go out of business; whoever is still connected then was left behind, and raises AssertionError."""
        self.heal()
        await asyncio.sleep(1)  # for the last farewells
        self._tick_timer.cancel()
        for timer in self._timers:
            timer.cancel()
        left = [socket.number for socket in self.sockets]
        for link in self._links:
            link.up.cut()
            link.down.cut()
        assert not left, f"sockets {left} were never closed"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()
