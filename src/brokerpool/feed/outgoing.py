"""What the sockets of one connection are told: requests in batches, answers and signs of life, at a pace."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from brokerpool.brokers.limits import FeedLimits
from brokerpool.brokers.wire import Wire
from brokerpool.feed.pacing import Allowance, Pacer
from brokerpool.feed.subscriptions import Subscriptions
from brokerpool.fence import Fence
from brokerpool.instruments import Instrument
from brokerpool.transport import Link

#: Answers that the broker wants and that wait for their turn; of more the oldest is dropped.
_MOST_ANSWERS = 100
#: A sign of life leaves so many seconds before it is due: nobody looks more often than once a second.
_EARLY_SECONDS = 1.0


class Outgoing:
    """Writes to one socket after the other; what is sent keeps to the windows of socket and account."""

    def __init__(
        self,
        limits: FeedLimits,
        account: Pacer,
        subscriptions: Subscriptions,
        fence: Fence,
        monotonic: Callable[[], float],
    ) -> None:
        """`account` counts the messages of all sockets."""
        #: Messages over all sockets.
        self.messages = 0
        self._limits = limits
        self._account = account
        self._subscriptions = subscriptions
        self._fence = fence
        self._monotonic = monotonic
        self._wire: Wire  # a new one for each socket
        self._allowance = Allowance(limits, account)
        self._answers: deque[str | bytes] = deque(maxlen=_MOST_ANSWERS)
        self._heartbeat_at = 0.0
        self._news = asyncio.Event()
        self._over = False

    def begin(self, wire: Wire) -> None:
        """Write with the wire of a new socket from now on."""
        self._wire = wire
        self._allowance = Allowance(self._limits, self._account)
        self._answers.clear()
        self._heartbeat_at = self._monotonic()
        self._over = False

    def end(self) -> None:
        """Write no more: the socket is gone."""
        self._over = True
        self._news.set()

    def changed(self) -> None:
        """See to it that the broker is told what has changed."""
        self._news.set()

    def answer(self, message: str | bytes) -> None:
        """Send what the broker wants to have sent, before the next request."""
        if message:
            self._answers.append(message)
            self._news.set()

    # -- signs of life ------------------------------------------------------------------------------------

    def look(self, now: float) -> None:
        """Send the wire's sign of life when one is due; to be called every second or so."""
        period = self._limits.heartbeat_seconds
        if period and now - self._heartbeat_at >= period - _EARLY_SECONDS:
            self._heartbeat_at = now
            nothing: str | bytes = ""
            self.answer(self._fence.call(self._wire.heartbeat, otherwise=nothing))

    def ping(self, link: Link) -> bool:
        """Ask for a sign of life, unless that would be a message too many; tell whether it was asked."""
        now = self._monotonic()
        if not self._allowance.may_ping(now):
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

        With each of them some ticks are `expected`, and some `interrupted` for a while to make room.
        """
        while not self._over:
            self._news.clear()
            if self._answers:
                await self._send(link, self._answers.popleft())
                continue
            batch = self._subscriptions.next_batch(self._limits.batch_size)
            if batch is None:
                await self._news.wait()
                continue
            for number, message in enumerate(self._wire.requests(batch)):
                await self._turn()
                if self._over:
                    return
                if number == 0:
                    interrupted(self._subscriptions.interrupted())
                    expected(self._subscriptions.told(batch, self._monotonic()))
                self._put(link, message)
            await asyncio.sleep(0)  # where the broker sets no pace, ticks pass between two batches still

    async def _send(self, link: Link, message: str | bytes) -> None:
        await self._turn()
        if not self._over:
            self._put(link, message)

    async def _turn(self) -> None:
        """Wait until one more message may leave, and count it."""
        while True:
            delay = self._allowance.delay(self._monotonic())
            if not delay:
                return self._allowance.spend(self._monotonic())
            await asyncio.sleep(delay)

    def _put(self, link: Link, message: str | bytes) -> None:
        if isinstance(message, str):
            link.send_text(message)
        else:
            link.send_binary(message)
        self.messages += 1
