"""What the sockets of one connection are told: requests in batches, answers and signs of life, at a pace."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from brokerpool.brokers.limits_file import FeedLimits
from brokerpool.brokers.wire import ControlBatch, Wire
from brokerpool.callback_isolation import Fence
from brokerpool.feed.sliding_window_pacer import Allowance, ReservingPacer
from brokerpool.feed.subscriptions import Subscriptions
from brokerpool.instruments import Instrument
from brokerpool.transport import Link

#: Answers that the broker wants and that wait for their turn; of more the oldest is dropped.
_MOST_ANSWERS = 100
#: The share of its period after which a sign of life leaves: what is left is for its turn and its way.
_BEAT_SHARE = 0.75
#: The same when another message of its socket leaves, which may take the turn that it needs.
_BUSY_SHARE = 0.5
#: The share of its period by which it must be able to leave whatever else does.
_LATEST_SHARE = 0.9


class Outgoing:
    """Writes to one socket after the other; what is sent keeps to the windows of socket and account."""

    def __init__(
        self,
        limits: FeedLimits,
        account: ReservingPacer,
        line: asyncio.Lock,
        subscriptions: Subscriptions,
        fence: Fence,
        monotonic: Callable[[], float],
        may_send: Callable[[], bool],
    ) -> None:
        """`account` counts the messages of all sockets, which wait in one `line` for what it lets pass.

        `may_send` is asked at the last moment before each of them; what may not leave is dropped.
        """
        #: Messages over all sockets.
        self.messages = 0
        self._limits = limits
        self._account = account
        self._line = line
        self._subscriptions = subscriptions
        self._fence = fence
        self._monotonic = monotonic
        self._may_send = may_send
        self._wire: Wire  # a new one for each socket
        self._allowance = Allowance(limits, account)
        self._answers: deque[str | bytes] = deque(maxlen=_MOST_ANSWERS)
        #: When the next sign of life is to leave: never where the broker wants none, and not in a greeting.
        self._beat_due = math.inf
        #: How much earlier it leaves before another message.
        self._early = (_BEAT_SHARE - _BUSY_SHARE) * limits.heartbeat_seconds
        #: How much later it may leave after a ping.
        self._spare = (_LATEST_SHARE - _BEAT_SHARE) * limits.heartbeat_seconds
        self._dialled_at = 0.0
        self._news = asyncio.Event()
        self._over = False

    def begin(self, wire: Wire) -> None:
        """Write with the wire of a new socket from now on."""
        self._wire = wire
        self._allowance.owes_no_more()
        self._allowance = Allowance(self._limits, self._account)
        self._answers.clear()
        self._beat_due = math.inf
        self._dialled_at = self._monotonic()
        self._over = False

    def end(self) -> None:
        """Write no more: the socket is gone."""
        self._over = True
        self._beat_due = math.inf
        self._allowance.owes_no_more()
        self._news.set()

    def changed(self) -> None:
        """See to it that the broker is told what has changed."""
        self._news.set()

    def answer(self, message: str | bytes) -> None:
        """Send what the broker wants to have sent, before the next request."""
        if message:
            self._answers.append(message)
            self._news.set()

    # -- control frames -----------------------------------------------------------------------------------

    def ping(self, link: Link) -> bool:
        """Ask for a sign of life, unless that would be a message too many; tell whether it was asked."""
        now = self._monotonic()
        if not self._allowance.may_ping(now, self._beat_due + self._spare) or not self._may_send():
            return False
        link.ping()
        self._allowance.spend_control_frame(now)
        return True

    def pong_sent(self) -> None:
        """Count the answer to a ping, where the broker does."""
        self._allowance.spend_control_frame(self._monotonic())

    # -- messages -----------------------------------------------------------------------------------------

    async def greet(self, link: Link, hello: Sequence[str | bytes]) -> None:
        """Send what the broker wants to hear first."""
        for message in hello:
            await self._send(link, message)

    async def write(
        self,
        link: Link,
        expected: Callable[[list[Instrument]], None],
        interrupted: Callable[[list[Instrument]], None],
    ) -> None:
        """Send what the broker must be told, in batches, until `end`.

        With each of them some ticks are `expected`, and some `interrupted` for a while to make room. Between
        two batches one answer leaves, so that neither can keep the other from its turn; signs of life leave
        when they are due, whatever waits.
        """
        self._beaten(self._dialled_at)
        while not self._over:
            self._news.clear()
            if self._answers:
                await self._send(link, self._answers.popleft())
                if self._over:
                    return
            batch = self._subscriptions.next_batch(self._limits.batch_size)
            if batch is not None:
                for number, message in enumerate(self._wire.requests(batch)):
                    told = partial(self._told, batch, expected, interrupted) if number == 0 else None
                    await self._send(link, message, told)
                    if self._over:
                        return
                await asyncio.sleep(0)  # where the broker sets no pace, ticks pass between two batches still
            elif not self._answers:
                await self._beside_beats(link, self._news.wait)

    async def _send(self, link: Link, message: str | bytes, told: Callable[[], None] | None = None) -> None:
        """Let a message leave when its turn comes, and before it a sign of life that is due soon."""
        if self._monotonic() >= self._beat_due - self._early:
            await self._beat(link)
        await self._beside_beats(link, self._turn)
        if told is not None and not self._over:
            told()
        self._put(link, message)

    async def _beside_beats(self, link: Link, wait: Callable[[], Awaitable[object]]) -> None:
        """Wait for something; signs of life that become due meanwhile leave."""
        while True:
            if self._monotonic() >= self._beat_due:
                await self._beat(link)
            try:
                async with asyncio.timeout_at(self._beat_due if self._beat_due < math.inf else None):
                    await wait()
                    return
            except TimeoutError:
                continue

    async def _beat(self, link: Link) -> None:
        """Let a sign of life leave: it stands in no line, for the others leave room for it."""
        nothing: str | bytes = ""
        beat = self._fence.call(self._wire.heartbeat, otherwise=nothing)
        if beat:
            await self._until_free(self._allowance.delay_of_beat)
            self._allowance.spend(self._monotonic())
            self._put(link, beat)
        self._beaten(self._monotonic())

    def _beaten(self, at: float) -> None:
        """Have the next sign of life leave in time, the last one having left then."""
        period = self._limits.heartbeat_seconds
        if period and not self._over:
            self._beat_due = at + _BEAT_SHARE * period
            self._allowance.owes(at + _LATEST_SHARE * period)

    def _told(
        self,
        batch: ControlBatch,
        expected: Callable[[list[Instrument]], None],
        interrupted: Callable[[list[Instrument]], None],
    ) -> None:
        interrupted(self._subscriptions.interrupted())
        expected(self._subscriptions.told(batch, self._monotonic()))

    async def _turn(self) -> None:
        """Wait until one more message may leave, and count it; the sockets of an account take turns."""
        await self._until_free(self._allowance.own_delay)
        async with self._line:
            await self._until_free(self._allowance.delay)
            self._allowance.spend(self._monotonic())

    async def _until_free(self, delay: Callable[[float], float]) -> None:
        while True:
            seconds = delay(self._monotonic())
            if not seconds:
                return
            await asyncio.sleep(seconds)

    def _put(self, link: Link, message: str | bytes) -> None:
        if self._over or not self._may_send():
            return
        send = link.send_text if isinstance(message, str) else link.send_binary
        self._fence.call(send, message, otherwise=None)  # the adapter may have made what cannot be sent
        self.messages += 1
