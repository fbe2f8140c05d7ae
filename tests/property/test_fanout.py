"""Whoever comes, goes, changes or stalls while frames wait: each frame reaches each client once, in order."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import Hashable, Iterator
from typing import TypeAlias

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from brokerpool.gateway.fanout import Fanout
from brokerpool.gateway.subscriber_groups import Subscriber
from brokerpool.instruments import Instrument
from brokerpool.ticks import DepthTick, Mode, QuoteTick, Tick
from brokerpool.transport.frames import server_frame

INSTRUMENTS = [Instrument("NSE", name) for name in ("INFY", "SBIN", "TCS")]
KINDS = {Mode.LTP: Tick, Mode.QUOTE: QuoteTick, Mode.DEPTH: DepthTick}

#: What follows on itself: the ticks of an instrument in a mode, its news, or the news for everybody.
Line: TypeAlias = Hashable

instruments = st.sampled_from(INSTRUMENTS)
modes = st.sampled_from(list(Mode))
numbers = st.integers(0, 4)


class Client:
    """A client that checks every frame as it comes."""

    def __init__(self, fanout: Fanout, number: int) -> None:
        self.fanout = fanout
        self.subscriber = Subscriber(self, number)
        self.held: set[tuple[Instrument, Mode]] = set()
        #: What it must get, by line, and what it got.
        self.due: dict[Line, list[int]] = defaultdict(list)
        self.got: dict[Line, list[int]] = defaultdict(list)
        #: What newer frames may replace, because it came while the client did not read.
        self.replaceable: set[tuple[Line, int]] = set()
        #: Stops reading with the next frame.
        self.full = False
        self.catching_up: Iterator[None] | None = None

    def send_frames(self, frames: bytes) -> None:
        while frames:
            size, start = (frames[1], 2) if frames[1] < 126 else (int.from_bytes(frames[2:4], "big"), 4)
            self._take(json.loads(frames[start : start + size]))
            frames = frames[start + size :]
        if self.full:
            self.full = False
            self.stall()

    def _take(self, frame: dict[str, object]) -> None:
        if frame.get("type") == "market_data":
            instrument = Instrument(str(frame["exchange"]), str(frame["symbol"]))
            line: Line = (instrument, frame["mode"])
            value = int(frame["data"]["ltp"])  # type: ignore[index]
        else:
            line, value = (frame.get("symbol"), "news"), int(str(frame["news"]))
        got, due = self.got[line], self.due[line]
        assert value in due, f"{line} {value} was not meant for this client"
        assert not got or due.index(value) > due.index(got[-1]), (
            f"{line} {value} came again, or after {got[-1]}"
        )
        got.append(value)

    def expect(self, line: Line, value: int) -> None:
        self.due[line].append(value)
        if self.slow:
            self.replaceable.add((line, value))

    @property
    def slow(self) -> bool:
        return self.subscriber.paused_turn is not None

    def stall(self) -> None:
        self.catching_up = None
        if not self.slow:
            self.replaceable |= {
                (line, v) for line, due in self.due.items() for v in due if v not in self.got[line]
            }
        self.fanout.pause(self.subscriber)

    def read(self, steps: int) -> None:
        """Read on for so many steps."""
        if self.catching_up is None:
            self.catching_up = self.fanout.slow_clients.resume(self.subscriber)
        for _ in range(steps):
            if self.catching_up is None or next(self.catching_up, "done") == "done":
                self.catching_up = None
                return

    def check(self) -> None:
        """After everything was written and read."""
        for line, due in self.due.items():
            missing = [value for value in due if value not in self.got[line]]
            assert not [v for v in missing if (line, v) not in self.replaceable], f"{line} lost {missing}"
            if due and self.holds(line):
                assert self.got[line][-1] == due[-1], f"{line}: the newest is not there"

    def holds(self, line: Line) -> bool:
        return line in self.held


class Everything(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.now = 0.0
        self.count = 0
        self.fanout = self.runner.run(self._fanout())
        self.clients: list[Client] = []

    async def _fanout(self) -> Fanout:
        return Fanout("zerodha", 0.002, lambda: self.now, lambda: self.now)

    def next(self) -> int:
        self.count += 1
        return self.count

    def client(self, number: int) -> Client:
        return self.clients[number % len(self.clients)]

    @precondition(lambda self: len(self.clients) < 5)
    @rule(held=st.lists(st.tuples(instruments, modes), min_size=1, max_size=3))
    def come(self, held: list[tuple[Instrument, Mode]]) -> None:
        client = Client(self.fanout, self.next())
        self.fanout.admit(client.subscriber)
        self.clients.append(client)
        for key in held:
            self.fanout.add(client.subscriber, *key)
            client.held.add(key)

    @precondition(lambda self: self.clients)
    @rule(number=numbers)
    def go(self, number: int) -> None:
        client = self.client(number)
        self.clients.remove(client)
        client.held.clear()
        deque(self.fanout.forget(client.subscriber), maxlen=0)
        client.check()

    @precondition(lambda self: self.clients)
    @rule(number=numbers, instrument=instruments, mode=modes)
    def add(self, number: int, instrument: Instrument, mode: Mode) -> None:
        client = self.client(number)
        self.fanout.add(client.subscriber, instrument, mode)
        client.held.add((instrument, mode))

    @precondition(lambda self: self.clients)
    @rule(number=numbers, instrument=instruments, mode=modes)
    def remove(self, number: int, instrument: Instrument, mode: Mode) -> None:
        client = self.client(number)
        self.fanout.remove(client.subscriber, instrument, mode)
        client.held.discard((instrument, mode))

    @rule(which=st.lists(st.tuples(instruments, modes), min_size=1, max_size=4), filled=st.booleans())
    def tick(self, which: list[tuple[Instrument, Mode]], filled: bool) -> None:
        ticks = [KINDS[mode](instrument, float(self.next()), 0) for instrument, mode in which]
        for tick in ticks:
            for client in self.clients:
                for instrument, mode in client.held:
                    if instrument == tick.instrument and mode <= tick.mode:
                        client.expect((instrument, mode), int(tick.ltp))
        (self.fanout.filled if filled else self.fanout.ticked)(ticks)

    @rule(instrument=instruments)
    def tell(self, instrument: Instrument) -> None:
        value = self.next()
        for client in self.clients:
            if any(held == instrument for held, _ in client.held):
                client.expect((instrument.symbol, "news"), value)
        text = json.dumps({"symbol": instrument.symbol, "news": value})
        self.fanout.tell(instrument, server_frame(text.encode()))

    @rule()
    def tell_all(self) -> None:
        value = self.next()
        for client in self.clients:
            client.expect((None, "news"), value)
        self.fanout.tell_all(server_frame(json.dumps({"news": value}).encode()))

    @precondition(lambda self: self.clients)
    @rule(number=numbers, by_its_own=st.booleans())
    def stall(self, number: int, by_its_own: bool) -> None:
        client = self.client(number)
        if by_its_own:
            client.full = True
        else:
            client.stall()

    @precondition(lambda self: self.clients)
    @rule(number=numbers, steps=st.integers(1, 3))
    def read(self, number: int, steps: int) -> None:
        self.client(number).read(steps)

    @rule()
    def busy(self) -> None:
        """The next frames gather."""
        self.fanout._not_before = self.now + 60

    @rule()
    def settle(self) -> None:
        """Who has left its subscriptions alone for a while may share an audience."""
        self.fanout._sharing._settle()

    @rule()
    def flush(self) -> None:
        self.fanout.flush()

    @invariant()
    def every_audience_is_one_of_somebody(self) -> None:
        sharing = self.fanout._sharing
        seats = {client.subscriber.audience for client in self.clients if client.held}
        assert {a for a in sharing.audiences if any(s.keys for s in a.subscribers)} == seats
        assert set(sharing.topics) == {instrument for c in self.clients for instrument, _ in c.held}

    def teardown(self) -> None:
        if not hasattr(self, "runner"):
            return
        for client in self.clients:
            client.full = False
            client.read(1000)
        self.fanout.flush()
        for client in self.clients:
            client.check()
        self.fanout.close()
        self.runner.close()


Everything.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestEachFrameReachesEachClientOnce = Everything.TestCase
