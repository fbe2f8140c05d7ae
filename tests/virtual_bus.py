"""A bus inside one event loop: each process has its own end of it, and each way can be slow, lossy or cut."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import TypeVar

from brokerpool.cluster.bus import Answerer, BusError, Entry, Handler, Subscription

#: A store's answer is waited for so long.
STORE_SECONDS = 1.0
T = TypeVar("T")


@dataclass(slots=True)
class Faults:
    """What becomes of each message and of each write and its answer."""

    lost: float = 0.0
    doubled: float = 0.0
    #: Seconds that it takes, drawn for each.
    latency: tuple[float, float] = (0.0, 0.0)
    #: True lets a message overtake those before it.
    reorders: bool = False


@dataclass(slots=True)
class _Listening:
    bus: VirtualBus
    pattern: str
    handler: Handler
    open: bool = True

    def close(self) -> None:
        self.open = False
        self.bus.server.listening.pop(id(self), None)


@dataclass(slots=True)
class _Serving:
    bus: VirtualBus
    subject: str
    answer: Answerer
    open: bool = True

    def close(self) -> None:
        self.open = False
        self.bus.server.serving.pop(id(self), None)


@dataclass(slots=True)
class _Watching:
    bus: VirtualBus
    bucket: str
    prefix: str
    handler: Callable[[Entry], None]
    #: What was told at last: key -> revision.
    told: dict[str, int] = field(default_factory=dict)
    telling: bool = False
    open: bool = True

    def close(self) -> None:
        self.open = False
        self.bus.server.watching.pop(id(self), None)


@dataclass(slots=True)
class _Hearing:
    bus: VirtualBus
    handler: Callable[[bool], None]

    def close(self) -> None:
        self.bus.hearing.pop(id(self), None)


class VirtualServer:
    """What all ends are connected to; its stores are lost when it is told to forget them."""

    def __init__(self, random: Random | None = None) -> None:
        self.random = random or Random(1)
        self.faults = Faults()
        self.up = True
        self.buses: list[VirtualBus] = []
        self.listening: dict[int, _Listening] = {}
        self.serving: dict[int, _Serving] = {}
        self.watching: dict[int, _Watching] = {}
        self.values: dict[str, dict[str, tuple[bytes | None, int]]] = {}
        self.revision = 0
        #: How often the stores have lost everything.
        self.lost = 0
        #: Messages that were published, those of them that came, and bytes.
        self.published, self.delivered = 0, 0
        #: Messages that have left and not come.
        self.under_way = 0

    def stop(self) -> None:
        """Be away from now on."""
        self.up = False
        for bus in self.buses:
            bus.look_soon(0.01)

    def start(self, *, forgets: bool = False) -> None:
        """Be back; without the stores' contents where it `forgets`."""
        self.up = True
        if forgets:
            self.values.clear()
            self.revision = 0
            self.lost += 1
            for watching in self.watching.values():
                watching.told = dict.fromkeys(watching.told, -1)  # as after the reconnect that this takes
        for bus in self.buses:
            bus.look_soon()

    def changed(self, bucket: str) -> None:
        for watching in list(self.watching.values()):
            if watching.bucket == bucket:
                watching.bus.tell(watching)


class VirtualBus:
    """One process' end; what it hears runs in the context in which it was made."""

    def __init__(self, server: VirtualServer, name: str = "") -> None:
        self.server = server
        self.name = name
        #: Whether what it sends comes through, and what is sent to it.
        self.sends, self.hears = True, True
        self.hearing: dict[int, _Hearing] = {}
        self._connected = True
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._last: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        server.buses.append(self)

    # -- the connection -----------------------------------------------------------------------------------

    def cut(self, *, sends: bool, hears: bool) -> None:
        """Let nothing through in these directions."""
        self.sends, self.hears = sends, hears
        self.look_soon()

    def look_soon(self, seconds: float = 1.0) -> None:
        """Notice in a while whether the server can be reached."""
        self._loop.call_later(seconds, self._look, context=self._context)

    def _look(self) -> None:
        connected = self.sends and self.hears and self.server.up
        if connected and not self._connected:
            for watching in list(self.server.watching.values()):
                if watching.bus is self:
                    watching.told = dict.fromkeys(watching.told, 0)
                    self.tell(watching)
        if connected != self._connected:
            self._connected = connected
            for hearing in list(self.hearing.values()):
                hearing.handler(connected)

    @property
    def connected(self) -> bool:
        return self._connected

    def on_connection(self, handler: Callable[[bool], None]) -> Subscription:
        hearing = _Hearing(self, handler)
        self.hearing[id(hearing)] = hearing
        return hearing

    # -- messages -----------------------------------------------------------------------------------------

    def publish(self, subject: str, payload: bytes) -> None:
        self.server.published += 1
        if not (self.sends and self.server.up):
            return
        for listening in list(self.server.listening.values()):
            if _matches(listening.pattern, subject):
                deliver = partial(self._deliver, listening, subject, payload)
                self.server.under_way += self._send(listening.bus, subject, deliver)

    def _send(self, to: VirtualBus, way: str, deliver: Callable[[], None]) -> int:
        """Have it delivered at the other end, and return how often."""
        faults, random = self.server.faults, self.server.random
        if not (to.hears and self.server.up) or random.random() < faults.lost:
            return 0
        copies = 2 if random.random() < faults.doubled else 1
        for _ in range(copies):
            at = self._loop.time() + random.uniform(*faults.latency)
            if not faults.reorders:
                at = to._last[way] = max(at, to._last.get(way, 0.0))
            if at <= self._loop.time():
                self._loop.call_soon(deliver, context=to._context)
            else:
                self._loop.call_at(at, deliver, context=to._context)
        return copies

    def _deliver(self, listening: _Listening, subject: str, payload: bytes) -> None:
        self.server.under_way -= 1
        if listening.open:
            self.server.delivered += 1
            listening.handler(subject, payload)

    def subscribe(self, pattern: str, handler: Handler) -> Subscription:
        listening = _Listening(self, pattern, handler)
        self.server.listening[id(listening)] = listening
        return listening

    # -- requests -----------------------------------------------------------------------------------------

    def serve(self, subject: str, answer: Answerer) -> Subscription:
        serving = _Serving(self, subject, answer)
        self.server.serving[id(serving)] = serving
        return serving

    async def request(self, subject: str, payload: bytes, timeout: float) -> bytes:
        answered: asyncio.Future[bytes] = self._loop.create_future()
        there = [s for s in self.server.serving.values() if s.subject == subject]
        if not there or not (self.sends and self.server.up):
            raise BusError(f"nobody serves {subject}.")

        def answer(value: bytes) -> None:
            if not answered.done():
                answered.set_result(value)

        async def serve(serving: _Serving) -> None:
            try:
                value = await serving.answer(subject, payload)
            except ValueError:
                return
            if serving.bus.sends:
                serving.bus._send(self, f"answers {id(answered)}", lambda: answer(value))

        def begin(serving: _Serving) -> None:
            if serving.open:
                task = self._loop.create_task(serve(serving), name=f"virtual answer on {subject}")
                serving.bus._tasks.add(task)
                task.add_done_callback(serving.bus._tasks.discard)

        for serving in there:
            self._send(serving.bus, f"requests of {self.name}", partial(begin, serving))
        try:
            async with asyncio.timeout(timeout):
                return await answered
        except TimeoutError:
            raise BusError(f"no answer on {subject} within {timeout:g} s.") from None

    # -- stores -------------------------------------------------------------------------------------------

    def store(self, bucket: str) -> VirtualStore:
        return VirtualStore(self, bucket)

    def tell(self, watching: _Watching) -> None:
        """Tell a watcher what has changed, after the time that it takes."""
        if not watching.telling and watching.open:
            watching.telling = True
            self._loop.call_later(
                self.server.random.uniform(*self.server.faults.latency),
                self._tell,
                watching,
                context=self._context,
            )

    def _tell(self, watching: _Watching) -> None:
        watching.telling = False
        if not (self.hears and self.server.up):
            return
        values = self.server.values.get(watching.bucket, {})
        for key in [key for key in watching.told if key not in values]:
            del watching.told[key]
            watching.handler(Entry(key, None, 0))
        for key, (value, revision) in list(values.items()):
            if key.startswith(watching.prefix) and watching.told.get(key) != revision and watching.open:
                watching.told[key] = revision
                watching.handler(Entry(key, value, revision))

    def close(self) -> None:
        """Hear and send nothing any more, as when the process is killed."""
        self.sends = self.hears = False
        self.hearing.clear()
        for listed in (self.server.listening, self.server.serving, self.server.watching):
            for one in [one for one in listed.values() if one.bus is self]:
                one.close()
        if self in self.server.buses:
            self.server.buses.remove(self)
        for task in self._tasks:
            task.cancel()


class VirtualStore:
    """One bucket, seen from one end: a write may happen though its answer is lost, and also later."""

    def __init__(self, bus: VirtualBus, bucket: str) -> None:
        self._bus = bus
        self._bucket = bucket

    async def _ask(self, act: Callable[[dict[str, tuple[bytes | None, int]]], T]) -> T:
        bus, server, loop = self._bus, self._bus.server, asyncio.get_running_loop()
        answered: asyncio.Future[T] = loop.create_future()

        def answer(result: T) -> None:
            if not answered.done():
                answered.set_result(result)

        lost = server.lost

        def arrive() -> None:
            if not server.up or server.lost != lost:
                return  # what was under way to a store that lost everything is lost with it
            result = act(server.values.setdefault(self._bucket, {}))
            if bus.hears and server.random.random() >= server.faults.lost:
                loop.call_later(
                    server.random.uniform(*server.faults.latency), answer, result, context=bus._context
                )

        if not server.up or not bus.sends:
            if not bus.connected:
                raise BusError("the bus is away.")
        elif server.random.random() >= server.faults.lost:
            loop.call_later(server.random.uniform(*server.faults.latency), arrive, context=_NOBODY)
        try:
            async with asyncio.timeout(STORE_SECONDS):
                return await answered
        except TimeoutError:
            raise BusError(f"the store did not answer within {STORE_SECONDS:g} s.") from None

    async def get(self, key: str) -> Entry | None:
        def act(values: dict[str, tuple[bytes | None, int]]) -> Entry | None:
            value, revision = values.get(key, (None, 0))
            return None if value is None else Entry(key, value, revision)

        return await self._ask(act)

    async def create(self, key: str, value: bytes) -> int | None:
        def act(values: dict[str, tuple[bytes | None, int]]) -> int | None:
            return None if values.get(key, (None, 0))[0] else self._write(values, key, value)

        return await self._ask(act)

    async def put(self, key: str, value: bytes) -> int:
        def act(values: dict[str, tuple[bytes | None, int]]) -> int:
            return self._write(values, key, value)

        return await self._ask(act)

    async def update(self, key: str, value: bytes, revision: int) -> int | None:
        def act(values: dict[str, tuple[bytes | None, int]]) -> int | None:
            return self._write(values, key, value) if values.get(key, (None, 0))[1] == revision else None

        return await self._ask(act)

    async def delete(self, key: str, revision: int | None = None) -> bool:
        def act(values: dict[str, tuple[bytes | None, int]]) -> bool:
            known = values.get(key)
            if known is None or (revision is not None and known[1] != revision):
                return False
            self._write(values, key, None)
            return True

        return await self._ask(act)

    def watch(self, prefix: str, handler: Callable[[Entry], None]) -> Subscription:
        watching = _Watching(self._bus, self._bucket, prefix, handler)
        self._bus.server.watching[id(watching)] = watching
        self._bus.tell(watching)
        return watching

    def _write(self, values: dict[str, tuple[bytes | None, int]], key: str, value: bytes | None) -> int:
        server = self._bus.server
        server.revision += 1
        values[key] = value, server.revision
        server.changed(self._bucket)
        return server.revision


_NOBODY = contextvars.Context()


def _matches(pattern: str, subject: str) -> bool:
    if pattern == subject:
        return True
    asked, given = pattern.split("."), subject.split(".")
    if asked[-1] == ">":
        return len(given) >= len(asked) and all(
            a in ("*", g) for a, g in zip(asked[:-1], given, strict=False)
        )
    return len(asked) == len(given) and all(a in ("*", g) for a, g in zip(asked, given, strict=True))
