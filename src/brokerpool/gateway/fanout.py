"""Fan-out: a tick is encoded once per mode, and a client gets all its frames of a flush in one write."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator

from brokerpool.feed.listeners import PoolListener
from brokerpool.gateway.equal_subscriptions import AudienceSharing
from brokerpool.gateway.slow_clients import SlowClients
from brokerpool.gateway.subscriber_groups import Audience, Key, Subscriber, Topic
from brokerpool.instruments import Instrument
from brokerpool.ticks import DepthTick, Tick

#: After a flush that took t seconds of the processor the next one waits for this many t (up to the window),
#: so that writing takes a bounded share of it and a tick at light load leaves at once.
_REST_PER_COST = 2.0
#: Timers of the event loop are a millisecond coarse; a shorter rest ends with the loop's present turn. Who
#: has rested for as long again has light load.
_TIMER_GRAIN = 0.001


class Fanout(PoolListener):
    """Brings each tick to every subscriber of its instrument, once per subscribed mode."""

    def __init__(
        self,
        broker: str | Callable[[Instrument], str],
        window: float = 0.002,
        clock: Callable[[], float] = time.perf_counter,
        processor_clock: Callable[[], float] = time.thread_time,
    ) -> None:
        """`broker` is the one that feeds every instrument, or tells which one feeds it now.

        `window` is the longest time in seconds that a frame may wait for others under load. `processor_clock`
        tells what a flush takes: while others have the processor it stands, and no frame waits the longer.
        """
        self._window = window
        self._clock, self._processor_clock = clock, processor_clock
        self._loop = asyncio.get_running_loop()
        of = broker if callable(broker) else lambda _: broker
        self._sharing = AudienceSharing(of, self._flushed)
        # Looked at with every tick and every flush.
        self._topics = self._sharing.topics
        self._audiences = self._sharing.audiences
        self._touched: list[Topic] = []  # those that ticked since the last flush
        self._turn = 0
        self._not_before, self._not_after = 0.0, 0.0
        self._flush_handle: asyncio.Handle | None = None
        self._subscribers: set[Subscriber] = set()
        #: How each client keeps up, and what brings one that reads again up to date.
        self.slow_clients = SlowClients(self._subscribers, self._topics, self._flushed, clock)
        self._delivered_to_gone = 0
        self._conflated_for_gone = 0
        #: Clients that were closed since the start because they did not read.
        self.dropped = 0

    # -- subscriptions ------------------------------------------------------------------------------------

    def admit(self, subscriber: Subscriber) -> None:
        """Make a client known; it holds nothing yet."""
        self._subscribers.add(subscriber)

    def tell_all(self, frame: bytes) -> None:
        """Write one frame to every client, behind the ticks that came before it.

        Who does not read gets it when it does, and of several only the last.
        """
        self.slow_clients.tell_later(self._flushed(), frame)
        self._turn += 1  # as in a flush: a client that is paused by this very frame has had it
        for subscriber in self._subscribers:
            if subscriber.paused_turn is None:
                subscriber.outlet.send_frames(frame)

    def add(self, subscriber: Subscriber, instrument: Instrument, mode: int) -> None:
        """Deliver the instrument's ticks in this mode from the next tick on; adding twice changes nothing."""
        self._sharing.add(subscriber, instrument, mode)

    def remove(self, subscriber: Subscriber, instrument: Instrument, mode: int) -> None:
        """Stop delivering; what was not held is ignored."""
        self._sharing.remove(subscriber, instrument, mode)

    def forget(self, subscriber: Subscriber) -> Iterator[None]:
        """Drop a client that is gone; each step of what is returned clears a slice of what it held away."""
        self._subscribers.discard(subscriber)
        steps = self._sharing.leave(subscriber)  # first, for its last frames leave with that and are counted
        self._delivered_to_gone += subscriber.delivered
        self._conflated_for_gone += subscriber.conflated
        return steps

    def snapshot(self, keys: Iterable[Key], stale: Callable[[Instrument], bool]) -> bytes:
        """Return the last known values as joined frames, marked as snapshots; b"" when there are none.

        `stale` tells of which instruments the feed has stopped; their values are marked so. What waits is
        written before, so that no older value follows.
        """
        self.flush()
        frames = []
        for instrument, mode in keys:
            topic = self._topics.get(instrument)
            frame = topic.snapshot(mode, stale=stale(instrument)) if topic else None
            if frame is not None:
                frames.append(frame)
        return b"".join(frames)

    def stats(self) -> dict[str, int]:
        """Return what was delivered since the start, and how it stands now."""
        return {
            "clients": len(self._subscribers),
            "slow_clients": self.slow_clients.behind(),
            "symbols": len(self._topics),
            "audiences": len(self._audiences),
            "frames_delivered": self._delivered_to_gone + sum(s.delivered for s in self._subscribers),
            "frames_conflated": self._conflated_for_gone + sum(s.conflated for s in self._subscribers),
        }

    def close(self) -> None:
        """Stop the timers; nothing is delivered any more."""
        if self._flush_handle is not None:
            self._flush_handle.cancel()
        self._sharing.close()

    # -- ticks --------------------------------------------------------------------------------------------

    def ticked(self, ticks: list[Tick]) -> None:
        topics = self._topics
        turn = self._turn
        for tick in ticks:
            topic = topics.get(tick.instrument)
            if topic is None:
                continue
            topic.publish(tick, turn)
            if topic.turn != turn:
                topic.turn = turn
                self._touched.append(topic)
        if self._touched:
            self._flush_when_due()

    def filled(self, ticks: list[Tick]) -> None:
        for tick in ticks:
            topic = self._topics.get(tick.instrument)
            if topic is not None:
                topic.publish_snapshot(tick, self._turn)
                topic.turn = self._turn
                self._touched.append(topic)
        if self._touched:
            self._flush_when_due()

    def rerouted(self, instruments: list[Instrument], account: str, broker: str) -> None:
        for instrument in instruments:
            topic = self._topics.get(instrument)
            if topic is not None:
                topic.fed_by(broker)

    def deepened(self, books: Iterable[DepthTick], stale: Callable[[Instrument], bool]) -> None:
        """Bring deeper books to those who listen to them, each with the price of the last tick.

        Where that is `stale` the book waits for the next tick.
        """
        for book in books:
            topic = self._topics.get(book.instrument)
            if topic is not None and topic.deepen(book, self._turn, shown=not stale(book.instrument)):
                self._touched.append(topic)
        if self._touched:
            self._flush_when_due()

    def flatten(self, instrument: Instrument, frame: bytes) -> None:
        """Have no deeper book in the instrument's frames before a new one, and say so to who listens."""
        topic = self._topics.get(instrument)
        if topic is not None:
            topic.flatten()
            self.tell_deep(instrument, frame)

    def tell_deep(self, instrument: Instrument, frame: bytes) -> None:
        """Queue a frame for every client that listens to the instrument's deeper book."""
        topic = self._topics.get(instrument)
        if topic is not None:
            topic.tell_deep(frame, self._turn)
            self._touched.append(topic)
            self._flush_when_due()

    def watched(self, instrument: Instrument) -> bool:
        """Tell whether any client holds the instrument."""
        return instrument in self._topics

    def tell(self, instrument: Instrument, frame: bytes) -> None:
        """Queue a frame for every client that holds the instrument, in its place among the ticks."""
        topic = self._topics.get(instrument)
        if topic is not None:
            topic.tell(frame, self._turn)
            self._touched.append(topic)
            self._flush_when_due()

    def flush(self) -> None:
        """Write everything that waits: one write per client."""
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None
        if not self._touched:
            return
        began = self._processor_clock()
        # Counted up before writing: a client that is paused by this very flush has had all of it.
        self._turn += 1
        for audience in self._touched_audiences():
            frames = audience.pending
            if not frames:
                continue
            count = len(frames)
            joined = b"".join(frames)
            frames.clear()
            for subscriber in audience.subscribers:
                if subscriber.paused_turn is None:
                    subscriber.outlet.send_frames(joined)
                    subscriber.delivered += count
                else:
                    subscriber.skipped += count
        self._touched.clear()
        took = self._processor_clock() - began
        self._not_before = self._clock() + min(self._window, _REST_PER_COST * took)

    def pause(self, subscriber: Subscriber) -> None:
        """Write nothing more to a client whose buffer is full; newer values replace what it misses."""
        self.slow_clients.pause(subscriber, self._turn)

    # -- inside -------------------------------------------------------------------------------------------

    def _flushed(self) -> int:
        """Write everything that waits, and return the flush turn of what comes next."""
        self.flush()
        return self._turn

    def _flush_when_due(self) -> None:
        now = self._clock()
        if self._flush_handle is None:
            rest = self._not_before - now
            self._not_after = now + self._window
            if rest < -_TIMER_GRAIN:  # nothing came for long: at light load a turn more is half of the delay
                self.flush()
            elif rest < _TIMER_GRAIN:  # behind all that this turn brings: one write for several messages
                self._flush_handle = self._loop.call_soon(self.flush)
            else:
                self._flush_handle = self._loop.call_later(rest, self.flush)
        elif now >= self._not_after:
            self.flush()

    def _touched_audiences(self) -> Iterable[Audience]:
        """Return at least those that have frames waiting; a union that would be dearer is not made."""
        if sum(len(topic.audiences) for topic in self._touched) > len(self._audiences):
            return self._audiences
        return set().union(*(topic.audiences for topic in self._touched))
