"""How many instruments of which kind a list has, and whether a newer one has lost too many; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TypeAlias

from brokerpool.gateway.rest.stream import sliced
from brokerpool.instruments import TokenBook

#: Rows by exchange and kind, as ("NFO", "FUT").
Counts: TypeAlias = Mapping[tuple[str, str], int]

#: Fewer rows come and go with an expiry: of an exchange that loses most of them, and of a kind that is gone.
_FEW_OF_EXCHANGE = 20
_FEW_OF_KIND = 10


async def counted(book: TokenBook) -> Counts:
    """Count a list; the event loop has its turn every few hundred rows."""
    counts: Counter[tuple[str, str]] = Counter()
    async for piece in sliced(book):
        counts.update((instrument.exchange, book.details(instrument).kind) for instrument in piece)
    return counts


def by_exchange(counts: Counts) -> dict[str, int]:
    """Return the rows of each exchange."""
    exchanges: Counter[str] = Counter()
    for (exchange, _), rows in counts.items():
        exchanges[exchange] += rows
    return dict(sorted(exchanges.items()))


def lost(old: Counts, new: Counts) -> str:
    """Return what a newer list has lost out of all proportion, as a phrase; empty when it may take over.

    That is: most of all rows, a whole exchange, most rows of an exchange, or a whole kind of an exchange.
    """
    before, after = by_exchange(old), by_exchange(new)
    if _most(sum(before.values()), sum(after.values())):
        return f"it has {sum(after.values())} rows instead of {sum(before.values())}"
    gone = [
        f"all {rows} rows of {exchange}"
        for exchange, rows in before.items()
        if rows and not after.get(exchange)
    ]
    shrunk = [
        f"{rows - after[exchange]} of {rows} rows of {exchange}"
        for exchange, rows in before.items()
        if rows >= _FEW_OF_EXCHANGE and exchange in after and _most(rows, after[exchange])
    ]
    kinds = [
        f"all {rows} rows of {exchange} that are {kind}"
        for (exchange, kind), rows in sorted(old.items())
        if kind and rows >= _FEW_OF_KIND and after.get(exchange) and not new.get((exchange, kind))
    ]
    missing = [*gone, *shrunk, *kinds]
    return f"it lacks {', '.join(missing)}" if missing else ""


def _most(before: int, after: int) -> bool:
    return 2 * after < before
