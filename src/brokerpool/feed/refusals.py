"""What a caller is told whose symbols are not taken: each with its reason, and the numbers of the pool."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from brokerpool.errors import ErrorCode, PoolExhaustedError, Refused, UnknownInstrumentError
from brokerpool.feed.placement import Placement
from brokerpool.instruments import Instrument

_NAMED_SYMBOLS = 5  # an error names this many symbols and counts the rest


def load(placement: Placement) -> str:
    """Say how full the connections are."""
    loads = ", ".join(f"{name} {taken}" for name, taken in placement.loads.items()) or "none"
    return (
        f"{len(placement)} of {placement.capacity} places are taken"
        f" ({placement.max_slots} connections of {placement.slot_size}; open: {loads})."
    )


def unknown(pool: str, instruments: Iterable[Instrument]) -> list[Refused]:
    """Refuse instruments that the broker does not list."""
    code = ErrorCode.SYMBOL_NOT_FOUND
    return [Refused(i, code, f"{pool} does not list {i}") for i in instruments]


def full(placement: Placement, instruments: Sequence[Instrument]) -> list[Refused]:
    """Refuse instruments for which there is no place."""
    if not instruments:
        return []
    message = f"no place left: {load(placement)}"
    return [Refused(i, ErrorCode.MAX_CAPACITY_REACHED, message) for i in instruments]


def unknown_error(pool: str, refused: list[Refused]) -> UnknownInstrumentError:
    """Refuse a whole batch for the instruments in it that the broker does not list."""
    named = ", ".join(str(r.instrument) for r in refused[:_NAMED_SYMBOLS])
    more = f" and {len(refused) - _NAMED_SYMBOLS} more" if len(refused) > _NAMED_SYMBOLS else ""
    return UnknownInstrumentError(f"{pool} does not list {named}{more}; nothing was changed.", refused)


def full_error(placement: Placement, refused: list[Refused]) -> PoolExhaustedError:
    """Refuse a whole batch because some of it has no place."""
    text = f"{len(refused)} symbols do not fit and nothing was changed: {load(placement)}"
    return PoolExhaustedError(text, refused)
