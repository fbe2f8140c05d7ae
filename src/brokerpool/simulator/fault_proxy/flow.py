"""One direction of a proxied connection: which bytes leave when, and how it ends; pure.

What arrives runs through one stage for each toxic. A stage decides about its first item only when that is
asked for, so a toxic that comes or goes takes effect at once on what is already held: the stages before it
hand on to the new one, and what a removed one held goes to the next at once. Nothing overtakes.
"""

from __future__ import annotations

import math
from collections import deque
from enum import Enum
from random import Random

from brokerpool.simulator.fault_proxy.toxics import (
    Bandwidth,
    Latency,
    LimitData,
    ResetPeer,
    Slicer,
    SlowClose,
    Timeout,
    Toxic,
)

#: A flow that holds this much wants no more: its source is not read until some of it has left.
HOLD_BYTES = 1024 * 1024

#: A stage hands nothing on to one that holds this many pieces, or a slicer would fill memory with tiny ones.
HOLD_PIECES = 4096

#: Bandwidth is spent in pieces of this much time, and a wake-up that comes late is made up for up to it.
QUANTUM_SECONDS = 0.02

_BYTES_PER_KB = 1000


class End(Enum):
    """How a direction ends."""

    #: The source has sent its last byte; the other direction goes on.
    FINISHED = "finished"
    #: Both directions end, in order.
    CLOSED = "closed"
    #: Both directions end with a TCP reset.
    RESET = "reset"


class Stage:
    """Hands everything on as it comes; a toxic's stage differs from this in one decision."""

    #: When the whole connection ends, whatever is held here, and how.
    deadline = math.inf
    verdict = End.CLOSED

    def __init__(self) -> None:
        self.items: deque[tuple[memoryview | End, float]] = deque()
        self.held = 0
        #: What the first item's next piece is and when it leaves, once that is decided.
        self._next: tuple[int, float] | None = None

    def take(self, item: memoryview | End, now: float) -> None:
        """Hold an item behind the others."""
        self.items.append((item, now))
        if isinstance(item, memoryview):
            self.held += len(item)

    def next_at(self) -> float:
        """Return when the next piece leaves; infinity for never."""
        if not self.items:
            return math.inf
        if self._next is None:
            item, arrived = self.items[0]
            if isinstance(item, End):
                self._next = 0, self.ending(arrived)
            else:
                self._next = self.departure(len(item), arrived)
        return self._next[1]

    def leave(self, now: float) -> memoryview | End | None:
        """Return the next piece and hold it no more; None when it is not yet its time."""
        at = self.next_at()
        if at > now or self._next is None:
            return None
        size, self._next = self._next[0], None
        item, arrived = self.items.popleft()
        if isinstance(item, memoryview):
            self.left(at, now)
            self.held -= size
            if size < len(item):
                self.items.appendleft((item[size:], arrived))
                return item[:size]
        return item

    def departure(self, size: int, arrived: float) -> tuple[int, float]:
        """Decide how many of `size` bytes leave next, at least 1, and when."""
        return size, arrived

    def ending(self, arrived: float) -> float:
        """Decide when the end leaves."""
        return arrived

    def left(self, at: float, now: float) -> None:
        """Hear that a piece, due at `at`, has left at `now`."""


class _LatencyStage(Stage):
    def __init__(self, toxic: Latency, random: Random) -> None:
        super().__init__()
        self._toxic = toxic
        self._random = random

    def departure(self, size: int, arrived: float) -> tuple[int, float]:
        return size, self.ending(arrived)

    def ending(self, arrived: float) -> float:
        jitter = self._toxic.jitter
        return arrived + max(0.0, self._toxic.latency + self._random.uniform(-jitter, jitter)) / 1e3


class _BandwidthStage(Stage):
    def __init__(self, toxic: Bandwidth) -> None:
        super().__init__()
        self._rate = toxic.rate * _BYTES_PER_KB
        self._free_at = -math.inf

    def departure(self, size: int, arrived: float) -> tuple[int, float]:
        piece = min(size, max(1, int(self._rate * QUANTUM_SECONDS)))
        return piece, max(arrived, self._free_at) + piece / self._rate

    def left(self, at: float, now: float) -> None:
        # A reader that stood still for long has not saved up bandwidth.
        self._free_at = max(at, now - QUANTUM_SECONDS)


class _SlicerStage(Stage):
    def __init__(self, toxic: Slicer, random: Random) -> None:
        super().__init__()
        self._toxic = toxic
        self._random = random
        self._left_at = -math.inf

    def departure(self, size: int, arrived: float) -> tuple[int, float]:
        variation = self._toxic.size_variation
        piece = self._toxic.average_size + self._random.randint(-variation, variation)
        return min(size, piece), max(arrived, self._left_at + self._toxic.delay / 1e6)

    def left(self, at: float, now: float) -> None:
        self._left_at = now


class _ResetStage(Stage):
    verdict = End.RESET

    def __init__(self, toxic: ResetPeer, now: float) -> None:
        super().__init__()
        self.deadline = now + toxic.timeout / 1e3


class _TimeoutStage(Stage):
    def __init__(self, toxic: Timeout, now: float) -> None:
        super().__init__()
        self.deadline = now + toxic.timeout / 1e3 if toxic.timeout else math.inf

    def departure(self, size: int, arrived: float) -> tuple[int, float]:
        return size, math.inf

    def ending(self, arrived: float) -> float:
        return math.inf


class _SlowCloseStage(Stage):
    def __init__(self, toxic: SlowClose) -> None:
        super().__init__()
        self._delay = toxic.delay / 1e3

    def ending(self, arrived: float) -> float:
        return arrived + self._delay


class _LimitStage(Stage):
    def __init__(self, toxic: LimitData, now: float) -> None:
        super().__init__()
        self._left = toxic.bytes
        self._full = False
        self._close_when_full(now)

    def take(self, item: memoryview | End, now: float) -> None:
        if self._full:
            return
        if isinstance(item, memoryview):
            item = item[: self._left]
            self._left -= len(item)
        super().take(item, now)
        self._close_when_full(now)

    def _close_when_full(self, now: float) -> None:
        if self._left == 0:
            self._full = True
            super().take(End.CLOSED, now)


class Flow:
    """Bytes on their way from one side to the other; times are seconds of any clock that never goes back."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._toxic: dict[str, Stage] = {}
        self._stages: list[Stage] = [Stage()]

    @property
    def held(self) -> int:
        """How many bytes have arrived and not left."""
        return sum(stage.held for stage in self._stages)

    @property
    def full(self) -> bool:
        """Whether no more should be read from the source for now."""
        return self.held >= HOLD_BYTES or len(self._stages[0].items) >= HOLD_PIECES

    def infect(self, name: str, toxic: Toxic, now: float) -> None:
        """Put a toxic behind those that are there; its times count from now."""
        stage = _stage(toxic, self._random, now)
        self._toxic[name] = stage
        self._stages.insert(-1, stage)

    def cure(self, name: str, now: float) -> None:
        """Take a toxic away, when it is there; what it held is free."""
        stage = self._toxic.pop(name, None)
        if stage is not None:
            index = self._stages.index(stage)
            for item, _ in stage.items:
                self._stages[index + 1].take(item, now)
            del self._stages[index]

    def feed(self, data: bytes, now: float) -> None:
        """Take what has arrived from the source."""
        self._stages[0].take(memoryview(data), now)

    def end(self, how: End, now: float) -> None:
        """Hear that the source has ended; the other side is told after all that came before."""
        self._stages[0].take(how, now)

    def leave(self, now: float) -> memoryview | End | None:
        """Return what leaves next, None when nothing is due; ask again until it is None."""
        for stage, following in zip(self._stages, self._stages[1:], strict=False):
            while _room(following) and (item := stage.leave(now)) is not None:
                following.take(item, now)
        return self._stages[-1].leave(now)

    def next_at(self) -> float:
        """Return when to ask `leave` again; infinity when nothing is held, or held for good."""
        waiting = [
            stage.next_at()
            for stage, following in zip(self._stages, self._stages[1:], strict=False)
            if _room(following)
        ]
        return min([*waiting, self._stages[-1].next_at()])

    def deadline(self) -> float:
        """Return when a toxic ends the connection, whatever is held; infinity for never."""
        return min(stage.deadline for stage in self._stages)

    def verdict(self, now: float) -> End | None:
        """Return how a toxic ends the connection by now, None when none does."""
        due = [stage for stage in self._stages if stage.deadline <= now]
        return min(due, key=lambda stage: stage.deadline).verdict if due else None


def _room(stage: Stage) -> bool:
    return len(stage.items) < HOLD_PIECES


def _stage(toxic: Toxic, random: Random, now: float) -> Stage:
    match toxic:
        case Latency():
            return _LatencyStage(toxic, random)
        case Bandwidth():
            return _BandwidthStage(toxic)
        case Slicer():
            return _SlicerStage(toxic, random)
        case ResetPeer():
            return _ResetStage(toxic, now)
        case Timeout():
            return _TimeoutStage(toxic, now)
        case SlowClose():
            return _SlowCloseStage(toxic)
        case LimitData():
            return _LimitStage(toxic, now)
    raise TypeError(f"{toxic!r} is not a toxic")
