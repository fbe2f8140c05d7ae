"""Clients that do not read fast enough: nothing is written to them, then the newest of what they missed."""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from typing import NamedTuple

from brokerpool.gateway.subscriber_groups import MODES, Subscriber, Topic
from brokerpool.instruments import Instrument

#: Symbols of which a client that was slow gets the newest values in one write: about a millisecond.
_SLICE = 250


class Standing(NamedTuple):
    """How one client keeps up."""

    number: int
    #: Subscriptions: symbols times modes.
    subscriptions: int
    #: For how long nothing has been written to it, because it does not read; 0 while it keeps up.
    behind_seconds: float
    delivered: int
    #: Frames that newer ones replaced, those that it is missing now included.
    conflated: int


class SlowClients:
    """Who is behind among the subscribers of a fan-out, and what brings them up to date."""

    def __init__(
        self,
        subscribers: set[Subscriber],
        topics: Mapping[Instrument, Topic],
        flushed: Callable[[], int],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`flushed` writes what waits for everybody, and returns the flush turn of what comes next."""
        self._subscribers = subscribers
        self._topics = topics
        self._flushed = flushed
        self._clock = clock
        self._told_all: tuple[int, bytes] = (-1, b"")  # the last frame for everybody, and its flush turn

    def pause(self, subscriber: Subscriber, turn: int) -> None:
        """Write nothing more to a client whose buffer is full; newer values replace what it misses."""
        if subscriber.paused_turn is None:
            subscriber.paused_turn = turn
            subscriber.paused_at = self._clock()

    def tell_later(self, turn: int, frame: bytes) -> None:
        """Keep a frame that everybody else was told in this flush turn; of several only the last."""
        self._told_all = turn, frame

    def resume(self, subscriber: Subscriber) -> Iterator[None]:
        """Bring a client that reads again up to date: the newest value of each symbol that it missed.

        A slice is written a step, for the event loop to turn in between; the client counts as behind until
        the last. When it stops reading again, the rest is left, and a new call goes on with that.
        """
        since = subscriber.paused_turn
        if since is None:
            return
        while len(missed := self._missed(subscriber, since)) > _SLICE:
            for start in range(0, len(missed), _SLICE):
                self._catch_up(subscriber, missed[start : start + _SLICE], since)
                yield
        subscriber.paused_turn = None
        turn, frame = self._told_all
        if turn >= since and subscriber in self._subscribers:
            subscriber.outlet.send_frames(frame)
        self._catch_up(subscriber, missed, since)
        subscriber.conflated += subscriber.skipped
        subscriber.skipped = 0

    def behind(self) -> int:
        """Return how many are behind."""
        return sum(s.paused_turn is not None for s in self._subscribers)

    def slowest(self, most: int) -> list[Standing]:
        """Return the clients that keep up worst, the worst first: those behind, then the most conflated."""
        return [self._standing(s) for s in heapq.nsmallest(most, self._subscribers, key=_rank)]

    def standings(self, numbers: Container[int] | None = None) -> Iterator[Standing]:
        """Yield how the clients with these numbers keep up, or all, each at the moment of its step."""
        for subscriber in sorted(self._subscribers, key=lambda s: s.number):
            if numbers is None or subscriber.number in numbers:
                yield self._standing(subscriber)

    def _missed(self, subscriber: Subscriber, since: int) -> list[Instrument]:
        """Return what has moved since the client was written to."""
        self._flushed()  # what waits now is part of what it missed, and must not follow the newest values
        topics = self._topics
        held = subscriber.keys.items()
        return [*dict.fromkeys(i for (i, mode), had in held if topics[i].moved(mode, max(since, had)))]

    def _catch_up(self, subscriber: Subscriber, instruments: Iterable[Instrument], since: int) -> None:
        turn, keys, frames = self._flushed(), subscriber.keys, []
        for instrument in instruments:
            turns = {mode: max(since, keys[instrument, mode]) for mode in MODES if (instrument, mode) in keys}
            if turns:
                frames += self._topics[instrument].missed(turns)
                keys.update(((instrument, mode), turn) for mode in turns)
        subscriber.skipped = max(0, subscriber.skipped - len(frames))
        subscriber.delivered += len(frames)
        if frames:
            subscriber.outlet.send_frames(b"".join(frames))

    def _standing(self, subscriber: Subscriber) -> Standing:
        return Standing(
            subscriber.number,
            len(subscriber.keys),
            0.0 if subscriber.paused_turn is None else self._clock() - subscriber.paused_at,
            subscriber.delivered,
            subscriber.conflated + subscriber.skipped,
        )


def _rank(subscriber: Subscriber) -> tuple[float, int, int]:
    """Order clients by how they keep up: the one that has been behind for longest is the smallest."""
    behind_since = math.inf if subscriber.paused_turn is None else subscriber.paused_at
    return behind_since, -subscriber.conflated - subscriber.skipped, subscriber.number
