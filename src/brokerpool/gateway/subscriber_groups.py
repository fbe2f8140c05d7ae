"""Topics and audiences: who gets an instrument's frames, with clients of equal subscriptions as one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Protocol, TypeAlias

from brokerpool.gateway.tick_json import DeepFrameWriter, FrameWriter
from brokerpool.instruments import Instrument
from brokerpool.ticks import DepthTick, Mode, Tick

#: A client that is slow for so long that it misses more gaps of one symbol gets the newest ones.
_NEWS_KEPT = 8

#: Depth mode with the levels of a deeper book; to the fan-out it is a mode of its own.
DEEP: Final = 4
#: One subscription: an instrument in one mode, or `DEEP`.
Key: TypeAlias = tuple[Instrument, int]
#: All that an instrument can be subscribed to in.
MODES: Final = (*Mode, DEEP)


class Audience:
    """Clients with the same subscriptions; the frames that wait for them are joined once for all."""

    __slots__ = ("pending", "settled", "subscribers")

    def __init__(self) -> None:
        self.subscribers: set[Subscriber] = set()
        #: Emptied, never replaced: streams keep a reference to it.
        self.pending: list[bytes] = []
        #: The subscriptions under which other clients can find this audience; None while they change.
        self.settled: frozenset[Key] | None = None


class Outlet(Protocol):
    """Where a subscriber's frames go: a link."""

    @property
    def send_frames(self) -> Callable[[bytes], object]: ...


class Subscriber:
    """One client of the fan-out: its subscriptions, and where it stands when it cannot keep up."""

    __slots__ = (
        "audience",
        "conflated",
        "delivered",
        "keys",
        "number",
        "outlet",
        "paused_at",
        "paused_turn",
        "skipped",
    )

    def __init__(self, outlet: Outlet, number: int = 0) -> None:
        self.outlet = outlet
        #: By which people tell clients apart.
        self.number = number
        #: What it holds, and from which flush turn on: what was published in an earlier one it has had.
        self.keys: dict[Key, int] = {}
        self.audience = Audience()
        #: The turn in which writing was paused, None while the client keeps up.
        self.paused_turn: int | None = None
        #: When that was, by the fan-out's clock.
        self.paused_at = 0.0
        self.skipped = 0
        self.delivered = 0
        #: Frames that were replaced by newer ones while the client was slow.
        self.conflated = 0


class _Stream:
    """One instrument in one mode: its encoder, and the pending lists that its frames go to."""

    __slots__ = ("frame", "inboxes", "mode", "turn", "writer")

    def __init__(self, mode: Mode, writer: FrameWriter) -> None:
        #: What a tick must have at least.
        self.mode = mode
        self.writer = writer
        self.inboxes: dict[Audience, list[bytes]] = {}
        #: The newest frame and its flush turn, for clients that missed it.
        self.frame = b""
        self.turn = -1


class Topic:
    """One instrument: its last tick and the audiences of each mode."""

    __slots__ = ("_broker", "_deep", "_streams", "audiences", "instrument", "last", "news", "turn")

    def __init__(self, instrument: Instrument, broker: str) -> None:
        self.instrument = instrument
        self.last: Tick | None = None
        #: The flush turn of the last tick.
        self.turn = -1
        self.audiences: set[Audience] = set()
        #: The last frames that were no ticks, for clients that missed them: the flush turn of each, and
        #: whether it is for those alone who have the deeper book.
        self.news: deque[tuple[int, bytes, bool]] = deque(maxlen=_NEWS_KEPT)
        self._broker = broker
        self._streams: dict[int, _Stream] = {}
        #: What writes the deeper book; None while nobody listens to it.
        self._deep: DeepFrameWriter | None = None

    def fed_by(self, broker: str) -> None:
        """Name this broker in the frames from now on."""
        if broker != self._broker:
            self._broker = broker
            for stream in self._streams.values():
                stream.writer.fed_by(broker)

    def join(self, audience: Audience, mode: int) -> None:
        """Send frames of the mode to the audience from now on."""
        stream = self._streams.get(mode)
        if stream is None:
            stream = self._streams[mode] = self._new_stream(mode)
        stream.inboxes[audience] = audience.pending
        self.audiences.add(audience)

    def leave(self, audience: Audience, mode: int) -> None:
        """Send the audience no more frames of the mode."""
        stream = self._streams[mode]
        del stream.inboxes[audience]
        if not stream.inboxes:
            del self._streams[mode]
            if mode == DEEP:
                self._deep = None
        if not any(audience in s.inboxes for s in self._streams.values()):
            self.audiences.discard(audience)

    def publish(self, tick: Tick, turn: int) -> None:
        """Encode the tick for each mode that somebody listens to, and queue the frame for all of them.

        A tick serves its own mode and the lower ones; who wants more waits for a fuller tick.
        """
        self.last = tick
        for stream in self._streams.values():
            if stream.mode <= tick.mode:
                stream.frame = frame = stream.writer.frame(tick)
                stream.turn = turn
                for inbox in stream.inboxes.values():
                    inbox.append(frame)

    def publish_snapshot(self, tick: Tick, turn: int) -> None:
        """Queue a value from another source than the feed, marked as a snapshot."""
        self.last = tick
        for stream in self._streams.values():
            if stream.mode <= tick.mode:
                stream.frame = frame = stream.writer.snapshot(tick)
                stream.turn = turn
                for inbox in stream.inboxes.values():
                    inbox.append(frame)

    def deepen(self, book: DepthTick, turn: int, *, shown: bool) -> bool:
        """Have this book in the frames of its listeners from now on, and tell whether one was queued.

        Where it is to be `shown` at once they get the last tick again, with its levels.
        """
        if self._deep is None:
            return False
        self._deep.book = book
        if not shown or self.last is None or self.last.mode < Mode.DEPTH:
            return False
        stream = self._streams[DEEP]
        stream.frame = frame = self._deep.frame(self.last)
        stream.turn = turn
        for inbox in stream.inboxes.values():
            inbox.append(frame)
        return True

    def flatten(self) -> None:
        """Have the levels of the ticks themselves in all frames, also in one that is kept for the slow."""
        if self._deep is None or self._deep.book is None:
            return
        self._deep.book = None
        if self.last is not None and self._streams[DEEP].frame:
            self._streams[DEEP].frame = self._deep.frame(self.last)

    def tell(self, frame: bytes, turn: int) -> None:
        """Queue a frame that is no tick for everybody who listens, once for each."""
        self.news.append((turn, frame, False))
        for audience in self.audiences:
            audience.pending.append(frame)

    def tell_deep(self, frame: bytes, turn: int) -> None:
        """Queue a frame that is no tick for those who listen to the deeper book."""
        if self._deep is not None:
            self.news.append((turn, frame, True))
            for inbox in self._streams[DEEP].inboxes.values():
                inbox.append(frame)

    def moved(self, mode: int, turn: int) -> bool:
        """Tell whether anything was queued for the mode's listeners in this flush turn or a later one."""
        return self._streams[mode].turn >= turn or any(self._news_for(turn, deep=mode == DEEP))

    def missed(self, turns: Mapping[int, int]) -> list[bytes]:
        """Return what a client missed since these turns, by mode: the news, then the newest frames."""
        frames = list(self._news_for(min(turns.values()), deep=DEEP in turns))
        for mode, turn in turns.items():
            stream = self._streams[mode]
            if stream.turn >= turn:
                frames.append(stream.frame)
        return frames

    def snapshot(self, mode: int, *, stale: bool) -> bytes | None:
        """Return the last known value in the mode, marked as a snapshot; None when there is none so full."""
        if self.last is None or self.last.mode < min(mode, Mode.DEPTH):
            return None
        return self._streams[mode].writer.snapshot(self.last, stale=stale)

    def _new_stream(self, mode: int) -> _Stream:
        if mode != DEEP:
            return _Stream(Mode(mode), FrameWriter(self.instrument, Mode(mode), self._broker))
        self._deep = DeepFrameWriter(self.instrument, self._broker)
        return _Stream(Mode.DEPTH, self._deep)

    def _news_for(self, turn: int, *, deep: bool) -> Iterator[bytes]:
        return (frame for when, frame, for_deep in self.news if when >= turn and (deep or not for_deep))
