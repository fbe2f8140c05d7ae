"""The network between pool and scripted broker: pipes with latency, and the pool's end of a WebSocket."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection
from random import Random

from brokerpool.testing.wire_dialect import Heard, Message
from brokerpool.transport import Link, LinkHandler
from brokerpool.transport.frames import ABNORMAL, NORMAL
from brokerpool.transport.open_websocket import CLOSE_SECONDS


class Pipe:
    """One direction of a connection: what goes in comes out later and in order, or never."""

    def __init__(self, random: Random, latency: float) -> None:
        self._random = random
        self._latency = latency
        self._loop = asyncio.get_running_loop()
        self._under_way: deque[tuple[float, Callable[[], object]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._last = 0.0
        self._cut = False
        #: True while nothing comes out: a black hole. As with TCP, all of it comes when that ends.
        self.held = False

    def send(self, deliver: Callable[[], object]) -> float | None:
        """Have `deliver` called at the other end; return when that will be, None when nobody can say."""
        if self._cut:
            return None
        at = self._loop.time() + self._latency * (1 + 0.5 * self._random.random())
        self._last = at = max(at, self._last)
        self._under_way.append((at, deliver))
        self._arm()
        return None if self.held else at

    def hold(self) -> None:
        """Let nothing out from now on, what is under way included."""
        self.held = True
        self._disarm()

    def release(self) -> None:
        """Let everything out that was held, after the time that it takes."""
        self.held = False
        self._last = at = self._loop.time() + self._latency
        self._under_way = deque((at, deliver) for _, deliver in self._under_way)
        self._arm()

    def cut(self) -> None:
        """Lose what is under way and all that is still to come."""
        self._cut = True
        self._under_way.clear()
        self._disarm()

    def _arm(self) -> None:
        if self._timer is None and self._under_way and not self.held:
            self._timer = self._loop.call_at(self._under_way[0][0], self._arrive)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arrive(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._under_way and self._under_way[0][0] <= now and not self.held:
            self._under_way.popleft()[1]()
        self._arm()


class ScriptedLink(Link):
    """Keeps the promises of `transport.Link` towards its owner, without a socket below.

    The broker's end sends through `down` and is told through `up` by what it hands in as `far_end`.
    """

    def __init__(self, handler: LinkHandler, name: str, up: Pipe, down: Pipe) -> None:
        super().__init__(handler, 1)
        self.name = name
        self.up = up
        self.down = down
        #: The broker's end: told of texts, pings, the close frame, and the end of the connection.
        self.far_end: FarEnd | None = None
        self._loop = asyncio.get_running_loop()
        self._is_open = False
        self._gone = False  # the connection is lost, and the owner is told in a later step
        self._ended = False

    # -- for the owner ------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        return not self._is_open or self._closing is not None or self._gone

    @property
    def peer(self) -> str:
        return self.name

    @property
    def buffered(self) -> int:
        return 0

    def send_text(self, message: str | bytes) -> None:
        if not self.closed:
            text = message if isinstance(message, str) else message.decode()
            text.encode()  # what cannot be sent raises here as it does on a socket
            self._send(text)

    def send_binary(self, message: bytes) -> None:
        if not self.closed:
            self._send(bytes(memoryview(message)))

    def ping(self) -> None:
        if not self.closed and self.far_end is not None:
            self.far_end.pinged(answer=False)
            self._up(lambda end: end.ping())

    @property
    def given_up(self) -> bool:
        """True when the connection is lost as seen from here."""
        return self._gone

    def pause_reading(self) -> None:
        # What was read before is heard still, so that a pause without effect is the harder case.
        self.reading_paused = True

    def resume_reading(self) -> None:
        self.reading_paused = False

    def take_runs(self, sizes: Collection[int]) -> None:
        """Messages come one by one here."""

    def after_read(self, callback: Callable[[], None]) -> None:
        callback()  # each message is a read of its own

    def limit_buffer(self, high_water_bytes: int) -> None:
        pass

    def limit_socket_buffer(self, size_bytes: int) -> None:
        pass

    def close(self, code: int = NORMAL, reason: str = "") -> None:
        if self.closed:
            return
        self._closing = (code, reason)
        self._up(lambda end: end.goodbye())
        self._abort_timer = self._loop.call_later(CLOSE_SECONDS, self.abort)

    def abort(self) -> None:
        if self._gone:
            return
        self._gone = True
        self.down.cut()
        self._up(lambda end: end.gone())
        self._loop.call_soon(self._end)

    def abandon(self) -> None:
        self._abandoned = True
        self.abort()

    # -- for the broker's end, through the pipe -----------------------------------------------------------

    def take_handshake(self) -> None:
        """The broker has accepted the connection."""
        if not self._gone:
            self._is_open = True
            self._handler.opened(self)

    def take(self, message: Message) -> None:
        """A message of the broker's."""
        if self.closed:
            return
        if isinstance(message, str):
            self._handler.text(message)
        else:
            self._handler.binary(message)

    def take_ping(self) -> None:
        if not self.closed and self.far_end is not None:
            self.far_end.pinged(answer=True)
            self._up(lambda end: end.pong())
            self._handler.control_frame(answered=True)

    def take_pong(self) -> None:
        if not self.closed:
            self._handler.control_frame(answered=False)

    def take_close(self, code: int, reason: str) -> None:
        """The broker's close frame, whether it began or answers."""
        if self._gone:
            return
        self._heard = (code, reason)
        if self._closing is None:
            self._closing = self._heard
            self._up(lambda end: end.goodbye())
        self.take_loss()

    def take_loss(self) -> None:
        """The TCP connection has ended."""
        if not self._gone:
            self._gone = True
            self.down.cut()
            self._loop.call_soon(self._end)

    # -- inside -------------------------------------------------------------------------------------------

    def _send(self, message: Message) -> None:
        if self.far_end is not None:
            heard = self.far_end.sent(message)
            self._up(lambda end: end.heard(heard))

    def _up(self, tell: Callable[[FarEnd], object]) -> None:
        if self.far_end is not None:
            self.up.send(lambda: self.far_end and tell(self.far_end))

    def _end(self) -> None:
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        assert not self._ended, "an end is told once"
        self._ended = True
        if self._is_open and not self._abandoned:
            self._handler.closed(*(self._heard or self._closing or (ABNORMAL, "connection lost")))


class FarEnd:
    """What the broker's end of a connection is told."""

    def sent(self, message: Message) -> Heard:
        """Read a message that has left the pool; told at once, for the count of messages."""
        raise NotImplementedError

    def pinged(self, *, answer: bool) -> None:
        """A ping, or the answer to one, has left the pool."""

    def heard(self, heard: Heard) -> None:
        """A message has arrived."""

    def ping(self) -> None:
        """A ping has arrived."""

    def pong(self) -> None:
        """The answer to a ping has arrived."""

    def goodbye(self) -> None:
        """A close frame has arrived, to be answered unless it is an answer."""

    def gone(self) -> None:
        """The pool's end has dropped the connection."""
