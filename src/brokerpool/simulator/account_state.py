"""What all sockets of a simulated account share: where ticks come from, the switches, who listens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from brokerpool.simulator.broker_interface import Grace, Subscriptions, Wire
from brokerpool.simulator.fault_switches import Faults
from brokerpool.simulator.token_listeners import Audience
from brokerpool.simulator.traffic_ledger import Ledger
from brokerpool.ticks import Mode
from brokerpool.transport import Link


class Source(Protocol):
    """Where the ticks come from."""

    def lists(self, token: int) -> bool:
        """Tell whether the broker knows a token."""
        ...

    def last_record(self, token: int, mode: Mode) -> bytes | None:
        """Return the last known packet of a token in a mode, None when there is none yet."""
        ...


class OpenSocket(Hashable, Protocol):
    """One socket of the account."""

    number: int
    link: Link | None

    def put(self, token: int, record: bytes) -> None: ...
    def flush(self) -> None: ...
    def tell(self, message: bytes, concerns: Callable[[Subscriptions], bool]) -> None: ...
    def hold(self, held: bool) -> None: ...
    def end(self, words: bytes | None, code: int, reason: str) -> None: ...
    def beat(self, now: float, interval: float) -> float: ...
    def report(self) -> dict[str, Any]: ...
    def say(self, text: bytes) -> None: ...


@dataclass(slots=True)
class Venue:
    """What all sockets of the simulated account share."""

    source: Source
    wire: Wire
    #: Reads the requests of a new socket.
    subscriptions: Callable[[], Subscriptions]
    faults: Faults
    ledger: Ledger
    #: Whether a subscribe is answered at once with the last known packet.
    snapshot: bool
    #: How long a client has for its login; None where the dial is the login.
    login: Grace | None = None
    #: How long a client may say nothing of itself; None where that is no matter.
    silence: Grace | None = None
    #: What a new socket is told first.
    greeting: Callable[[], Sequence[bytes]] = tuple
    audience: Audience[OpenSocket] = field(default_factory=Audience)
    sockets: dict[int, OpenSocket] = field(default_factory=dict)
    #: Sockets whose client has more to read than is kept for it.
    full: set[OpenSocket] = field(default_factory=set)
    #: Set while every socket can take more.
    room: asyncio.Event = field(default_factory=asyncio.Event)
    #: Until this time of the loop nobody is served.
    held_until: float = 0.0

    def link(self, number: int) -> Link:
        """Return the connection of a socket. Raises LookupError when no such socket is open."""
        socket = self.sockets.get(number)
        if socket is None or socket.link is None:
            raise LookupError(f"no socket {number} is open; open are {sorted(self.sockets)}")
        return socket.link

    def tell(self, message: bytes, concerns: Callable[[Subscriptions], bool]) -> None:
        """Send a text message to the clients whose subscriptions it `concerns`."""
        for socket in list(self.sockets.values()):
            socket.tell(message, concerns)

    def hold(self, seconds: float) -> None:
        """Serve nobody for so long: what clients send is not read, no ping is answered, ticks are lost."""
        loop = asyncio.get_running_loop()
        self.held_until = max(loop.time(), self.held_until) + seconds
        for socket in self.sockets.values():
            socket.hold(True)
        loop.call_at(self.held_until, self._let_go)

    def _let_go(self) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() < self.held_until:  # somebody has it held longer, or the timer is early by its grain
            loop.call_at(self.held_until, self._let_go)
            return
        for socket in list(self.sockets.values()):
            socket.hold(False)

    async def beat(self, interval: float) -> None:
        """Send each socket a heartbeat when it was idle for `interval` seconds, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            now = loop.time()
            due = [socket.beat(now, interval) for socket in list(self.sockets.values())]
            await asyncio.sleep(min([now + interval, *due]) - now)
