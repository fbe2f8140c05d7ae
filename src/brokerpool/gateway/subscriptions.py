"""What one client wants and gives up: lists of any length, worked off in slices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeAlias, TypeVar

from brokerpool.errors import BrokerpoolError, ErrorCode
from brokerpool.feed.upstream_interface import Answer, Upstream
from brokerpool.gateway import client_actions, client_replies, feed_status
from brokerpool.gateway.client_actions import Entry
from brokerpool.gateway.client_replies import Outcome
from brokerpool.gateway.deep_books import DeepBooks, Lacking
from brokerpool.gateway.fanout import Fanout
from brokerpool.gateway.refusal_log import RefusalLog
from brokerpool.gateway.request_queue import Steps
from brokerpool.gateway.subscriber_groups import DEEP, MODES, Key, Subscriber
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode

T = TypeVar("T")

#: Symbols that are dealt with before ticks and other clients have their turn: about a millisecond, at most 2.
_SLICE = 64
#: What the upstream has for an answer; the client is told then that there is none.
ANSWER_SECONDS = 10.0
#: Bytes of a reply from which on putting it together and sending it are slices of their own.
_LONG_REPLY = 64 * 1024

#: How many more symbols may be held, and with what one more is refused.
Room: TypeAlias = tuple[int, ErrorCode, str]
#: What was refused, and why.
Refused: TypeAlias = dict[Instrument, tuple[ErrorCode, str]]

#: What a client gives up with a mode; without one all.
_MODES_OF: Mapping[Mode | None, Collection[int]] = {
    None: MODES,
    Mode.LTP: (Mode.LTP,),
    Mode.QUOTE: (Mode.QUOTE,),
    Mode.DEPTH: (Mode.DEPTH, DEEP),
}

_OVERDUE = (
    ErrorCode.NOT_ANSWERED_IN_TIME,
    f"the upstream has not answered within {ANSWER_SECONDS:g} s; it is asked for more when it has",
)


class Subscriptions:
    """The symbols of one client, at the pool and at the fan-out.

    Each request is an iterator: a step deals with a slice and checks every limit for itself, because others
    subscribe between two steps; the last ones write the reply and the values that are known.

    One want is under way at a time. An answer that comes when nobody waits for it any more changes nothing
    for the client, and leaves nothing at the upstream: what was granted is released.
    """

    def __init__(
        self,
        owner: str,
        subscriber: Subscriber,
        upstream: Upstream,
        fanout: Fanout,
        deep_books: DeepBooks,
        refusals: RefusalLog,
        *,
        room: Callable[[], Room],
        make_room: Callable[[], bool],
        later: Callable[[Iterator[None]], None],
        reply: Callable[[bytes], object],
    ) -> None:
        """`room` tells how many more symbols the client may hold at this moment; `make_room` lets go of
        symbols that no client holds, and tells whether there were any; `later` takes steps that have time;
        `reply` sends a text.
        """
        self._owner = owner
        self._subscriber = subscriber
        self._upstream = upstream
        self._fanout = fanout
        self._deep_books = deep_books
        self._refusals = refusals
        self._room = room
        self._make_room = make_room
        self._later = later
        self._reply = reply
        #: What the want under way is about.
        self._asked: Sequence[Instrument] = ()
        #: The answer that was waited for in vain; until it comes the upstream is asked for nothing more.
        self._overdue: Answer | None = None
        self._left = False

    @property
    def symbols(self) -> int:
        """How many symbols the client holds, or will when a want under way is granted."""
        demand = self._upstream.demand
        return demand.count(self._owner) + sum(not demand.holds(self._owner, i) for i in self._asked)

    def subscribe(self, request: client_actions.Subscribe) -> Steps:
        """Take what there is room for, in the order of the list."""
        reply = client_replies.Subscribed(request, self._upstream.depth_levels, self._upstream.name)
        levels = self._deep_books.levels(request.depth if request.mode is Mode.DEPTH else 0)
        accepted: dict[Instrument, int] = {}  # with what it is delivered in
        refused: Refused = {}
        for part in _slices(request.entries):
            named = dict.fromkeys(entry.instrument for entry in part if not entry.fault)
            granted, no = yield from self._want([i for i in named if i not in refused], request)
            self._refusals.note(self._subscriber.number, no, before=len(refused))
            refused |= no
            deep, lacking = self._deepen(granted, request.mode, levels)
            self._refusals.note(self._subscriber.number, lacking)
            accepted.update((i, DEEP if i in deep else request.mode) for i in granted)
            for entry in part:
                if entry.fault:
                    what = (
                        f"{entry.exchange}:{entry.symbol}: {ErrorCode.INVALID_PARAMETERS.name}: {entry.fault}"
                    )
                    self._refusals.complain(self._subscriber.number, what)
            told = dict.fromkeys(deep, levels)
            reply.add(_outcome(entry, refused, told, lacking) for entry in part)
            if len(part) == _SLICE:
                yield None
        yield from self._send(reply.reply())
        for some in _slices([*accepted.items()]):
            yield None
            self._send_known(some)

    def unsubscribe(self, request: client_actions.Unsubscribe) -> Iterator[None]:
        """Give up what is named, whether it is held or not."""
        reply = client_replies.Unsubscribed(request, self._upstream.name)
        for part in _slices(request.entries):
            self._give_up((entry.instrument, entry.mode) for entry in part if not entry.fault)
            reply.add(_outcome(entry, {}, {}, {}) for entry in part)
            if len(part) == _SLICE:
                yield
        yield from self._send(reply.reply())

    def unsubscribe_all(self, request: client_actions.UnsubscribeAll) -> Iterator[None]:
        """Give up everything, and name it."""
        reply = client_replies.Unsubscribed(request, self._upstream.name)
        for part in _slices(self._upstream.demand.instruments(self._owner)):
            self._give_up((instrument, None) for instrument in part)
            reply.add(Outcome(Entry(i.symbol, i.exchange, None, i)) for i in part)
            if len(part) == _SLICE:
                yield
        yield from self._send(reply.reply())

    def leave(self) -> Iterator[None]:
        """Give up everything at the upstream, for a client that is gone: a slice a step."""
        self._left = True
        return self._release_all()

    def tell(self, request: client_actions.ListSubscriptions) -> Iterator[None]:
        """Name what the client holds, in the order in which it came."""
        reply = client_replies.SubscriptionList(request, self._upstream.name)
        demand = self._upstream.demand
        for part in _slices(demand.instruments(self._owner)):
            reply.add((i, m, self._depth(i, m)) for i in part for m in sorted(demand.held(self._owner, i)))
            if len(part) == _SLICE:
                yield
        yield from self._send(reply.reply())

    # -- wants --------------------------------------------------------------------------------------------

    def _want(
        self, instruments: list[Instrument], request: client_actions.Subscribe
    ) -> Generator[Answer, None, tuple[Sequence[Instrument], Refused]]:
        """Subscribe to what there is room for; return that, and why not to the others."""
        room, code, message = self._room()
        fresh = [i for i in instruments if not self._upstream.demand.holds(self._owner, i)]
        refused: Refused = dict.fromkeys(fresh[room:], (code, message))
        wanted = [i for i in instruments if i not in refused]
        granted: set[Instrument] = set()
        while wanted:
            if self._overdue is not None:
                refused |= dict.fromkeys(wanted, _OVERDUE)
                break
            answer = self._upstream.want(self._owner, wanted, request.mode, request.priority)
            if not answer.done():
                yield from self._wait(answer, wanted, request.mode)
            some, no = _result(answer, wanted)
            granted.update(some)
            refused |= no
            wanted = [i for i, (code, _) in no.items() if code is ErrorCode.MAX_CAPACITY_REACHED]
            if wanted and not self._make_room():
                break
        return (
            [i for i in instruments if i in granted],
            {i: why for i, why in refused.items() if i not in granted},
        )

    def _wait(self, answer: Answer, wanted: Sequence[Instrument], mode: Mode) -> Iterator[Answer]:
        """Wait for a late answer; the client gets what ticks until then, lest it miss the first value."""
        answer.add_done_callback(partial(self._answered, mode))
        new = [i for i in wanted if (i, mode) not in self._subscriber.keys]
        for instrument in new:
            self._fanout.add(self._subscriber, instrument, mode)
        self._asked = wanted
        yield answer
        self._asked = ()
        if not answer.done():
            self._overdue = answer
        granted = frozenset(_result(answer, wanted)[0])
        for instrument in new:
            if instrument not in granted:
                self._fanout.remove(self._subscriber, instrument, mode)

    def _answered(self, mode: Mode, answer: Answer) -> None:
        """Leave nothing at the upstream of a want whose answer nobody waits for any more."""
        granted, _ = _result(answer, ())
        if self._left:
            self._later(self._release_all())
        elif answer is self._overdue:
            self._overdue = None
            self._later(self._release_strays(granted, mode))

    def _release_all(self) -> Iterator[None]:
        for part in _slices(self._upstream.demand.instruments(self._owner)):
            self._upstream.release(self._owner, part)
            yield
        self._deep_books.release(self._owner)

    def _release_strays(self, granted: Sequence[Instrument], mode: Mode) -> Iterator[None]:
        held: Collection[Key] = self._subscriber.keys
        same = (mode, DEEP) if mode is Mode.DEPTH else (mode,)
        strays = [i for i in granted if not any((i, one) in held for one in same)]
        self._upstream.release(self._owner, strays, mode)
        yield

    # -- levels -------------------------------------------------------------------------------------------

    def _deepen(
        self, instruments: Sequence[Instrument], mode: Mode, levels: int
    ) -> tuple[Collection[Instrument], Lacking]:
        """Deliver these from now on, of which more levels can be had in depth mode if so many are wanted.

        Return which have more, and why others have not, where that can change.
        """
        deep: Collection[Instrument] = ()
        lacking: Lacking = {}
        if levels > self._upstream.depth_levels:
            deep, lacking = self._deep_books.want(self._owner, instruments)
        for instrument in instruments:
            self._fanout.add(self._subscriber, instrument, DEEP if instrument in deep else mode)
        if mode is Mode.DEPTH:  # a client has one book of a symbol, that which it asked for last
            keys = self._subscriber.keys
            flat = [i for i in instruments if i not in deep and (i, DEEP) in keys]
            self._deep_books.release(self._owner, flat)
            for instrument in instruments:
                self._fanout.remove(self._subscriber, instrument, mode if instrument in deep else DEEP)
        return deep, lacking

    def _depth(self, instrument: Instrument, mode: Mode) -> int | None:
        """Return the levels of what the client holds in a mode, None where they are those of ticks."""
        if mode is not Mode.DEPTH or (instrument, DEEP) not in self._subscriber.keys:
            return None
        return self._deep_books.most

    # -- inside -------------------------------------------------------------------------------------------

    def _give_up(self, keys: Iterator[tuple[Instrument, Mode | None]]) -> None:
        by_mode: defaultdict[Mode | None, list[Instrument]] = defaultdict(list)
        for instrument, mode in keys:
            by_mode[mode].append(instrument)
            for one in _MODES_OF[mode]:
                self._fanout.remove(self._subscriber, instrument, one)
        for mode, instruments in by_mode.items():
            self._upstream.release(self._owner, instruments, mode)
            if DEEP in _MODES_OF[mode]:
                self._deep_books.release(self._owner, instruments)

    def _send(self, reply: bytes) -> Iterator[None]:
        if len(reply) > _LONG_REPLY:
            yield
        self._reply(reply)

    def _send_known(self, keys: Sequence[Key]) -> None:
        """Send the last values, and of which of them the feed has stopped."""
        gaps = {i: gap for i, _ in keys if (gap := self._upstream.gap(i)) is not None}
        known = self._fanout.snapshot(keys, gaps.__contains__)
        known += b"".join(feed_status.stale(self._upstream.broker(i), gap) for i, gap in gaps.items())
        if known:
            self._subscriber.outlet.send_frames(known)


def _slices(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + _SLICE] for start in range(0, len(items), _SLICE))


def _result(answer: Answer, wanted: Sequence[Instrument]) -> tuple[Sequence[Instrument], Refused]:
    """Return what was granted, and why the others were not."""
    if not answer.done() or answer.cancelled():
        return (), dict.fromkeys(wanted, _OVERDUE)
    error = answer.exception()
    if isinstance(error, BrokerpoolError):
        return (), dict.fromkeys(wanted, (error.code, str(error)))
    subscribed = answer.result()
    return subscribed.accepted, {r.instrument: (r.code, r.message) for r in subscribed.refused}


def _outcome(entry: Entry, refused: Refused, levels: Mapping[Instrument, int], lacking: Refused) -> Outcome:
    if entry.fault:
        return Outcome(entry, ErrorCode.INVALID_PARAMETERS, entry.fault)
    instrument = entry.instrument
    if (no := refused.get(instrument)) is not None:
        return Outcome(entry, *no)
    return Outcome(entry, depth=levels.get(instrument), lacks=lacking.get(instrument))
