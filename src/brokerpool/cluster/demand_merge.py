"""What gateways want of an account, brought to its upstream: each gateway as one owner, guests last."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Protocol, TypeAlias

from msgspec.structs import replace

from brokerpool.cluster.demand_state import SLICES, Change, ReadDemand, Wanted, hashed
from brokerpool.cluster.messages import DemandSlice
from brokerpool.errors import BrokerpoolError, ErrorCode, Refused
from brokerpool.feed.upstream_interface import Upstream
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode

#: What is refused, with the mode in which it was wanted.
Refusals: TypeAlias = dict[Instrument, tuple[Mode, Refused]]

_PUT_OUT = "another symbol has its place: it was a guest here, whose own account is out"


class Observer(Protocol):
    """Whom the merge tells what comes of it."""

    def answer(self, gateway: str, number: int, version: int, refused: Refusals) -> None:
        """This came of a slice."""
        ...

    def stand(self, instruments: Iterable[Instrument]) -> None:
        """A gateway has begun to want these."""
        ...

    def forget(self, instruments: Iterable[Instrument]) -> None:
        """Nobody wants these any more."""
        ...


class DemandMerge:
    """Has the upstream serve what living gateways want, and asks again for what it refused.

    Guests are symbols that have their home at another account, which is out: they give their places to those
    that have it here, and to guests of a higher priority; which of them, the upstream's holder decides alone.
    """

    def __init__(self, upstream: Upstream, observer: Observer) -> None:
        self._upstream = upstream
        self._observer = observer
        self._demand = ReadDemand()
        #: By gateway and slice: what the upstream refused, and would be wanted still.
        self._refused: dict[tuple[str, int], Refusals] = {}
        #: What any gateway wants as a guest, in the order in which it came; a dict as an ordered set.
        self._guests: dict[Instrument, None] = {}
        #: When that was tried again: how often the demand had changed, by which list, with how many places.
        self._tried = (-1, 0, 0)

    def wanted(self, slice_: DemandSlice, *, lives: bool) -> None:
        """Take note of a slice of a gateway's demand; it is merged while its gateway lives."""
        if self._demand.saw(slice_) and lives:
            self._merge(slice_)

    def joined(self, gateway: str) -> None:
        """Merge all that is known of a gateway that lives."""
        for slice_ in self._demand.slices(gateway):
            self._merge(slice_)

    def left(self, gateway: str) -> None:
        """Give up all that a gateway held."""
        self._demand.leave(gateway)
        for key in [key for key in self._refused if key[0] == gateway]:
            del self._refused[key]
        self._release(gateway, self._upstream.demand.instruments(gateway))

    def forgot(self, gateway: str, number: int) -> None:
        """Take a slice whose key is gone for an empty one."""
        known = self._demand.slice(gateway, number)
        if known.version:
            self._merge(replace(known, wanted=()))
            self._demand.forget(gateway, number)

    def retry(self, lists: Callable[[], int]) -> None:
        """Ask again for what was refused, once something has changed that may have made room.

        `lists` tells the version of the instrument list in use.
        """
        if not self._refused:
            return
        book, statuses = lists(), self._upstream.accounts()
        seen = self._upstream.demand.changes, book, sum(status.capacity for status in statuses)
        if seen == self._tried:
            return
        every = book != self._tried[1] or any(status.symbols < status.capacity for status in statuses)
        carried = self._upstream.demand.mode
        for (gateway, number), refused in list(self._refused.items()):
            # Of a full one what it carries for somebody else can be had.
            if some := [i for i in refused if every or carried(i) is not None]:
                slice_ = self._demand.slice(gateway, number)
                self._demand.without(slice_, some)
                self._merge(slice_, again=True)
        self._tried = self._upstream.demand.changes, *seen[1:]

    # -- inside -------------------------------------------------------------------------------------------

    def _merge(self, slice_: DemandSlice, *, again: bool = False) -> None:
        key = slice_.gateway, slice_.number
        change = self._demand.change(slice_)
        self._release(slice_.gateway, change.given_up)
        changed = {*change.given_up, *chain.from_iterable(change.wanted.values())}
        still = {i: why for i, why in self._refused.pop(key, {}).items() if i not in changed}
        still |= self._want(slice_.gateway, change, again=again)
        still |= self._refused.pop(key, {})  # guests of this slice that were put out
        if still:
            self._refused[key] = still
        self._observer.answer(*key, slice_.version, still)

    def _release(self, gateway: str, instruments: Sequence[Instrument]) -> None:
        self._upstream.release(gateway, instruments)
        gone = [i for i in instruments if self._upstream.demand.mode(i) is None]
        for instrument in gone:
            self._guests.pop(instrument, None)
        self._observer.forget(gone)

    def _want(self, gateway: str, change: Change, *, again: bool) -> Refusals:
        """Have the upstream serve what is new; return what it refuses."""
        refused: Refusals = {}
        for how, instruments in change.wanted.items():
            full = self._ask(gateway, instruments, how)
            lacking = [i for i, (_, why) in full.items() if why.code is ErrorCode.MAX_CAPACITY_REACHED]
            if lacking and not again and self._make_room(how, len(lacking)):
                for instrument in lacking:
                    del full[instrument]
                full |= self._ask(gateway, lacking, how)
            refused |= full
        return refused

    def _ask(self, gateway: str, instruments: Sequence[Instrument], how: Wanted) -> Refusals:
        demand = self._upstream.demand
        new = [i for i in instruments if not demand.holds(gateway, i)]
        try:
            # An upstream of one process answers at once.
            done = self._upstream.want(gateway, instruments, how.mode, how.priority).result()
        except BrokerpoolError as error:
            return {i: (how.mode, Refused(i, error.code, str(error))) for i in instruments}
        refused = {why.instrument: (how.mode, why) for why in done.refused}
        for instrument in done.accepted:
            if how.guest:
                self._guests[instrument] = None
            for mode in demand.held(gateway, instrument) - {how.mode}:
                self._upstream.release(gateway, [instrument], mode)
        self._observer.stand(i for i in new if i not in refused)
        return refused

    def _make_room(self, how: Wanted, symbols: int) -> bool:
        """Put out guests that are in the way of so many symbols; tell whether there were any."""
        demand = self._upstream.demand
        newest_first = (i for i in reversed(self._guests) if self._is_guest(i))
        put_out = heapq.nsmallest(symbols, newest_first, key=demand.priority)
        if how.guest:
            put_out = [i for i in put_out if demand.priority(i) < how.priority]
        answers: set[tuple[str, int]] = set()
        for instrument in put_out:
            mode, number = demand.mode(instrument), hashed(instrument, SLICES)
            assert mode is not None
            why = Refused(instrument, ErrorCode.MAX_CAPACITY_REACHED, _PUT_OUT)
            for gateway in list(demand.owners(instrument)):
                self._refused.setdefault((gateway, number), {})[instrument] = mode, why
                answers.add((gateway, number))
                self._release(gateway, [instrument])
        for gateway, number in sorted(answers):
            version = self._demand.slice(gateway, number).version
            self._observer.answer(gateway, number, version, self._refused[gateway, number])
        return bool(put_out)

    def _is_guest(self, instrument: Instrument) -> bool:
        """Tell whether nobody wants it here for another reason than that its own account is out."""
        owners = self._upstream.demand.owners(instrument)
        return all(
            (wanted := self._demand.wanted(gateway, instrument)) is not None and wanted.guest
            for gateway in owners
        )
