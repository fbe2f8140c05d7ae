"""What one client wants and gives up: lists of any length, worked off in slices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias, TypeVar

from brokerpool.errors import ErrorCode
from brokerpool.feed.pool import WebSocketPool
from brokerpool.feed.refusals import Subscribed
from brokerpool.gateway import feed_status, protocol, replies
from brokerpool.gateway.audience import Key, Subscriber
from brokerpool.gateway.fanout import Fanout
from brokerpool.gateway.protocol import Entry
from brokerpool.gateway.refusals import RefusalLog
from brokerpool.gateway.replies import Outcome
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode

T = TypeVar("T")

#: Symbols that are dealt with before ticks and other clients have their turn: about a millisecond, at most 2.
_SLICE = 64
#: Bytes of a reply from which on putting it together and sending it are slices of their own.
_LONG_REPLY = 64 * 1024

#: How many more symbols may be held, and with what one more is refused.
Room: TypeAlias = tuple[int, ErrorCode, str]
#: What was refused, and why.
Refused: TypeAlias = dict[Instrument, tuple[ErrorCode, str]]


class Subscriptions:
    """The symbols of one client, at the pool and at the fan-out.

    Each request is an iterator: a step deals with a slice and checks every limit for itself, because others
    subscribe between two steps; the last ones write the reply and the values that are known.
    """

    def __init__(
        self,
        owner: str,
        subscriber: Subscriber,
        pool: WebSocketPool,
        fanout: Fanout,
        refusals: RefusalLog,
        *,
        room: Callable[[], Room],
        make_room: Callable[[], bool],
        reply: Callable[[bytes], object],
    ) -> None:
        """`room` tells how many more symbols the client may hold at this moment; `make_room` lets go of
        symbols that no client holds, and tells whether there were any; `reply` sends a text.
        """
        self._owner = owner
        self._subscriber = subscriber
        self._pool = pool
        self._fanout = fanout
        self._refusals = refusals
        self._room = room
        self._make_room = make_room
        self._reply = reply

    @property
    def symbols(self) -> int:
        """How many symbols the client holds."""
        return self._pool.demand.count(self._owner)

    def subscribe(self, request: protocol.Subscribe) -> Iterator[None]:
        """Take what there is room for, in the order of the list."""
        reply = replies.Subscribed(request, self._pool.depth_levels, self._pool.name)
        accepted: dict[Instrument, None] = {}
        refused: Refused = {}
        for part in _slices(request.entries):
            named = dict.fromkeys(entry.instrument for entry in part if not entry.fault)
            result, no = self._want([i for i in named if i not in refused], request)
            self._refusals.note(self._subscriber.number, no, before=len(refused))
            refused |= no
            for instrument in result.accepted:
                self._fanout.add(self._subscriber, instrument, request.mode)
            accepted.update(dict.fromkeys(result.accepted))
            for entry in part:
                if entry.fault:
                    what = (
                        f"{entry.exchange}:{entry.symbol}: {ErrorCode.INVALID_PARAMETERS.name}: {entry.fault}"
                    )
                    self._refusals.complain(self._subscriber.number, what)
            reply.add(_outcome(entry, refused) for entry in part)
            if len(part) == _SLICE:
                yield
        yield from self._send(reply.reply())
        for some in _slices([*accepted]):
            yield
            self._send_known(some, request.mode)

    def unsubscribe(self, request: protocol.Unsubscribe) -> Iterator[None]:
        """Give up what is named, whether it is held or not."""
        reply = replies.Unsubscribed(request, self._pool.name)
        for part in _slices(request.entries):
            self._give_up((entry.instrument, entry.mode) for entry in part if not entry.fault)
            reply.add(_outcome(entry, {}) for entry in part)
            if len(part) == _SLICE:
                yield
        yield from self._send(reply.reply())

    def unsubscribe_all(self, request: protocol.UnsubscribeAll) -> Iterator[None]:
        """Give up everything, and name it."""
        reply = replies.Unsubscribed(request, self._pool.name)
        for part in _slices(self._pool.demand.instruments(self._owner)):
            self._give_up((instrument, None) for instrument in part)
            reply.add(Outcome(Entry(i.symbol, i.exchange, None, i)) for i in part)
            if len(part) == _SLICE:
                yield
        yield from self._send(reply.reply())

    def give_up_all(self) -> Iterator[None]:
        """Give up everything at the pool, for a client that is gone."""
        for part in _slices(self._pool.demand.instruments(self._owner)):
            self._pool.unsubscribe(part, owner=self._owner)
            yield

    def tell(self, request: protocol.ListSubscriptions) -> Iterator[None]:
        """Name what the client holds, in the order in which it came."""
        reply = replies.SubscriptionList(request, self._pool.name)
        demand = self._pool.demand
        for part in _slices(demand.instruments(self._owner)):
            reply.add((i, mode) for i in part for mode in sorted(demand.held(self._owner, i)))
            if len(part) == _SLICE:
                yield
        yield from self._send(reply.reply())

    def _want(self, instruments: list[Instrument], request: protocol.Subscribe) -> tuple[Subscribed, Refused]:
        """Subscribe to what there is room for; return that, and why not to the others."""
        room, code, message = self._room()
        fresh = [i for i in instruments if not self._pool.demand.holds(self._owner, i)]
        refused: Refused = dict.fromkeys(fresh[room:], (code, message))
        wanted = [i for i in instruments if i not in refused]
        while True:
            result = self._pool.subscribe(
                wanted, request.mode, owner=self._owner, priority=request.priority, partial=True
            )
            full = any(r.code is ErrorCode.MAX_CAPACITY_REACHED for r in result.refused)
            if not full or not self._make_room():
                refused.update((r.instrument, (r.code, r.message)) for r in result.refused)
                return result, refused

    def _give_up(self, keys: Iterator[tuple[Instrument, Mode | None]]) -> None:
        by_mode: defaultdict[Mode | None, list[Instrument]] = defaultdict(list)
        for instrument, mode in keys:
            by_mode[mode].append(instrument)
            for one in Mode if mode is None else (mode,):
                self._fanout.remove(self._subscriber, instrument, one)
        for mode, instruments in by_mode.items():
            self._pool.unsubscribe(instruments, mode, owner=self._owner)

    def _send(self, reply: bytes) -> Iterator[None]:
        if len(reply) > _LONG_REPLY:
            yield
        self._reply(reply)

    def _send_known(self, instruments: Sequence[Instrument], mode: Mode) -> None:
        """Send the last values, and of which of them the feed has stopped."""
        gaps = {i: gap for i in instruments if (gap := self._pool.gap(i)) is not None}
        keys: Iterator[Key] = ((instrument, mode) for instrument in instruments)
        known = self._fanout.snapshot(keys, gaps.__contains__)
        known += b"".join(feed_status.stale(self._pool.name, gap) for gap in gaps.values())
        if known:
            self._subscriber.outlet.send_frames(known)


def _slices(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + _SLICE] for start in range(0, len(items), _SLICE))


def _outcome(entry: Entry, refused: Refused) -> Outcome:
    if entry.fault:
        return Outcome(entry, ErrorCode.INVALID_PARAMETERS, entry.fault)
    return Outcome(entry, *refused.get(entry.instrument, ()))
