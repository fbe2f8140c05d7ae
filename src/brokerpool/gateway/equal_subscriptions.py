"""Who sits in which audience: clients with equal subscriptions in the same, once these are left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator

from brokerpool.gateway.subscriber_groups import Audience, Key, Subscriber, Topic
from brokerpool.instruments import Instrument

#: A client whose subscriptions have been left alone for this long may share another's buffer.
_SETTLED_SECONDS = 0.25
#: Subscriptions that are compared in one go; the rest waits for the next turn of the loop.
_SETTLED_AT_ONCE = 3_000
#: Topics that one who is gone leaves in one go: a fraction of a millisecond.
_LEFT_AT_ONCE = 250


class AudienceSharing:
    """Keeps a topic for each instrument that is held, and an audience for each set of subscriptions.

    Seats change between flushes only. The frames that wait in an audience are for those who are in it, so
    they are written before anybody comes or goes: whoever joins has none of them, whoever leaves has all.
    """

    def __init__(self, broker: Callable[[Instrument], str], flushed: Callable[[], int]) -> None:
        """`broker` tells which one feeds an instrument.

        `flushed` empties the audiences and returns the flush turn that begins.
        """
        #: Both are never replaced; to be read only.
        self.topics: dict[Instrument, Topic] = {}
        self.audiences: set[Audience] = set()
        self._broker = broker
        self._flushed = flushed
        self._loop = asyncio.get_running_loop()
        self._unsettled: dict[Subscriber, None] = {}
        self._settle_handle: asyncio.TimerHandle | None = None
        self._settled: dict[frozenset[Key], Audience] = {}

    def add(self, subscriber: Subscriber, instrument: Instrument, mode: int) -> None:
        """Deliver the instrument's ticks in this mode from the next tick on; adding twice changes nothing."""
        key = (instrument, mode)
        if key in subscriber.keys:
            return
        turn = self._flushed()
        self._unshare(subscriber)
        topic = self.topics.get(instrument)
        if topic is None:
            topic = self.topics[instrument] = Topic(instrument, self._broker(instrument))
        subscriber.keys[key] = turn
        topic.join(subscriber.audience, mode)

    def remove(self, subscriber: Subscriber, instrument: Instrument, mode: int) -> None:
        """Stop delivering; what was not held is ignored."""
        key = (instrument, mode)
        if key not in subscriber.keys:
            return
        self._flushed()
        self._unshare(subscriber)
        del subscriber.keys[key]
        self._leave(subscriber.audience, key)

    def leave(self, subscriber: Subscriber) -> Iterator[None]:
        """Take a client that is gone out of its audience; it holds nothing any more.

        It gets nothing from now on. Where it was the last of its audience, each step takes that out of a part
        of its topics.
        """
        if subscriber.keys:
            self._flushed()
        self._unsettled.pop(subscriber, None)
        keys, subscriber.keys = subscriber.keys, {}
        audience = subscriber.audience
        audience.subscribers.discard(subscriber)
        if audience.subscribers:
            return iter(())
        self._dissolve(audience)
        return self._left(audience, keys)

    def _left(self, audience: Audience, keys: Collection[Key]) -> Iterator[None]:
        for n, key in enumerate(keys, 1):
            self._leave(audience, key)
            if n % _LEFT_AT_ONCE == 0:
                yield
        audience.pending.clear()

    def close(self) -> None:
        """Stop the timer; nobody changes seats any more."""
        if self._settle_handle is not None:
            self._settle_handle.cancel()

    def _leave(self, audience: Audience, key: Key) -> None:
        instrument, mode = key
        topic = self.topics[instrument]
        topic.leave(audience, mode)
        if not topic.audiences:
            del self.topics[instrument]

    def _quit(self, subscriber: Subscriber, audience: Audience) -> None:
        """Take a client out of its audience, and the audience out of the world when it was the last."""
        audience.subscribers.discard(subscriber)
        if audience.subscribers:
            return
        self._dissolve(audience)
        for key in subscriber.keys:
            self._leave(audience, key)

    def _dissolve(self, audience: Audience) -> None:
        """See to it that nobody joins an audience that is empty."""
        self.audiences.discard(audience)
        if audience.settled is not None:
            del self._settled[audience.settled]
            audience.settled = None

    def _unshare(self, subscriber: Subscriber) -> None:
        """Give a client whose subscriptions are about to change an audience of its own."""
        self._unsettled[subscriber] = None
        if self._settle_handle is None:
            self._settle_handle = self._loop.call_later(_SETTLED_SECONDS, self._settle)
        old = subscriber.audience
        old.subscribers.add(subscriber)
        self.audiences.add(old)
        if old.settled is not None and len(old.subscribers) == 1:
            del self._settled[old.settled]
            old.settled = None
        elif old.settled is not None:
            self._move(subscriber, Audience())

    def _settle(self) -> None:
        """Let clients with equal subscriptions share one audience, and so one joined buffer."""
        self._settle_handle = None
        self._flushed()
        compared = 0
        while self._unsettled and compared < _SETTLED_AT_ONCE:
            subscriber, _ = self._unsettled.popitem()
            if not subscriber.keys:
                continue
            compared += len(subscriber.keys)
            keys = frozenset(subscriber.keys)
            shared = self._settled.get(keys)
            if shared is None:
                subscriber.audience.settled = keys
                self._settled[keys] = subscriber.audience
            elif shared is not subscriber.audience:
                self._move(subscriber, shared)
        if self._unsettled:
            self._settle_handle = self._loop.call_later(0.0, self._settle)

    def _move(self, subscriber: Subscriber, audience: Audience) -> None:
        old = subscriber.audience
        if not audience.subscribers:
            for instrument, mode in subscriber.keys:
                self.topics[instrument].join(audience, mode)
        audience.subscribers.add(subscriber)
        self.audiences.add(audience)
        subscriber.audience = audience
        self._quit(subscriber, old)
