"""What a gateway wants, as state that can be lost, doubled and late: whole slices, each with a version."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from brokerpool.cluster.messages import FORMAT, DemandSlice
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode

#: Slices of one gateway's demand of one account: one change of 9,000 symbols sends about 140 of them again.
SLICES = 64


def hashed(instrument: Instrument, most: int) -> int:
    """Return a number below `most` that is the same for the instrument in every process."""
    return zlib.crc32(f"{instrument.exchange}:{instrument.symbol}".encode()) % most


class Wanted(NamedTuple):
    """The highest mode in which a gateway wants an instrument, and its highest priority."""

    mode: Mode
    priority: int = 0
    #: Whether its home is another account, which is out: what has its home here goes before.
    guest: bool = False


class WrittenDemand:
    """A gateway's own demand of one account, and which of its slices have to be written."""

    def __init__(self, gateway: str) -> None:
        self._gateway = gateway
        self._slices: dict[int, dict[Instrument, Wanted]] = {}
        self._versions: dict[int, int] = {}
        self._changed: dict[int, None] = {}
        #: Slices whose last version nobody has answered.
        self._unanswered: dict[int, None] = {}

    def want(self, instrument: Instrument, wanted: Wanted | None) -> int:
        """Have the instrument wanted like this, or no more; return the slice that it stands in."""
        number = hashed(instrument, SLICES)
        slice_ = self._slices.setdefault(number, {})
        if slice_.get(instrument) != wanted:
            if wanted is None:
                del slice_[instrument]
            else:
                slice_[instrument] = wanted
            if number not in self._changed:
                self._versions[number] = self._versions.get(number, 0) + 1
                self._changed[number] = None
                self._unanswered[number] = None
        return number

    def version(self, number: int) -> int:
        """Return the version in which the slice says what is wanted now, be it written or not."""
        return self._versions.get(number, 0)

    def changed(self) -> Iterator[DemandSlice]:
        """Give the slices that have changed since; they are taken to be written from now on."""
        changed, self._changed = self._changed, {}
        return map(self._slice, changed)

    def unanswered(self) -> Iterator[DemandSlice]:
        """Give the slices again whose last version was not answered."""
        return map(self._slice, [number for number in self._unanswered if number not in self._changed])

    def everything(self) -> None:
        """Take no slice for answered: the store may have lost them."""
        self._unanswered.update(dict.fromkeys(self._versions))

    def answered(self, number: int, version: int) -> None:
        """Note an answer; one to an older version says nothing about the last."""
        if version == self._versions.get(number):
            self._unanswered.pop(number, None)

    def in_slice(self, number: int) -> list[Instrument]:
        """Return what is wanted in a slice."""
        return list(self._slices.get(number, ()))

    def numbers(self) -> list[int]:
        """Return the slices that were ever written."""
        return list(self._versions)

    def _slice(self, number: int) -> DemandSlice:
        slice_ = self._slices[number].items()
        wanted = ((i.exchange, i.symbol, int(w.mode), w.priority, w.guest) for i, w in slice_)
        return DemandSlice(FORMAT, self._gateway, number, self._versions[number], tuple(wanted))

    def __len__(self) -> int:
        return sum(map(len, self._slices.values()))


class Change(NamedTuple):
    """How what an owner holds differs from what it wants: given up first, then wanted, guests last."""

    given_up: list[Instrument]
    wanted: dict[Wanted, list[Instrument]]


class ReadDemand:
    """What gateways want of one account, by the newest version of each slice that has been seen."""

    def __init__(self) -> None:
        self._slices: dict[str, dict[int, DemandSlice]] = {}
        #: What each slice says, once it was merged.
        self._merged: dict[tuple[str, int], dict[Instrument, Wanted]] = {}

    def saw(self, slice_: DemandSlice) -> bool:
        """Note a slice; tell whether it is to be merged and answered: an older version is not."""
        slices = self._slices.setdefault(slice_.gateway, {})
        known = slices.get(slice_.number)
        if known is not None and known.version > slice_.version:
            return False
        slices[slice_.number] = slice_
        return True

    def slices(self, gateway: str) -> list[DemandSlice]:
        """Return what was seen of a gateway."""
        return list(self._slices.get(gateway, {}).values())

    def slice(self, gateway: str, number: int) -> DemandSlice:
        """Return the newest version of a slice; an empty one where none was seen."""
        return self._slices.get(gateway, {}).get(number) or DemandSlice(FORMAT, gateway, number, 0)

    def change(self, slice_: DemandSlice) -> Change:
        """Return what the slice changes, and take it for merged."""
        wanted = _read(slice_)
        before = self._merged.get((slice_.gateway, slice_.number), {})
        self._merged[slice_.gateway, slice_.number] = wanted
        return _change(before, wanted)

    def wanted(self, gateway: str, instrument: Instrument) -> Wanted | None:
        """Return how a gateway wants an instrument, by what was merged."""
        return self._merged.get((gateway, hashed(instrument, SLICES)), {}).get(instrument)

    def leave(self, gateway: str) -> None:
        """Take nothing of a gateway for merged any more; what was seen is kept, should it come back."""
        for key in [key for key in self._merged if key[0] == gateway]:
            del self._merged[key]

    def forget(self, gateway: str, number: int) -> None:
        """Take a slice for never seen."""
        self._slices.get(gateway, {}).pop(number, None)

    def without(self, slice_: DemandSlice, instruments: Iterable[Instrument]) -> None:
        """Take these for not merged: they were refused, and are wanted again with the next merge."""
        merged = self._merged[slice_.gateway, slice_.number]
        for instrument in instruments:
            merged.pop(instrument, None)


def _read(slice_: DemandSlice) -> dict[Instrument, Wanted]:
    modes = Mode.__members__.values()
    return {
        Instrument(exchange, symbol): Wanted(Mode(mode), priority, guest)
        for exchange, symbol, mode, priority, guest in slice_.wanted
        if mode in modes
    }


def _change(before: Mapping[Instrument, Wanted], after: Mapping[Instrument, Wanted]) -> Change:
    wanted: dict[Wanted, list[Instrument]] = {}
    for instrument, how in after.items():
        if before.get(instrument) != how:
            wanted.setdefault(how, []).append(instrument)
    by_priority = sorted(wanted, key=lambda how: (how.guest, -how.priority, -how.mode))
    return Change([i for i in before if i not in after], {how: wanted[how] for how in by_priority})
