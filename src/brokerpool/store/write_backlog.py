"""What waits to be written: bounded, in order, and when it is due; without I/O and with the time given."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy.ext.asyncio import AsyncConnection

#: Makes one change on a connection whose transaction somebody else commits.
Change: TypeAlias = Callable[[AsyncConnection], Awaitable[None]]

#: Rows in one statement: the driver turns them into its own form on the event loop, in about 10 us each.
AT_ONCE = 100

_MOST_CHANGES = 2_000
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 5.0


class Row(NamedTuple):
    """A row for one of the history tables."""

    table: str
    values: Mapping[str, Any]


@dataclass(slots=True)
class Batch:
    """What goes into one transaction: rows to be added, and the newest change of each thing."""

    rows: list[Row] = field(default_factory=list, repr=False)
    changes: dict[Hashable, Change] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.rows) + len(self.changes)

    def pieces(self) -> Iterator[Batch]:
        """Return a batch for each single entry, to find the one that the database refuses."""
        for row in self.rows:
            yield Batch([row])
        for key, change in self.changes.items():
            yield Batch(changes={key: change})


class Backlog:
    """A queue of rows, and of changes of which only the newest of each thing counts.

    At most `bound` rows and 2,000 changes wait; one more is dropped and counted, so that what is told of the
    beginning of an outage is kept. What was taken and not yet confirmed counts as waiting.
    """

    def __init__(self, *, bound: int = 10_000, batch: int = AT_ONCE, interval: float = 1.0) -> None:
        """A batch is due when `batch` entries wait, or `interval` seconds after the last attempt."""
        self._bound = bound
        self._batch = batch
        self._interval = interval
        self._rows: deque[Row] = deque()
        self._changes: dict[Hashable, Change] = {}
        self._taken: Batch | None = None
        self._tried_at = float("-inf")
        self._pause = 0.0
        self.written = 0
        self.dropped: Counter[str] = Counter()

    def add(self, table: str, values: Mapping[str, Any]) -> bool:
        """Queue a row; False when it was dropped because the queue is full."""
        if len(self._rows) + self._taken_rows() >= self._bound:
            self.dropped[table] += 1
            return False
        self._rows.append(Row(table, values))
        return True

    def put(self, key: Hashable, kind: str, change: Change) -> bool:
        """Queue a change in place of an older one with that key; False when there was no room for it."""
        # Apart from the rows: a flood of those must not cost the saved demand.
        if key not in self._changes and len(self._changes) >= _MOST_CHANGES:
            self.dropped[kind] += 1
            return False
        self._changes[key] = change
        return True

    def due_in(self, now: float) -> float | None:
        """Return in how many seconds a batch is due, 0 for now, None when nothing waits."""
        if not self._rows and not self._changes:
            return None
        full = len(self._rows) + len(self._changes) >= self._batch
        wait = self._pause or (0.0 if full else self._interval)
        return max(0.0, self._tried_at + wait - now)

    def take(self, now: float) -> Batch:
        """Return the next batch; `confirm` or `give_back` must follow before the next one."""
        assert self._taken is None
        self._tried_at = now
        rows = [self._rows.popleft() for _ in range(min(self._batch, len(self._rows)))]
        room = self._batch - len(rows)
        keys = list(self._changes)[: max(room, 1)]
        self._taken = Batch(rows, {key: self._changes.pop(key) for key in keys})
        return self._taken

    def confirm(self, refused: Mapping[str, int] | None = None) -> None:
        """Note that the batch was written, but for what the database `refused` for good, by kind."""
        assert self._taken is not None
        self.dropped.update(refused or {})
        self.written += len(self._taken) - sum((refused or {}).values())
        self._taken = None
        self._pause = 0.0

    def give_back(self) -> None:
        """Note that nothing of the batch was written; it is due again after a pause, at most 5 s."""
        assert self._taken is not None
        self._rows.extendleft(reversed(self._taken.rows))
        self._changes = {**self._taken.changes, **self._changes}
        self._taken = None
        self._pause = min(_LONGEST_PAUSE, self._pause * 2 or _FIRST_PAUSE)

    def abandon(self) -> int:
        """Drop and count everything that waits; return how much it was."""
        left = len(self)
        self.dropped.update(row.table for row in self._rows)
        self.dropped.update("changes" for _ in self._changes)
        self._rows.clear()
        self._changes.clear()
        return left

    def __len__(self) -> int:
        return len(self._rows) + len(self._changes) + (len(self._taken) if self._taken else 0)

    def __repr__(self) -> str:
        return f"<Backlog {len(self)} waiting, {self.dropped.total()} dropped>"

    def _taken_rows(self) -> int:
        return len(self._taken.rows) if self._taken else 0
