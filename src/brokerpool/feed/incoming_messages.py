"""What the sockets of one connection bring: read by the wire, counted, and handed on in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from brokerpool.brokers.wire import MessageRun, Signal, Wire
from brokerpool.callback_isolation import Fence, name_of
from brokerpool.feed.large_message_slices import Backlog, Message
from brokerpool.feed.socket_liveness import Liveness
from brokerpool.feed.subscriptions import Subscriptions
from brokerpool.instruments import Instrument
from brokerpool.ticks import Tick
from brokerpool.transport import Link, LinkHandler

#: A message up to this size is decoded at once: 800 prices, or 40 order books.
SMALL_BYTES = 8192


class Receiver(Protocol):
    """Whom the messages are for: the connection."""

    def ticked(self, ticks: list[Tick]) -> None: ...
    def arrived(self, instruments: list[Instrument]) -> None: ...
    def signalled(self, signal: Signal) -> None: ...
    def pong_sent(self) -> None: ...
    def closed(self, code: int, reason: str) -> None: ...


class Incoming(LinkHandler):
    """Hears one socket after the other; what the wire raises costs the message, and not the socket."""

    def __init__(
        self,
        receiver: Receiver,
        subscriptions: Subscriptions,
        liveness: Liveness,
        fence: Fence,
        monotonic: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self.ticks = 0
        #: Messages without ticks: the broker's heartbeats.
        self.heartbeats = 0
        #: Monotonic seconds of the last tick, None before the first.
        self.last_tick_at: float | None = None
        self._receiver = receiver
        self._subscriptions = subscriptions
        self._awaited = subscriptions.arrivals.awaited
        self._liveness = liveness
        self._fence = fence
        self._monotonic = monotonic
        self._wall_clock = wall_clock
        self._wire: Wire  # a new one for each socket
        self._skipped: Mapping[str, int] = {}
        self._backlog = Backlog(self._take, fence)
        self._waiting = self._backlog.waiting  # asked with each message
        self._link: Link | None = None
        # Ticks of short messages that were read together, when that was, and the same in epoch milliseconds.
        self._gathered: list[Tick] = []
        self._read_at = 0.0
        self._received_ms = 0

    def begin(self, wire: Wire) -> None:
        """Read what comes with the wire of a new socket."""
        self._wire = wire
        self._skipped = wire.skipped

    def stats(self, now: float) -> dict[str, Any]:
        """Return the numbers as statistics show them; `now` is in monotonic seconds."""
        age = None if self.last_tick_at is None else round(now - self.last_tick_at, 3)
        return {
            "ticks": self.ticks,
            "heartbeats": self.heartbeats,
            "last_tick_age_seconds": age,
            "skipped_packets": dict(self._skipped),
        }

    # -- LinkHandler --------------------------------------------------------------------------------------

    def opened(self, link: Link) -> None:
        self._link = link
        if self._wire.run_sizes:
            link.take_runs(self._wire.run_sizes)

    def binary(self, message: bytes | memoryview) -> None:
        if len(message) <= SMALL_BYTES and not self._waiting:
            self._gather(self._wire.binary, message)
        else:
            self._set_aside(bytes(message))

    def run(self, frames: memoryview, head: int, size: int) -> None:
        # While a message waits the link is paused, and has no runs.
        self._gather(self._wire.run, MessageRun(frames, head, size))

    def text(self, message: str) -> None:
        if len(message) <= SMALL_BYTES and not self._waiting:
            self._gather(self._wire.text, message)
        else:
            self._set_aside(message)

    def control_frame(self, *, answered: bool) -> None:
        self._liveness.heard(self._monotonic())
        if answered:
            self._receiver.pong_sent()

    def closed(self, code: int, reason: str) -> None:
        self._hand_on()
        self._backlog.clear()
        self._link = None
        self._receiver.closed(code, reason)

    # -- inside -------------------------------------------------------------------------------------------

    def _take(self, part: Message) -> None:
        self._read(self._wire.text if isinstance(part, str) else self._wire.binary, part)

    def _set_aside(self, message: Message) -> None:
        self._hand_on()
        self._backlog.put(self._wire.parts if len(message) > SMALL_BYTES else _whole, message, self._link)

    def _gather(self, read: Callable[..., list[Tick]], message: Message | MessageRun) -> None:
        """Read a short message; where each is one tick, a list of many costs little more than one."""
        if not self._gathered:
            self._read_at, self._received_ms = self._monotonic(), int(self._wall_clock() * 1000)
        try:
            ticks = read(message, self._subscriptions.routes, self._received_ms)
            if self._wire.signals:
                self._hand_on()  # what came before them
                self._signalled()
            if not ticks:
                self._without_ticks(message, self._read_at)
            elif self._gathered:
                self._gathered += ticks
            else:
                self._gathered = ticks
                if self._link is not None:
                    self._link.after_read(self._hand_on)
        except BaseException as error:  # it costs this message, and not the socket
            self._fence.caught(name_of(read), error)

    def _hand_on(self) -> None:
        ticks, self._gathered = self._gathered, []
        if ticks:
            self._fence.call(self._ticked, ticks, self._read_at, otherwise=None)

    def _read(self, read: Callable[..., list[Tick]], message: Message) -> None:
        now = self._monotonic()
        try:
            ticks = read(message, self._subscriptions.routes, int(self._wall_clock() * 1000))
            if self._wire.signals:
                self._signalled()
            if ticks:
                self._ticked(ticks, now)
            else:
                self._without_ticks(message, now)
        except BaseException as error:  # it costs this message, and not the socket
            self._fence.caught(name_of(read), error)

    def _without_ticks(self, message: Message | MessageRun, now: float) -> None:
        self._liveness.heard(now)
        if isinstance(message, MessageRun):
            self.heartbeats += sum(1 for _ in message.messages())
        else:
            self.heartbeats += not isinstance(message, str)

    def _ticked(self, ticks: list[Tick], now: float) -> None:
        self._liveness.ticked(now)
        self.ticks += len(ticks)
        self.last_tick_at = now
        if self._awaited and (first := self._subscriptions.arrived(ticks)):
            self._receiver.arrived(first)
        self._receiver.ticked(ticks)

    def _signalled(self) -> None:
        signals = self._wire.signals[:]
        self._wire.signals.clear()
        for signal in signals:
            self._receiver.signalled(signal)


def _whole(message: Message) -> tuple[Message]:
    return (message,)
