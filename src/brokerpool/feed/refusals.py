"""What a caller is told whose symbols are not taken: each with its reason, and the numbers of the pool."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from brokerpool.errors import (
    BrokerpoolError,
    ErrorCode,
    NotLiveError,
    PoolExhaustedError,
    Refused,
    UnknownInstrumentError,
)
from brokerpool.feed.lifecycle_states import SymbolState
from brokerpool.feed.placement import Placement
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode

_NAMED_SYMBOLS = 5  # an error names this many symbols and counts the rest


@dataclass(frozen=True, slots=True)
class Subscribed:
    """What became of a subscribe: every instrument of the request stands in exactly one of the two."""

    accepted: tuple[Instrument, ...]
    refused: tuple[Refused, ...]


def load(placement: Placement) -> str:
    """Say how full the connections are."""
    loads = ", ".join(f"{name} {_told(placement, name)}" for name in placement.loads) or "none"
    size = f"{placement.max_slots} connections of {placement.slot_size}"
    if placement.rule.modes is None:
        taken = f"{len(placement)} of {placement.capacity} places are taken"
    else:
        taken = f"{len(placement)} symbols take {placement.taken / placement.capacity:.0%} of the room"
        size += f"; {placement.rule.of_modes}"
    return f"{taken} ({size}; open: {loads})."


def _told(placement: Placement, name: str) -> str:
    """Say what is at home on a connection, by mode where modes are told apart."""
    if placement.rule.modes is None:
        return str(len(placement.homes(name)))
    counts = placement.homes_by_mode(name)
    return " + ".join(f"{counts[mode]} {mode.label}" for mode in Mode if counts[mode]) or "0"


def judge(
    pool: str,
    placement: Placement,
    strangers: Iterable[Instrument],
    unplaced: Sequence[Instrument],
    *,
    partial: bool,
) -> dict[Instrument, Refused]:
    """Refuse the instruments of a batch that the broker does not list, and those for which there is no place.

    Without `partial` the batch is refused whole: raises UnknownInstrumentError or PoolExhaustedError.
    """
    unknown = unlisted(pool, strangers)
    if unknown and not partial:
        raise unknown_error(pool, unknown)
    full = no_place(placement, unplaced)
    if full and not partial:
        text = f"{len(full)} symbols do not fit and nothing was changed: {load(placement)}"
        raise PoolExhaustedError(text, [*full.values()])
    return {refused.instrument: refused for refused in unknown} | full


def unlisted(pool: str, strangers: Iterable[Instrument]) -> list[Refused]:
    """Refuse the instruments that the broker does not list."""
    return [Refused(i, ErrorCode.SYMBOL_NOT_FOUND, f"{pool} does not list {i}") for i in strangers]


def no_place(placement: Placement, unplaced: Sequence[Instrument]) -> dict[Instrument, Refused]:
    """Refuse the instruments for which there is no place, with the numbers of this moment."""
    message = f"no place left: {load(placement)}" if unplaced else ""
    return {i: Refused(i, ErrorCode.MAX_CAPACITY_REACHED, message) for i in unplaced}


def unknown_error(pool: str, refused: Sequence[Refused]) -> UnknownInstrumentError:
    """Name the first few of those that are not listed."""
    named = ", ".join(str(r.instrument) for r in refused[:_NAMED_SYMBOLS])
    more = f" and {len(refused) - _NAMED_SYMBOLS} more" if len(refused) > _NAMED_SYMBOLS else ""
    return UnknownInstrumentError(f"{pool} does not list {named}{more}; nothing was changed.", refused)


def not_live(states: Mapping[Instrument, SymbolState | None], seconds: float, loads: str) -> NotLiveError:
    """Say how far each of those that had no tick in the time has come, and how full the connections are."""
    text = f"{len(states)} symbols had no tick within {seconds:g} s. {loads}"
    told = {i: state.value if state else "not wanted" for i, state in sorted(states.items())}
    return NotLiveError(text, told)


def no_connection(names: Iterable[str]) -> BrokerpoolError:
    """Say which connections there are, to somebody who named another one."""
    # That name is not repeated: it may be anything that somebody typed.
    return BrokerpoolError(f"Open are: {', '.join(names) or 'none'}.", code=ErrorCode.CONNECTION_UNKNOWN)
