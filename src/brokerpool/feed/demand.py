"""Who wants what: the one truth from which everything that is sent to the broker follows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from brokerpool.instruments import Instrument, named
from brokerpool.ticks import Mode

_MODES = (Mode.DEPTH, Mode.QUOTE, Mode.LTP)


def _modes(mask: int) -> frozenset[Mode]:
    return frozenset(mode for mode in _MODES if mask >> mode & 1)


class _Holding:
    """One instrument's owners; `counts` makes the highest wanted mode a look-up whatever the crowd."""

    __slots__ = ("counts", "owners", "priorities")

    def __init__(self) -> None:
        self.owners: dict[str, int] = {}  # owner -> bit set of modes
        self.priorities: dict[str, int] = {}  # owner -> priority, where it is not 0
        self.counts = [0, 0, 0, 0]  # by mode; index 0 is not used


class Demand:
    """For each instrument, which owner wants which modes.

    An owner may want several modes of one instrument and gives each up separately. Nothing that one
    owner does changes what another holds, and a mode is counted once per owner, so that no count can
    go below zero or stay behind.
    """

    def __init__(self) -> None:
        self._holdings: dict[Instrument, _Holding] = {}
        # Dicts as ordered sets: what follows from the demand must not depend on the hashes of names.
        self._owners: dict[str, dict[Instrument, None]] = {}
        #: Counts the changes, so that whoever keeps a copy knows when it is old.
        self.changes = 0

    def want(self, owner: str, instrument: Instrument, mode: Mode, priority: int = 0) -> None:
        """Add a want; adding it again changes nothing but the owner's priority for the instrument."""
        holding = self._holdings.get(instrument)
        if holding is None:
            holding = self._holdings[instrument] = _Holding()
        mask = holding.owners.get(owner, 0)
        if priority:
            holding.priorities[owner] = priority
        elif holding.priorities:
            holding.priorities.pop(owner, None)
        if mask >> mode & 1:
            return
        if not mask:
            self._owners.setdefault(owner, {})[instrument] = None
        self.changes += 1
        holding.owners[owner] = mask | 1 << mode
        holding.counts[mode] += 1

    def release(self, owner: str, instrument: Instrument, modes: Iterable[Mode] = _MODES) -> bool:
        """Give up the modes (all of them by default); tell whether the owner held any of these."""
        holding = self._holdings.get(instrument)
        mask = holding.owners.get(owner, 0) if holding else 0
        if holding is None or not mask:
            return False
        self.changes += 1
        left = mask
        for mode in modes:
            if left >> mode & 1:
                left &= ~(1 << mode)
                holding.counts[mode] -= 1
        if left:
            holding.owners[owner] = left
        else:
            self._forget(owner, instrument, holding)
        return left != mask

    def mode(self, instrument: Instrument | str) -> Mode | None:
        """Return the highest mode that anybody wants, None when nobody wants the instrument."""
        holding = self._of(instrument)
        if holding is None:
            return None
        return next(mode for mode in _MODES if holding.counts[mode])

    def priority(self, instrument: Instrument | str) -> int:
        """Return the highest priority that any owner gives the instrument, 0 when none gives it one."""
        holding = self._of(instrument)
        if holding is None or not holding.priorities:
            return 0
        unnamed = len(holding.owners) > len(holding.priorities)
        return max(0, *holding.priorities.values()) if unnamed else max(holding.priorities.values())

    def holds(self, owner: str, instrument: Instrument | str) -> bool:
        """Tell whether the owner wants the instrument in any mode."""
        holding = self._of(instrument)
        return holding is not None and owner in holding.owners

    def held(self, owner: str, instrument: Instrument | str) -> frozenset[Mode]:
        """Return the modes in which the owner wants the instrument."""
        holding = self._of(instrument)
        return _modes(holding.owners.get(owner, 0)) if holding else frozenset()

    def instruments(self, owner: str | None = None) -> tuple[Instrument, ...]:
        """Return what the owner wants, or what anybody wants, in the order in which it came."""
        if owner is None:
            return tuple(self._holdings)
        return tuple(self._owners.get(owner, ()))

    def search(self, text: str, most: int) -> list[Instrument]:
        """Return wanted instruments that contain the text in any case, those that begin with it first."""
        text = text.upper()
        found = [i for i in self._holdings if text in str(i).upper()]
        found.sort(key=lambda i: (not i.symbol.upper().startswith(text), i))
        return found[:most]

    def count(self, owner: str) -> int:
        """Return how many instruments the owner wants."""
        return len(self._owners.get(owner, ()))

    def holders(self) -> tuple[str, ...]:
        """Return all who want anything."""
        return tuple(self._owners)

    def owners(self, instrument: Instrument | str) -> Mapping[str, frozenset[Mode]]:
        """Return who wants the instrument, and in which modes."""
        holding = self._of(instrument)
        return {owner: _modes(mask) for owner, mask in holding.owners.items()} if holding else {}

    def __len__(self) -> int:
        return len(self._holdings)

    def __repr__(self) -> str:
        return f"<Demand {len(self._holdings)} instruments of {len(self._owners)} owners>"

    def _of(self, instrument: Instrument | str) -> _Holding | None:
        known = instrument if isinstance(instrument, Instrument) else named(instrument)
        return self._holdings.get(known)

    def _forget(self, owner: str, instrument: Instrument, holding: _Holding) -> None:
        del holding.owners[owner]
        holding.priorities.pop(owner, None)
        if not holding.owners:
            del self._holdings[instrument]
        theirs = self._owners[owner]
        del theirs[instrument]
        if not theirs:
            del self._owners[owner]
